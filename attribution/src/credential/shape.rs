//! Shapes of credentials: prefix, body characters, length, marker, suffix.

use super::class::{Confidence, Kind, Lifetime};
use super::identity::is_jwt;
use crate::endpoint::entry::KeyEntry;

/// Fewest body characters of a key whose length the catalogue does not know.
const MIN_BODY: usize = 8;
/// Most characters of a key.
const MAX_BODY: usize = 8192;
/// Shortest prefix that says something without a host.
const MIN_TELLING_PREFIX: usize = 3;

/// One compiled shape.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The provider that issues it; empty when several do.
    pub provider: String,
    /// What it starts with; public.
    pub prefix: String,
    /// What it is.
    pub kind: Kind,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// How sure the shape is.
    pub confidence: Confidence,
    contains: String,
    suffix: String,
    /// Which bytes the body may hold.
    body: Option<Box<[bool; 256]>>,
    length: (usize, usize),
}

/// All shapes, the most exact first.
#[derive(Debug, Clone, Default)]
pub struct Shapes(Vec<Shape>);

impl Shapes {
    /// Compiles the keys of the catalogue; the error is (provider, value, reason).
    pub(crate) fn compile<'a>(
        keys: impl IntoIterator<Item = (&'a str, &'a KeyEntry)>,
    ) -> Result<Self, (String, String, String)> {
        let mut shapes: Vec<Shape> = Vec::new();
        for (provider, key) in keys {
            let wrong = |value: &str, why: &str| (provider.to_owned(), value.to_owned(), why.to_owned());
            let charset = key.charset.as_deref();
            let body = match charset {
                Some(class) => Some(Box::new(
                    parse_class(class)
                        .ok_or_else(|| wrong(class, "the charset is not `a-z0-9_` and the like"))?,
                )),
                None => None,
            };
            let prefix = key.prefix.clone().unwrap_or_default();
            if prefix.is_empty() && key.kind != Kind::Jwt && (body.is_none() || key.length.is_none()) {
                return Err(wrong("", "a key without prefix needs a charset and a length"));
            }
            let length = key.length.unwrap_or((MIN_BODY, MAX_BODY));
            if length.0 > length.1 || length.1 > MAX_BODY {
                return Err(wrong("length", "the key length must be [least, most]"));
            }
            let confidence = if prefix.len() < MIN_TELLING_PREFIX { Confidence::Low } else { key.confidence };
            shapes.push(Shape {
                provider: provider.to_owned(),
                prefix,
                kind: key.kind,
                lifetime: key.lifetime,
                confidence,
                contains: key.contains.clone().unwrap_or_default(),
                suffix: key.suffix.clone().unwrap_or_default(),
                body,
                length,
            });
        }
        shapes.sort_by_key(|shape| std::cmp::Reverse((shape.prefix.len(), shape.contains.len())));
        Ok(Self(shapes))
    }

    /// The best shape of `text` for a credential that is presented to `provider` (nothing: a host not known).
    /// Shapes that mean something only with their host fit only there.
    pub(super) fn find(&self, text: &str, provider: Option<&str>) -> Option<&Shape> {
        let fitting = || self.0.iter().filter(|shape| shape.fits(text));
        let here = |shape: &&Shape| provider == Some(shape.provider.as_str());
        let telling = |shape: &&Shape| shape.confidence != Confidence::Low && shape.kind != Kind::Jwt;
        // The same prefix can be used by several providers: then the one asked wins.
        let best = fitting().find(telling);
        let own = fitting().find(|shape| here(shape) && telling(shape));
        match (best, own) {
            (Some(best), Some(own)) if own.prefix.len() >= best.prefix.len() => Some(own),
            (Some(best), _) => Some(best),
            (None, _) => fitting().find(here),
        }
    }

    /// Shapes that start with something telling, longest prefix first.
    pub(super) fn telling(&self) -> impl Iterator<Item = &Shape> {
        self.0.iter().filter(|shape| shape.prefix.len() >= MIN_TELLING_PREFIX)
    }

    /// Whether more than one provider issues keys with the prefix of `shape`.
    pub(super) fn is_shared(&self, shape: &Shape) -> bool {
        self.0.iter().any(|other| other.prefix == shape.prefix && other.provider != shape.provider)
    }
}

impl Shape {
    fn fits(&self, text: &str) -> bool {
        if self.kind == Kind::Jwt && self.prefix.is_empty() {
            return is_jwt(text);
        }
        let Some(body) = text.strip_prefix(self.prefix.as_str()) else { return false };
        (self.length.0..=self.length.1).contains(&body.len())
            && body.contains(self.contains.as_str())
            && body.ends_with(self.suffix.as_str())
            && body.bytes().all(|byte| self.may_hold(byte))
    }

    /// Whether a key of this shape may hold `byte` after its prefix.
    pub(super) fn may_hold(&self, byte: u8) -> bool {
        match &self.body {
            Some(body) => body.get(usize::from(byte)).copied().unwrap_or(false),
            None => byte.is_ascii_graphic(),
        }
    }
}

/// A class as in a regular expression, without the brackets: `A-Za-z0-9_-`.
fn parse_class(class: &str) -> Option<[bool; 256]> {
    let mut table = [false; 256];
    let bytes = class.as_bytes();
    let mut at = 0;
    while let Some(first) = bytes.get(at) {
        let last = bytes.get(at + 2).filter(|_| bytes.get(at + 1) == Some(&b'-'));
        if !first.is_ascii_graphic() || last.is_some_and(|last| last < first || !last.is_ascii_graphic()) {
            return None;
        }
        for byte in *first..=*last.unwrap_or(first) {
            *table.get_mut(usize::from(byte))? = true;
        }
        at += if last.is_some() { 3 } else { 1 };
    }
    (!bytes.is_empty()).then_some(table)
}
