//! A webhook: batches of records as `{"records":[…]}`.

use hyper::Uri;
use proto::v1::Record;
use serde::Serialize;

use super::{
    deliver::{Accepted, Failure},
    http::Http,
};

#[derive(Serialize)]
struct Body<'a> {
    records: &'a [Record],
}

/// A receiver.
pub(super) struct Webhook {
    client: Http,
    to: Uri,
}

impl Webhook {
    pub(super) fn new(url: &str, headers: &[(String, String)]) -> anyhow::Result<Self> {
        Ok(Self { client: Http::new(headers)?, to: url.parse()? })
    }

    pub(super) async fn deliver(&mut self, records: &[Record]) -> Result<Accepted, Failure> {
        let body =
            serde_json::to_vec(&Body { records }).map_err(|error| Failure::refused(error.to_string()))?;
        self.client.post(&self.to, "application/json", body).await?;
        Ok(Accepted::default())
    }
}
