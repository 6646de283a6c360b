//! The provider catalogue, checked and compiled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use regex_lite::Regex;

use super::additions;
use super::entry::{Additions, Document, FamilyEntry, OperationEntry, ProviderEntry};
use super::host::{HostIndex, normalise};
use super::operation::Operations;
use super::path::Template;
use super::request::RequestPlan;
use crate::credential::Shapes;
use crate::session::Agents;
use crate::usage::Plan;

#[cfg(test)]
mod tests;

const BUILT_IN: &str = include_str!("catalogue.toml");
/// The only catalogue format there is.
const SCHEMA: u32 = 1;
/// Largest text of additions, in bytes.
pub const MAX_ADDITIONS_BYTES: usize = 1024 * 1024;

/// A catalogue that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// Not TOML, an unknown field or a wrong type; the text names line and column.
    #[error("provider catalogue: {0}")]
    Syntax(String),
    /// An entry that means nothing or contradicts another.
    #[error("provider catalogue, line {line}: {entry}: {problem}")]
    Entry {
        /// Line of the entry, from 1.
        line: usize,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The text is too large.
    #[error("provider catalogue is larger than {MAX_ADDITIONS_BYTES} bytes")]
    TooLarge,
}

/// What is wrong with an entry, before its line is known.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) entry: String,
    /// Id of the provider, to find the entry.
    pub(super) id: String,
    /// The value to look for in the text.
    pub(super) value: String,
    pub(super) problem: String,
}

/// Everything known about providers, ready for look-ups.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pub(super) document: Document,
    pub(super) providers: Vec<Provider>,
    pub(super) hosts: HostIndex,
    pub(super) any_operations: Operations,
    pub(super) request: Arc<RequestPlan>,
    any_usage: Arc<Plan>,
    shapes: Arc<Shapes>,
    agents: Arc<Agents>,
}

/// One provider of the catalogue.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The facts as they are written.
    pub entry: ProviderEntry,
    pub(super) operations: Operations,
    pub(super) path_prefixes: Vec<Template>,
    usage: Arc<Plan>,
}

impl Provider {
    /// Its id in the catalogue.
    pub fn id(&self) -> &str {
        self.entry.id.get_ref()
    }

    /// OpenTelemetry `gen_ai.provider.name`, else the id.
    pub fn name(&self) -> &str {
        self.entry.otel.as_deref().unwrap_or(self.id())
    }

    /// The response header with this provider's own id of a request.
    pub fn request_id_header(&self) -> Option<&str> {
        self.entry.request_id_header.as_deref()
    }

    /// How its responses report usage.
    pub fn usage(&self) -> Arc<Plan> {
        self.usage.clone()
    }
}

impl Catalogue {
    /// The catalogue that comes with the program. Parse it once and share it.
    pub fn built_in() -> Result<Self, CatalogueError> {
        let document = parse_built_in()?;
        Self::compile(document).map_err(|problem| problem.at_line(BUILT_IN, &[]))
    }

    /// The built-in catalogue with the user's own entries; see [`Additions`]. An entry with the id of a built-in one
    /// extends it and never replaces anything.
    pub fn with_additions(text: &str) -> Result<Self, CatalogueError> {
        if text.len() > MAX_ADDITIONS_BYTES {
            return Err(CatalogueError::TooLarge);
        }
        let additions: Additions =
            toml::from_str(text).map_err(|error| CatalogueError::Syntax(error.to_string()))?;
        let spans: Vec<(String, usize)> = additions
            .provider
            .iter()
            .map(|entry| &entry.id)
            .chain(&additions.disable)
            .chain(additions.family.keys())
            .map(|id| (id.get_ref().clone(), id.span().start))
            .collect();
        let mut document = parse_built_in()?;
        additions::merge(&mut document, additions)
            .and_then(|()| Self::compile(document))
            .map_err(|problem| problem.at_line(text, &spans))
    }

