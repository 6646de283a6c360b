//! Credentials of a request, as fingerprints.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::class::{Kind, Lifetime};
use super::fingerprint::{Fingerprint, FleetKey};
use super::hint::Hint;
use super::identity::is_jwt;
use super::secret::Secret;
use super::shape::Shapes;
use crate::endpoint::entry::{CarrierEntry, Part, Scheme};
use crate::endpoint::{Catalogue, Provider, percent_decode};

/// Longest value that is taken for a credential, in bytes.
pub const MAX_SECRET_BYTES: usize = 8192;
/// Most credentials of one request.
pub const MAX_CREDENTIALS: usize = 4;

/// Headers in which a credential of a well-known shape counts on any host, and any other at a provider of
/// which no carrier is known.
const WELL_KNOWN: [(&str, Scheme); 4] = [
    ("authorization", Scheme::Bearer),
    ("x-api-key", Scheme::Raw),
    ("api-key", Scheme::Raw),
    ("x-goog-api-key", Scheme::Raw),
];

/// A credential that a request carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// The provider whose keys look like this; empty when the shape does not tell.
    pub provider: String,
    /// What it is.
    pub kind: Kind,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What people may see of it.
    pub hint: String,
    /// Where it was: `header:authorization`, `query:key`.
    pub carrier: String,
    /// The provider it was sent to; empty when not known.
    pub presented_to: String,
}

/// Finds credentials in request heads.
#[derive(Debug, Clone)]
pub struct Extractor {
    key: Arc<FleetKey>,
    shapes: Arc<Shapes>,
    hint: Hint,
}

impl Extractor {
    /// An extractor that fingerprints with `key`.
    pub fn new(key: Arc<FleetKey>, catalogue: &Catalogue, hint: Hint) -> Self {
        Self { key, shapes: catalogue.shapes(), hint }
    }

    /// The credentials of a request to `provider` (nothing: not known), the one it is made with first. `header`
    /// looks up a request header by lower-case name. On unknown hosts only well-known shapes count.
    pub fn extract<'a>(
        &self,
        provider: Option<&Provider>,
        target: &str,
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> Vec<Found> {
        let mut out: Vec<Found> = Vec::new();
        let mut add = |found: Option<Found>| {
            if let Some(found) =
                found.filter(|found| !out.iter().any(|known| known.fingerprint == found.fingerprint))
                && out.len() < MAX_CREDENTIALS
            {
                out.push(found);
            }
        };
        for carrier in provider.map(|provider| provider.entry.carriers.as_slice()).unwrap_or_default() {
            let place = place(carrier);
            if let Some(secret) = secrets(carrier, target, &header) {
                let mut found = self.found(&secret, provider, place.clone());
                if provider.is_some_and(|provider| marks_short_lived(provider, &header)) {
                    found.shorten();
                }
                add(Some(found));
            }
        }
        let any_shape = provider.is_some_and(|provider| provider.entry.carriers.is_empty());
        // What goes on to other providers through a gateway, and keys sent to the wrong place.
        for (name, scheme) in WELL_KNOWN {
            let Some(secret) = header(name).and_then(|value| take(value, scheme)) else { continue };
            let carrier = format!("header:{name}");
            add(match any_shape {
                true => Some(self.found(&secret, provider, carrier)),
                false => self.well_known(&secret, provider, carrier),
            });
        }
        out
    }

    /// What can be said of a secret that was found elsewhere: a file, a variable, an argument.
    pub fn describe(&self, secret: &Secret, carrier: &str) -> Found {
        self.found(secret, None, carrier.to_owned())
    }

    /// What can be said of a secret that is kept for `provider`; without a provider only well-known shapes
    /// count.
    pub(super) fn kept(&self, secret: &Secret, provider: Option<&Provider>, place: &str) -> Option<Found> {
        let shape = self.shapes.find(secret.expose_text(), None);
        if provider.is_none() && shape.is_none() && !is_jwt(secret.expose_text()) {
            return None;
        }
        let mut found = self.found(secret, provider, place.to_owned());
        found.presented_to.clear();
        if let (true, Some(provider)) = (found.provider.is_empty(), provider) {
            found.provider = provider.id().to_owned();
        }
        Some(found)
    }

