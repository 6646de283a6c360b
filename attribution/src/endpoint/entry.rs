//! The catalogue file as it is written: every fact, unchecked. Lists that are left out are empty.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

pub use super::family::{CostEntry, CostUnit, Count, FamilyEntry, HeaderField, MarkEntry};

/// Path patterns (`METHOD template`) by operation id.
pub type OperationPatterns = BTreeMap<String, Vec<String>>;

/// The whole file. What users add is a part of it, see [`Additions`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Version of the format; 1.
    pub schema: u32,
    /// Meaning of the operation ids.
    pub operation: Vec<OperationEntry>,
    /// What holds on every host.
    pub any: AnyEntry,
    /// Where clients put their session id.
    pub session: SessionEntry,
    /// Providers and self-hosted servers.
    pub provider: Vec<ProviderEntry>,
    /// Usage families by id.
    pub family: BTreeMap<String, FamilyEntry>,
    /// Credential files.
    pub credential_file: Vec<CredentialFileEntry>,
    /// Variables that name credential files.
    pub credential_paths: CredentialPathsEntry,
    /// Client programs.
    pub client: Vec<ClientEntry>,
}

/// What users write: new entries, and more for existing ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Additions {
    /// New providers, or more hosts, keys and paths for the one with the same id.
    #[serde(default)]
    pub provider: Vec<ProviderEntry>,
    /// New usage families.
    #[serde(default)]
    pub family: BTreeMap<Spanned<String>, FamilyEntry>,
    /// More credential files.
    #[serde(default)]
    pub credential_file: Vec<CredentialFileEntry>,
    /// More clients, agents among them.
    #[serde(default)]
    pub client: Vec<ClientEntry>,
    /// Ids of built-in providers to leave out; the only way to lose one.
    #[serde(default)]
    pub disable: Vec<Spanned<String>>,
}

/// What an operation id means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationEntry {
    /// The id used in `operations` tables.
    pub id: String,
    /// OpenTelemetry `gen_ai.operation.name`.
    pub name: String,
    /// Whether it spends tokens.
    pub model_call: bool,
    /// Whether it is used only when nothing more exact fits.
    #[serde(default)]
    pub weak: bool,
}

/// Operations and families that hold on every host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnyEntry {
    /// Usage families to try when the provider is unknown.
    pub families: Vec<String>,
    /// Path patterns.
    pub operations: OperationPatterns,
}

/// Where clients put the id of their session, most exact first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEntry {
    /// Header names.
    pub headers: Vec<String>,
    /// Pointers into the request body.
    pub body: Vec<String>,
    /// JSON documents inside a header or a body string.
    pub inside: Vec<InsideEntry>,
}

/// A JSON document inside a header or a string of the body.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InsideEntry {
    /// The header that holds it.
    pub header: Option<String>,
    /// The pointer to the body string that holds it.
    pub body: Option<String>,
    /// The pointer in the inner document.
    pub pointer: String,
}

/// One provider or self-hosted server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderEntry {
    /// Unique id.
    pub id: Spanned<String>,
    /// OpenTelemetry `gen_ai.provider.name`; the id when left out.
    pub otel: Option<String>,
    /// Whether it stands in front of other providers.
    #[serde(default)]
    pub gateway: bool,
    /// Whether it runs on the user's own machines.
    #[serde(default)]
    pub self_hosted: bool,
    /// Whether its payloads cannot be read: the provider is known, tokens are not.
    #[serde(default)]
    pub opaque: bool,
    /// `subscription` when tokens are not what is paid for.
    pub billing: Option<String>,
    /// Exact host names.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Domains of which every host below belongs to it.
    #[serde(default)]
    pub suffixes: Vec<String>,
    /// Domains with other services too; only a known path makes a host below one an endpoint.
    #[serde(default)]
    pub shared_suffixes: Vec<String>,
    /// Regular expressions of host names, from `^` to `$`.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// `address` or `address:port`, only ever from the user.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Path templates one of which a request must start with.
    #[serde(default)]
    pub path_prefixes: Vec<String>,
    /// Usual ports.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Hosts that hand out tokens for it.
    #[serde(default)]
    pub token_hosts: Vec<String>,
    /// Paths on its own hosts that hand out tokens.
    #[serde(default)]
    pub token_paths: Vec<String>,
    /// Which host label names the customer's resource, counted from the left.
    pub resource_label: Option<u8>,
    /// Environment variables that hold its keys.
    #[serde(default)]
    pub key_variables: Vec<String>,
    /// Other environment variables of its clients.
    #[serde(default)]
    pub other_variables: Vec<String>,
    /// Where requests carry the credential, best first.
    #[serde(default)]
    pub carriers: Vec<CarrierEntry>,
    /// What marks a credential as short-lived besides its shape.
    #[serde(default)]
    pub short_lived_if: Vec<String>,
    /// Request headers that help attribution; a trailing `*` stands for the rest.
    #[serde(default)]
    pub attribution_headers: Vec<String>,
    /// Request body pointers that help attribution.
    #[serde(default)]
    pub attribution_body: Vec<String>,
    /// Names in path templates that help attribution.
    #[serde(default)]
    pub attribution_path: Vec<String>,
    /// Where the requested model stands: `path`, `body`.
    #[serde(default)]
    pub model_in: Vec<String>,
    /// Content encodings its clients use for requests.
    #[serde(default)]
    pub request_encodings: Vec<String>,
    /// Response header with the provider's id of the request.
    pub request_id_header: Option<String>,
    /// Further response headers worth keeping.
    #[serde(default)]
    pub response_headers: Vec<String>,
    /// Response headers only this provider sends; a trailing `*` stands for the rest.
    #[serde(default)]
    pub detect_headers: Vec<String>,
    /// Rate limit headers.
    #[serde(default)]
    pub rate_limit_headers: Vec<String>,
    /// Usage families of its responses.
    #[serde(default)]
    pub families: Vec<String>,
    /// A remark on its HTTP versions.
    pub http: Option<String>,
    /// Path patterns.
    #[serde(default)]
    pub operations: OperationPatterns,
    /// Shapes of its credentials.
    #[serde(default)]
    pub key: Vec<KeyEntry>,
}

