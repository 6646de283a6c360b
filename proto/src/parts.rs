//! What records of several kinds have in common, without a match on the kind at every reader.

use crate::v1::{
    Cost, Credential, CredentialAccess, Endpoint, Finding, Flow, ModelCall, Process, Record, Session, Status,
    Tokens, Workload, record::Body,
};

impl Record {
    /// The model call, if it is one.
    pub fn model_call(&self) -> Option<&ModelCall> {
        match &self.body {
            Some(Body::ModelCall(call)) => Some(call),
            _ => None,
        }
    }

    /// The finding, if it is one.
    pub fn finding(&self) -> Option<&Finding> {
        match &self.body {
            Some(Body::Finding(finding)) => Some(finding),
            _ => None,
        }
    }

    /// The session, if it is one.
    pub fn session(&self) -> Option<&Session> {
        match &self.body {
            Some(Body::Session(session)) => Some(session),
            _ => None,
        }
    }

    /// The flow, if it is one.
    pub fn flow(&self) -> Option<&Flow> {
        match &self.body {
            Some(Body::Flow(flow)) => Some(flow),
            _ => None,
        }
    }

    /// The opening of a credential file, if it is one.
    pub fn credential_access(&self) -> Option<&CredentialAccess> {
        match &self.body {
            Some(Body::CredentialAccess(access)) => Some(access),
            _ => None,
        }
    }

    /// The status, if it is one.
    pub fn status(&self) -> Option<&Status> {
        match &self.body {
            Some(Body::Status(status)) => Some(status),
            _ => None,
        }
    }

    /// The process that acted; a finding has participants instead.
    pub fn process(&self) -> Option<&Process> {
        match self.body.as_ref()? {
            Body::Flow(flow) => flow.process.as_ref(),
            Body::ModelCall(call) => call.process.as_ref(),
            Body::CredentialAccess(access) => access.process.as_ref(),
            Body::Session(session) => session.process.as_ref(),
            Body::Finding(_) | Body::Status(_) => None,
        }
    }

    /// The workload that acted; a finding has participants instead.
    pub fn workload(&self) -> Option<&Workload> {
        match self.body.as_ref()? {
            Body::Flow(flow) => flow.workload.as_ref(),
            Body::ModelCall(call) => call.workload.as_ref(),
            Body::CredentialAccess(access) => access.workload.as_ref(),
            Body::Session(session) => session.workload.as_ref(),
            Body::Finding(_) | Body::Status(_) => None,
        }
    }

    /// All processes that it tells of.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let participants = self.finding().map(|finding| finding.participants.as_slice()).unwrap_or_default();
        self.process().into_iter().chain(participants.iter().filter_map(|one| one.process.as_ref()))
    }

    /// All workloads that it tells of.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        let participants = self.finding().map(|finding| finding.participants.as_slice()).unwrap_or_default();
        self.workload().into_iter().chain(participants.iter().filter_map(|one| one.workload.as_ref()))
    }

    /// Where it went.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self.body.as_ref()? {
            Body::Flow(flow) => flow.endpoint.as_ref(),
            Body::ModelCall(call) => call.endpoint.as_ref(),
            _ => None,
        }
    }

    /// The credential that was used, or that a finding is about.
    pub fn credential(&self) -> Option<&Credential> {
        match self.body.as_ref()? {
            Body::Flow(flow) => flow.credential.as_ref(),
            Body::ModelCall(call) => call.credential.as_ref(),
            Body::Finding(finding) => finding.credential.as_ref(),
            Body::CredentialAccess(access) => access.credentials.first(),
            Body::Session(_) | Body::Status(_) => None,
        }
    }

    /// Fingerprints of all credentials that it tells of.
    pub fn fingerprints(&self) -> Vec<&str> {
        let list = match &self.body {
            Some(Body::Session(session)) => session.credentials.iter().map(String::as_str).collect(),
            Some(Body::CredentialAccess(access)) => {
                access.credentials.iter().map(|credential| credential.fingerprint.as_str()).collect()
            }
            _ => self.credential().map(|credential| credential.fingerprint.as_str()).into_iter().collect(),
        };
        let mut list: Vec<&str> = list;
        list.retain(|fingerprint| !fingerprint.is_empty());
        list
    }

    /// Tokens of a call or a session.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.model_call().map_or_else(|| self.session()?.tokens.as_ref(), |call| call.tokens.as_ref())
    }

    /// Cost of a call or a session.
    pub fn cost(&self) -> Option<&Cost> {
        self.model_call().map_or_else(|| self.session()?.cost.as_ref(), |call| call.cost.as_ref())
    }

    /// Host, boot and number: what names the record among all.
    pub fn place(&self) -> Option<(&str, &str, u64)> {
        let sensor = self.sensor.as_ref()?;
        Some((&sensor.host, &sensor.boot_id, sensor.seq))
    }
}