    fn well_known(&self, secret: &Secret, provider: Option<&Provider>, carrier: String) -> Option<Found> {
        let shape = self.shapes.find(secret.expose_text(), None)?;
        let known = provider.is_none_or(|provider| provider.id() != shape.provider);
        known.then(|| self.found(secret, provider, carrier))
    }

    fn found(&self, secret: &Secret, provider: Option<&Provider>, carrier: String) -> Found {
        let text = secret.expose_text();
        let presented_to = provider.map(Provider::id);
        let shape = self.shapes.find(text, presented_to);
        let (kind, lifetime) = match shape {
            Some(shape) => (shape.kind, shape.lifetime),
            None if is_jwt(text) => (Kind::Jwt, Lifetime::ShortLived),
            None if carrier.ends_with(":signed") => (Kind::PublicKey, Lifetime::Static),
            None => (Kind::Unknown, Lifetime::Unknown),
        };
        let here = |shape: &&super::Shape| presented_to == Some(shape.provider.as_str());
        let issuer = shape.filter(|shape| here(shape) || !self.shapes.is_shared(shape));
        Found {
            fingerprint: self.key.fingerprint(secret),
            provider: issuer.map(|shape| shape.provider.clone()).unwrap_or_default(),
            kind,
            lifetime,
            hint: self.hint.of(secret, shape, kind),
            carrier,
            presented_to: presented_to.unwrap_or_default().to_owned(),
        }
    }
}

impl Found {
    /// The record of a credential that was seen in a request.
    pub fn record(&self) -> proto::v1::Credential {
        proto::v1::Credential {
            fingerprint: self.fingerprint.to_string(),
            provider: self.provider.clone(),
            kind: self.kind.as_str().to_owned(),
            lifetime: self.lifetime.as_str().to_owned(),
            hint: self.hint.clone(),
            carrier: self.carrier.clone(),
            evidence: "wire".to_owned(),
            origin: None,
        }
    }

    fn shorten(&mut self) {
        if self.kind == Kind::AwsAccessKey {
            self.kind = Kind::AwsSessionKey;
            self.lifetime = Lifetime::ShortLived;
        }
    }
}

/// Whether the request shows that its AWS key is temporary (a session token travels with it).
fn marks_short_lived<'a>(provider: &Provider, header: impl Fn(&str) -> Option<&'a str>) -> bool {
    let marks = provider.entry.short_lived_if.iter().filter_map(|mark| mark.strip_prefix("header:"));
    marks.into_iter().any(|name| header(name).is_some())
}

fn place(carrier: &CarrierEntry) -> String {
    match (&carrier.header, &carrier.query) {
        (Some(name), _) if carrier.scheme == Scheme::Signed => format!("header:{name}:signed"),
        (Some(name), _) => format!("header:{name}"),
        (None, Some(name)) => format!("query:{name}"),
        (None, None) => String::new(),
    }
}

fn secrets<'a>(
    carrier: &CarrierEntry,
    target: &str,
    header: impl Fn(&str) -> Option<&'a str>,
) -> Option<Secret> {
    if let Some(name) = &carrier.header {
        return take(header(name)?, carrier.scheme);
    }
    let name = carrier.query.as_deref()?;
    let query = target.split_once('?')?.1.split('#').next()?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    let value = zeroize::Zeroizing::new(percent_decode(value));
    match carrier.part {
        Some(Part::AccessKeyId) => checked(value.split('/').next()?),
        None => checked(&value),
    }
}

/// The credential in a header value of this scheme.
fn take(value: &str, scheme: Scheme) -> Option<Secret> {
    let value = value.trim();
    let name = match scheme {
        Scheme::Raw => return checked(value),
        Scheme::Signed => {
            let (public, signature) = value.split_once(':')?;
            return if signature.contains(' ') || public.contains(' ') { None } else { checked(public) };
        }
        Scheme::Aws4 => {
            let parameters = value.strip_prefix("AWS4-")?;
            let (_, credential) = parameters.split_once("Credential=")?;
            return checked(credential.split('/').next()?);
        }
        Scheme::Bearer => "bearer",
        Scheme::Token => "token",
        Scheme::ZenApiKey => "zenapikey",
    };
    let (word, rest) = value.split_once(' ')?;
    if word.eq_ignore_ascii_case(name) { checked(rest.trim()) } else { None }
}

fn checked(text: &str) -> Option<Secret> {
    (!text.is_empty() && text.len() <= MAX_SECRET_BYTES).then(|| Secret::copy(text))
}
