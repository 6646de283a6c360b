//! Records from their JSON form, without the detour that serde takes for a flattened body.

use serde::Deserialize;

use crate::quick;
use crate::v1::{CredentialAccess, Finding, Flow, ModelCall, Record, Sensor, Session, Status, record::Body};

/// All bodies side by side, as they stand in the object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    #[serde(with = "crate::time")]
    time: u64,
    sensor: Option<Sensor>,
    kind: String,
    flow: Option<Box<Flow>>,
    model_call: Option<Box<ModelCall>>,
    credential_access: Option<Box<CredentialAccess>>,
    session: Option<Box<Session>>,
    finding: Option<Finding>,
    status: Option<Status>,
}

impl Record {
    /// The record that one JSON object is; fields that are not known are passed over.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut record = Self::default();
        record.read_json(json)?;
        Ok(record)
    }

    /// As [`Record::from_json`], in the place of this record and in its memory: for one who reads many and keeps few.
    /// After an error it holds a part of the object.
    pub fn read_json(&mut self, json: &[u8]) -> Result<(), serde_json::Error> {
        if quick::read(json, self).is_none() {
            *self = Self::from_any(json)?;
        }
        Ok(())
    }

    /// The record that any JSON object of the schema is, whatever wrote it.
    pub(crate) fn from_any(json: &[u8]) -> Result<Self, serde_json::Error> {
        let form: Form = serde_json::from_slice(json)?;
        let body = (form.flow.map(Body::Flow))
            .or(form.model_call.map(Body::ModelCall))
            .or(form.credential_access.map(Body::CredentialAccess))
            .or(form.session.map(Body::Session))
            .or(form.finding.map(Body::Finding))
            .or(form.status.map(Body::Status));
        Ok(Self { time: form.time, sensor: form.sensor, kind: form.kind, body })
    }
}