    /// All providers, built-in ones first.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// The provider with this id.
    pub fn provider(&self, id: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.id() == id)
    }

    /// The facts as they are written, with the additions.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// How responses report usage when the provider is not known.
    pub fn any_usage(&self) -> Arc<Plan> {
        self.any_usage.clone()
    }

    /// The agents that processes are told apart by.
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// The shapes of all credentials.
    pub fn shapes(&self) -> Arc<Shapes> {
        self.shapes.clone()
    }

    /// The provider that only its own response headers give away, for hosts that are not known.
    pub fn detect<'a>(&self, header_names: impl IntoIterator<Item = &'a str>) -> Option<&Provider> {
        header_names.into_iter().find_map(|name| {
            self.providers.iter().find(|provider| {
                provider.entry.detect_headers.iter().any(|pattern| header_fits(pattern, name))
            })
        })
    }

    fn compile(document: Document) -> Result<Self, Problem> {
        if document.schema != SCHEMA {
            return Err(Problem::new("schema", "", "", format!("must be {SCHEMA}")));
        }
        let known: BTreeMap<String, OperationEntry> =
            document.operation.iter().map(|entry| (entry.id.clone(), entry.clone())).collect();
        let families = resolve_families(&document.family)?;
        let operations = |entry: &str, id: &str, patterns| {
            Operations::compile(patterns, &known).map_err(|(value, why)| Problem::new(entry, id, value, why))
        };
        let plan = |entry: &str, id: &str, list: &[String]| {
            Plan::compile(list.iter().map(|family| (family.as_str(), families.get(family))))
                .map_err(|(family, why)| Problem::new(entry, id, family, why))
        };
        let mut providers = Vec::with_capacity(document.provider.len());
        let mut ids = BTreeSet::new();
        for entry in &document.provider {
            let id = entry.id.get_ref();
            let name = format!("provider `{id}`");
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
            if id.is_empty() || !id.bytes().all(plain) {
                let why = "the id may hold only a-z, 0-9, `_` and `-`";
                return Err(Problem::new(&name, id, id, why));
            }
            if !ids.insert(id.clone()) {
                return Err(Problem::new(&name, id, id, "the id is used twice"));
            }
            let prefixes = entry.path_prefixes.iter().map(|text| {
                Template::parse(text)
                    .map_err(|why| Problem::new(&name, id, text, format!("path prefix `{text}` {why}")))
            });
            providers.push(Provider {
                operations: operations(&name, id, &entry.operations)?,
                path_prefixes: prefixes.collect::<Result<_, _>>()?,
                usage: Arc::new(plan(&name, id, &entry.families)?),
                entry: entry.clone(),
            });
        }
        let keys = document
            .provider
            .iter()
            .flat_map(|entry| entry.key.iter().map(move |key| (entry.id.get_ref().as_str(), key)));
        let shapes = Shapes::compile(keys)
            .map_err(|(id, value, why)| Problem::new(&format!("provider `{id}`"), &id, value, why))?;
        let request = RequestPlan::compile(&document.session)
            .map_err(|why| Problem::new("session", "", "", why.to_string()))?;
        Ok(Self {
            hosts: index_hosts(&providers)?,
            any_operations: operations("any", "", &document.any.operations)?,
            any_usage: Arc::new(plan("any", "", &document.any.families)?),
            shapes: Arc::new(shapes),
            agents: Arc::new(Agents::new(&document.client)),
            request: Arc::new(request),
            providers,
            document,
        })
    }
}

impl Problem {
    pub(super) fn new(entry: &str, id: &str, value: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { entry: entry.to_owned(), id: id.to_owned(), value: value.into(), problem: problem.into() }
    }

    /// Finds the line: the value inside its entry, else the entry, else the first line.
    fn at_line(self, text: &str, spans: &[(String, usize)]) -> CatalogueError {
        let ids = spans.iter().rev().filter(|(id, _)| *id == self.id).map(|(_, at)| *at);
        // The value may stand before the id, but never before the header of its table.
        let starts = ids.map(|at| (text.get(..at).and_then(|head| head.rfind("[[")).unwrap_or(0), at));
        let starts: Vec<_> = if spans.is_empty() { vec![(0, 0)] } else { starts.collect() };
        let value = starts.iter().find_map(|(start, _)| {
            let found = text.get(*start..)?.find(&self.value).filter(|_| !self.value.is_empty())?;
            Some(start + found)
        });
        let at = value.or_else(|| starts.first().map(|(_, at)| *at)).unwrap_or(0);
        let line = 1 + text.get(..at).map_or(0, |head| head.matches('\n').count());
        CatalogueError::Entry { line, entry: self.entry, problem: self.problem }
    }
}

