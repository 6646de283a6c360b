//! A webhook: batches of records as `{"records":[…]}`, or one finding a request in the form of others.

use hyper::Uri;
use proto::v1::Record;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    deliver::{Accepted, Failure},
    http::Http,
    ocsf,
};
use crate::sink::falco;

/// What a request of a webhook holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// Records, many at once.
    #[default]
    Records,
    /// One finding as a Falco alert, as Falcosidekick takes it.
    Falco,
    /// One finding as an OCSF Detection Finding (2004).
    Ocsf,
}

#[derive(Serialize)]
struct Batch<'a> {
    records: &'a [Record],
}

/// A receiver.
pub(super) struct Webhook {
    client: Http,
    to: Uri,
    body: Body,
}

impl Body {
    /// Whether a request holds one finding and nothing else.
    pub fn is_finding(self) -> bool {
        self != Self::Records
    }
}

impl Webhook {
    pub(super) fn new(url: &str, headers: &[(String, String)], body: Body) -> anyhow::Result<Self> {
        Ok(Self { client: Http::new(headers)?, to: url.parse()?, body })
    }

    pub(super) async fn deliver(&mut self, records: &[Record]) -> Result<Accepted, Failure> {
        let form: fn(&Record) -> Option<Value> = match self.body {
            Body::Records => {
                self.post(&Batch { records }).await?;
                return Ok(Accepted::default());
            }
            Body::Falco => |record| Some(falco::event(record.finding()?, record.time)),
            Body::Ocsf => |record| record.finding().and_then(|_| ocsf::event(record)),
        };
        let mut accepted = Accepted::default();
        for record in records {
            match form(record) {
                Some(event) => self.post(&event).await?,
                None => accepted.refused += 1,
            }
        }
        Ok(accepted)
    }

    async fn post(&self, body: &impl Serialize) -> Result<(), Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::refused(error.to_string()))?;
        self.client.post(&self.to, "application/json", body).await?;
        Ok(())
    }
}