/// Where a request carries a credential: one of `header` and `query`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarrierEntry {
    /// Header name.
    pub header: Option<String>,
    /// Query parameter.
    pub query: Option<String>,
    /// How the header value is made up.
    #[serde(default)]
    pub scheme: Scheme,
    /// The part of the value that identifies.
    pub part: Option<Part>,
}

/// How a header value carries a credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// The whole value.
    #[default]
    Raw,
    /// After `Bearer`.
    Bearer,
    /// After `Token`.
    Token,
    /// After `ZenApiKey` (IBM).
    ZenApiKey,
    /// AWS Signature Version 4: the access key id in `Credential=`.
    Aws4,
    /// `<public key>:<signature>`: the public key.
    Signed,
}

/// The part of a value that identifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The AWS access key id, before the first slash of a credential scope.
    AccessKeyId,
}

/// The shape of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// What it starts with.
    pub prefix: Option<String>,
    /// What its body contains.
    pub contains: Option<String>,
    /// What it ends with.
    pub suffix: Option<String>,
    /// The characters of its body, as in a regular expression class.
    pub charset: Option<String>,
    /// Least and most characters after the prefix.
    pub length: Option<(usize, usize)>,
    /// What it is.
    pub kind: crate::credential::Kind,
    /// How long it lives.
    pub lifetime: crate::credential::Lifetime,
    /// How sure the shape is.
    #[serde(default)]
    pub confidence: crate::credential::Confidence,
}

/// A file in which a program or platform keeps credentials.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialFileEntry {
    /// The program or platform.
    pub owner: String,
    /// Path globs; `~` is the home folder.
    pub paths: Vec<String>,
    /// `json`, `ini`, `yaml`, `dotenv`, `raw`, `sqlite` or `pem`.
    pub format: String,
    /// Pointers or field names of the secrets.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Pointer to the time of expiry.
    pub expiry: Option<String>,
    /// Unit of the time of expiry since the Unix epoch.
    pub expiry_unit: Option<String>,
    /// Pointer to the account.
    pub account: Option<String>,
    /// Variable that moves the folder.
    pub directory_variable: Option<String>,
    /// Variable that names the file.
    pub file_variable: Option<String>,
    /// Whether the content is encrypted.
    #[serde(default)]
    pub encrypted: bool,
}

/// Variables that name credential files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialPathsEntry {
    /// Their names.
    pub variables: Vec<String>,
}

/// A client program or library.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientEntry {
    /// Unique id.
    pub id: String,
    /// Beginnings of its user agent.
    #[serde(default)]
    pub user_agents: Vec<String>,
    /// Its TLS code.
    pub tls: Option<String>,
    /// How its TLS code is tied to the socket.
    pub bio: Option<String>,
    /// Application protocols it offers.
    #[serde(default)]
    pub alpn: Vec<String>,
    /// Content encodings it accepts.
    pub accept_encoding: Option<String>,
    /// Compression of its WebSockets.
    pub websocket_compression: Option<String>,
    /// How its processes are known, when it is an agent: any of these.
    #[serde(default)]
    pub programs: Vec<ProgramEntry>,
}

/// A process, by what it runs. Paths are compared part by part from their end; a `*` at the end of a part
/// stands for any end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramEntry {
    /// End of the executable's path.
    pub exe: String,
    /// End of the path of the script that the executable interprets.
    pub script: Option<String>,
    /// The Python module that it runs.
    pub module: Option<String>,
    /// First arguments with which it is meant; any when empty.
    #[serde(default)]
    pub first: Vec<String>,
}