fn parse_built_in() -> Result<Document, CatalogueError> {
    toml::from_str(BUILT_IN).map_err(|error| CatalogueError::Syntax(error.to_string()))
}

/// Whether header `name` is `pattern`, which may end in `*`.
pub(crate) fn header_fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start)),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

fn resolve_families(
    families: &BTreeMap<String, FamilyEntry>,
) -> Result<HashMap<String, FamilyEntry>, Problem> {
    let mut out = HashMap::new();
    for (id, family) in families {
        let mut resolved = family.clone();
        if let Some(like) = &family.like {
            let wrong = |why: &str| Problem::new(&format!("family `{id}`"), id, like, why);
            let base = families.get(like).filter(|base| base.like.is_none());
            let base = base.ok_or_else(|| wrong("`like` must name a family without `like`"))?;
            let alone = FamilyEntry {
                roots: family.roots.clone(),
                like: family.like.clone(),
                ..FamilyEntry::default()
            };
            if *family != alone {
                return Err(wrong("next to `like` only `roots` may stand"));
            }
            resolved = FamilyEntry { roots: family.roots.clone(), ..base.clone() };
        }
        out.insert(id.clone(), resolved);
    }
    Ok(out)
}

fn index_hosts(providers: &[Provider]) -> Result<HostIndex, Problem> {
    let mut index = HostIndex::default();
    for (at, provider) in providers.iter().enumerate() {
        let (id, entry) = (provider.id(), &provider.entry);
        let wrong = |value: &str, why: &str| {
            Err(Problem::new(&format!("provider `{id}`"), id, value, format!("`{value}` {why}")))
        };
        let taken = |owner: usize| {
            let owner = providers.get(owner).map_or("another provider", Provider::id);
            format!("already belongs to `{owner}`")
        };
        for host in &entry.hosts {
            if normalise(host).as_deref() != Some(host) {
                return wrong(
                    host,
                    "is not a host name in lower case without port; use `addresses` for addresses",
                );
            }
            if let Some(owner) = index.exact.insert(host.clone(), at).filter(|owner| *owner != at) {
                return wrong(host, &taken(owner));
            }
        }
        let own = entry.suffixes.iter().map(|suffix| (suffix, false));
        for (suffix, shared) in own.chain(entry.shared_suffixes.iter().map(|suffix| (suffix, true))) {
            if normalise(suffix).as_deref() != Some(suffix) || !suffix.contains('.') {
                return wrong(suffix, "is not a domain of two labels or more in lower case");
            }
            let old = index.suffixes.insert(suffix.clone(), (at, shared));
            if let Some((owner, _)) = old.filter(|(owner, _)| *owner != at) {
                return wrong(suffix, &taken(owner));
            }
        }
        for pattern in &entry.patterns {
            let inner = pattern.strip_prefix('^').and_then(|pattern| pattern.strip_suffix('$'));
            let Some(inner) = inner else { return wrong(pattern, "must start with ^ and end with $") };
            match Regex::new(&format!("^(?:{inner})$")) {
                Ok(regex) => index.patterns.push((regex, at)),
                Err(error) => return wrong(pattern, &format!("is not a regular expression: {error}")),
            }
        }
        for address in &entry.addresses {
            let old = if let Ok(socket) = address.parse::<SocketAddr>() {
                index.sockets.insert(SocketAddr::new(socket.ip().to_canonical(), socket.port()), at)
            } else if let Ok(ip) = address.parse::<IpAddr>() {
                index.addresses.insert(ip.to_canonical(), at)
            } else {
                return wrong(address, "is not `address` or `address:port`");
            };
            if let Some(owner) = old.filter(|owner| *owner != at) {
                return wrong(address, &taken(owner));
            }
        }
        for host in &entry.token_hosts {
            index.tokens.entry(host.clone()).or_insert(at);
        }
    }
    Ok(index)
}
