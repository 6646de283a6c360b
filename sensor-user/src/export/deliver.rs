//! Handing batches to a receiver, with patience.

use std::time::Duration;

use proto::v1::Record;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    otel::Semconv,
    otlp::Otlp,
    syslog::Syslog,
    webhook::{Body, Webhook},
};

/// First pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause, also when a receiver asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Most records of one request.
pub(super) const BATCH: usize = 512;

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// In which form.
    pub form: Form,
    /// Where to.
    pub url: String,
    /// Headers of each request: name and value.
    pub headers: Vec<(String, String)>,
    /// Names of OpenTelemetry attributes.
    pub semconv: Semconv,
    /// What a request of a webhook holds.
    pub body: Body,
}

impl Address {
    /// Most records that are handed over together: what was taken of a batch is not known when its rest fails.
    pub(super) fn batch(&self) -> usize {
        if self.form == Form::Webhook && self.body.is_finding() { 1 } else { BATCH }
    }
}

/// Forms that can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP.
    OtlpHttp,
    /// Syslog.
    Syslog,
    /// JSON by HTTP POST.
    Webhook,
}

/// A receiver.
pub struct Target(Kind);

enum Kind {
    Otlp(Box<Otlp>),
    Syslog(Syslog),
    Webhook(Box<Webhook>),
}

/// What became of a batch that was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Records of it that the receiver refused.
    pub refused: u64,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub message: String,
    /// Whether the same batch may be taken later.
    pub retry: bool,
    /// When the receiver wants it again.
    pub after: Option<Duration>,
}

impl Failure {
    pub(super) fn again(message: String) -> Self {
        Self { message, retry: true, after: None }
    }

    pub(super) fn refused(message: String) -> Self {
        Self { message, retry: false, after: None }
    }
}

impl Target {
    /// A receiver at `address`; connects when the first batch comes. Has to be called in the event loop.
    pub fn open(address: &Address) -> anyhow::Result<Self> {
        let Address { form, url, headers, semconv, body } = address;
        Ok(Self(match form {
            Form::OtlpGrpc => Kind::Otlp(Box::new(Otlp::grpc(url, headers, *semconv)?)),
            Form::OtlpHttp => Kind::Otlp(Box::new(Otlp::http(url, headers, *semconv)?)),
            Form::Syslog => Kind::Syslog(Syslog::new(url)?),
            Form::Webhook => Kind::Webhook(Box::new(Webhook::new(url, headers, *body)?)),
        }))
    }

    /// Hands over `records`, and again after failures that may pass, for at most `patience`.
    pub async fn deliver(&mut self, records: &[Record], patience: Duration) -> Result<Accepted, Failure> {
        let until = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.once(records).await {
                Ok(accepted) => return Ok(accepted),
                Err(failure) => failure,
            };
            let wait = failure.after.unwrap_or(pause).min(LONGEST_PAUSE);
            if !failure.retry || Instant::now() + wait > until {
                return Err(failure);
            }
            tracing::debug!(error = failure.message, "a batch was not taken and is tried again");
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn once(&mut self, records: &[Record]) -> Result<Accepted, Failure> {
        match &mut self.0 {
            Kind::Otlp(otlp) => otlp.deliver(records).await,
            Kind::Syslog(syslog) => syslog.deliver(records).await,
            Kind::Webhook(webhook) => webhook.deliver(records).await,
        }
    }
}
