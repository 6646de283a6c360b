//! From method and path to an operation of the provider.

use std::collections::BTreeMap;

use super::catalogue::{Catalogue, Provider};
use super::entry::{OperationEntry, OperationPatterns};
use super::path::{Captures, Template, segments};

/// Longest model name that is taken from a path, in bytes.
pub const MAX_MODEL_BYTES: usize = 256;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationMatch {
    /// Operation id of the catalogue.
    pub id: String,
    /// OpenTelemetry `gen_ai.operation.name`.
    pub name: String,
    /// Whether it spends tokens.
    pub model_call: bool,
    /// The model, when the path names it.
    pub model: Option<String>,
    /// What else the path names: project, location, account, ...
    pub path: Vec<(String, String)>,
}

/// The compiled patterns of one provider, most exact first.
#[derive(Debug, Clone, Default)]
pub(super) struct Operations(Vec<Pattern>);

#[derive(Debug, Clone)]
struct Pattern {
    method: Method,
    template: Template,
    operation: OperationEntry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Method {
    Any,
    WebSocket,
    Grpc,
    Named(String),
}

impl Operations {
    /// Compiles `patterns`, or says which one is wrong and why.
    pub(super) fn compile(
        patterns: &OperationPatterns,
        known: &BTreeMap<String, OperationEntry>,
    ) -> Result<Self, (String, String)> {
        let mut out = Vec::new();
        for (id, list) in patterns {
            let operation =
                known.get(id).ok_or_else(|| (id.clone(), format!("operation `{id}` is not known")))?;
            for text in list {
                let wrong = |why: String| (text.clone(), format!("path pattern `{text}` {why}"));
                let (method, path) =
                    text.split_once(' ').ok_or_else(|| wrong("must be `METHOD path`".to_owned()))?;
                let template = Template::parse(path).map_err(wrong)?;
                out.push(Pattern { method: Method::parse(method), template, operation: operation.clone() });
            }
        }
        out.sort_by_key(|pattern| std::cmp::Reverse(pattern.template.weight));
        Ok(Self(out))
    }

    pub(super) fn find(
        &self,
        method: &str,
        path: &[String],
        weak: bool,
        anywhere: bool,
    ) -> Option<OperationMatch> {
        self.0
            .iter()
            .filter(|pattern| pattern.operation.weak == weak && pattern.method.fits(method))
            .find_map(|pattern| {
                let captures = if anywhere {
                    pattern.template.matches_end(path)
                } else {
                    pattern.template.matches(path)
                };
                Some(pattern.operation.matched(captures?))
            })
    }
}

impl Method {
    fn parse(text: &str) -> Self {
        match text {
            "*" => Self::Any,
            "WS" => Self::WebSocket,
            "GRPC" => Self::Grpc,
            name => Self::Named(name.to_owned()),
        }
    }

    fn fits(&self, method: &str) -> bool {
        match self {
            Self::Any => true,
            // HTTP/1.1 upgrades a GET (RFC 6455), HTTP/2 extends CONNECT (RFC 8441).
            Self::WebSocket => ["GET", "CONNECT"].iter().any(|name| method.eq_ignore_ascii_case(name)),
            Self::Grpc => method.eq_ignore_ascii_case("POST"),
            Self::Named(name) => method.eq_ignore_ascii_case(name),
        }
    }
}

impl OperationEntry {
    fn matched(&self, mut captures: Captures) -> OperationMatch {
        let model = captures.iter().position(|(name, _)| name == "model");
        let model = model.map(|at| captures.remove(at).1).filter(|model| model.len() <= MAX_MODEL_BYTES);
        OperationMatch {
            id: self.id.clone(),
            name: self.name.clone(),
            model_call: self.model_call,
            model,
            path: captures,
        }
    }
}

impl Catalogue {
    /// The operation of `method` and `target` (a path, or an absolute form) at `provider`, or at a host that is
    /// not known. Gateways put prefixes before paths, so the end of a path is enough when nothing fits whole.
    pub fn operation(
        &self,
        provider: Option<&Provider>,
        method: &str,
        target: &str,
    ) -> Option<OperationMatch> {
        let path = segments(target)?;
        let own = provider.map(|provider| &provider.operations);
        own.and_then(|own| own.find(method, &path, false, false))
            .or_else(|| own.and_then(|own| own.find(method, &path, false, true)))
            .or_else(|| self.any_operations.find(method, &path, false, false))
            .or_else(|| own.and_then(|own| own.find(method, &path, true, false)))
    }
}
