//! What a filter can look at: one row a field. The command line, its help and the protocol are made of it.

use proto::v1::{Process, Record, Workload};
use serde::{Deserialize, Serialize};

use super::pattern::{needle, start, whole};

/// Decimal places of money that are compared.
const MONEY_PLACES: usize = 12;
/// Kinds of record.
pub const KINDS: [&str; 6] = ["flow", "model_call", "credential_access", "session", "finding", "status"];

/// A field.
#[expect(missing_docs, reason = "said in FIELDS")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    Key,
    Workload,
    Namespace,
    Pod,
    Container,
    Unit,
    Process,
    Provider,
    Model,
    Kind,
    Session,
    Finding,
    MinCost,
    Host,
}

/// A row of [`FIELDS`].
pub struct Row {
    /// The field.
    pub field: Field,
    /// Name of the option, without dashes.
    pub name: &'static str,
    /// What its value is, for the help.
    pub value: &'static str,
    /// What it means, for the help.
    pub help: &'static str,
    /// Refuses a value that can match nothing.
    pub(super) check: fn(&str) -> Result<(), &'static str>,
    /// Whether a record matches a value.
    pub(super) matches: fn(&Record, &str) -> bool,
    /// A piece that the JSON of every matching record holds.
    pub(super) needle: fn(&str) -> Option<&str>,
}

/// All fields.
pub static FIELDS: &[Row] = &[
    Row {
        field: Field::Key,
        name: "key",
        value: "FINGERPRINT",
        help: "Credentials by fingerprint or its start, `#ab12cd34` as compact output shows it; `@-` reads the secret from standard input",
        check: any,
        matches: |record, value| record.fingerprints().into_iter().any(|fingerprint| key(value, fingerprint)),
        needle: |value| needle(value.trim_start_matches('#')),
    },
    Row {
        field: Field::Workload,
        name: "workload",
        value: "WORKLOAD",
        help: "Workloads by id (or its start) or name, `*` for anything",
        check: any,
        matches: |record, value| {
            workload(record, |known| start(value, &known.id) || whole(value, &known.name))
        },
        needle,
    },
    Row {
        field: Field::Namespace,
        name: "namespace",
        value: "NAMESPACE",
        help: "Kubernetes namespaces",
        check: any,
        matches: |record, value| workload(record, |known| whole(value, &known.namespace)),
        needle,
    },
    Row {
        field: Field::Pod,
        name: "pod",
        value: "[NAMESPACE/]POD",
        help: "Kubernetes pods by the start of their name",
        check: any,
        matches: |record, value| {
            workload(record, |known| match value.split_once('/') {
                Some((namespace, pod)) => whole(namespace, &known.namespace) && start(pod, &known.pod),
                None => start(value, &known.pod),
            })
        },
        needle,
    },
    Row {
        field: Field::Container,
        name: "container",
        value: "CONTAINER",
        help: "Containers by name or the start of their id",
        check: any,
        matches: |record, value| {
            workload(record, |known| whole(value, &known.container) || start(value, &known.instance))
        },
        needle,
    },
    Row {
        field: Field::Unit,
        name: "unit",
        value: "UNIT",
        help: "systemd units, `.service` may be left out",
        check: any,
        matches: |record, value| {
            workload(record, |known| {
                let short = known.unit.strip_suffix(".service").unwrap_or(&known.unit);
                whole(value, &known.unit) || whole(value, short)
            })
        },
        needle,
    },
    Row {
        field: Field::Process,
        name: "process",
        value: "PROCESS",
        help: "Processes by pid, executable (path or file name) or thread name",
        check: any,
        matches: |record, value| record.processes().any(|known| process(value, known)),
        needle,
    },
    Row {
        field: Field::Provider,
        name: "provider",
        value: "PROVIDER",
        help: "Providers, as records name them: openai, anthropic, aws.bedrock",
        check: any,
        matches: |record, value| {
            let by_endpoint = record.endpoint().map(|endpoint| &endpoint.provider);
            let by_key = record.credential().map(|credential| &credential.provider);
            let names = by_endpoint.filter(|name| !name.is_empty()).or(by_key);
            names.is_some_and(|name| whole(value, name))
        },
        needle,
    },
    Row {
        field: Field::Model,
        name: "model",
        value: "MODEL",
        help: "Models, asked for or served, by the start of their name",
        check: any,
        matches: |record, value| {
            record
                .model_call()
                .is_some_and(|call| start(value, &call.model_requested) || start(value, &call.model_served))
        },
        needle,
    },
    Row {
        field: Field::Kind,
        name: "kind",
        value: "KIND",
        help: "Kinds of record: flow, model_call, credential_access, session, finding, status",
        check: |value| match KINDS.contains(&value) {
            true => Ok(()),
            false => Err("not one of flow, model_call, credential_access, session, finding, status"),
        },
        matches: |record, value| record.kind == value,
        needle,
    },
    Row {
        field: Field::Session,
        name: "session",
        value: "SESSION",
        help: "Sessions by id or its start, also the client's own",
        check: any,
        matches: |record, value| {
            let call = record.model_call().map(|call| [&call.session, &call.session_id]);
            let own = record.session().map(|session| [&session.id, &session.client_session_id]);
            call.into_iter().chain(own).flatten().any(|id| !id.is_empty() && start(value, id))
        },
        needle,
    },
    Row {
        field: Field::Finding,
        name: "finding",
        value: "RULE",
        help: "Findings by rule or id, `*` for all",
        check: any,
        matches: |record, value| {
            record.finding().is_some_and(|finding| whole(value, &finding.rule) || start(value, &finding.id))
        },
        needle,
    },
    Row {
        field: Field::MinCost,
        name: "min-cost",
        value: "AMOUNT",
        help: "Calls and sessions that cost at least so much",
        check: |value| money(value).map(|_| ()).ok_or("not an amount such as 0.25"),
        matches: |record, value| {
            let cost = record.cost().and_then(|cost| money(&cost.amount));
            cost.zip(money(value)).is_some_and(|(cost, least)| cost >= least)
        },
        needle: |_| None,
    },
    Row {
        field: Field::Host,
        name: "host",
        value: "HOST",
        help: "Hosts of the sensor",
        check: any,
        matches: |record, value| record.sensor.as_ref().is_some_and(|sensor| whole(value, &sensor.host)),
        needle,
    },
];

impl Field {
    /// Its row.
    pub fn row(self) -> &'static Row {
        // Every field has a row, which a test checks; the first stands in for none.
        FIELDS.iter().find(|row| row.field == self).unwrap_or(&FIELDS[0])
    }
}

fn any(_: &str) -> Result<(), &'static str> {
    Ok(())
}

fn workload(record: &Record, matches: impl Fn(&Workload) -> bool) -> bool {
    record.workloads().any(matches)
}

fn key(value: &str, fingerprint: &str) -> bool {
    let digest = fingerprint.rsplit('-').next().unwrap_or_default();
    match value.strip_prefix('#') {
        Some(short) => start(short, digest),
        None => start(value, fingerprint) || start(value, digest),
    }
}

fn process(value: &str, process: &Process) -> bool {
    let file = process.exe.rsplit('/').next().unwrap_or_default();
    value.parse() == Ok(process.pid)
        || [&process.exe, file, &process.comm].iter().any(|name| whole(value, name))
}

/// A decimal amount in units of the last place that is compared; more places are cut off.
fn money(text: &str) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
        return None;
    }
    let part: String = part.chars().chain(std::iter::repeat('0')).take(MONEY_PLACES).collect();
    format!("0{whole}{part}").parse().ok()
}
