//! Credentials: who used them, where they came from, what they spent.

use proto::v1::{Credential, Origin, Record, record::Body};

use super::{Names, Rows, Seen, workload_name};
use crate::cost::Total;
use crate::detect::SHARED_CREDENTIAL;

/// One credential.
#[derive(Debug, Clone, Default)]
pub struct KeyRow {
    /// Fingerprint, or the name of the row for the others.
    pub fingerprint: String,
    /// Issuer.
    pub provider: String,
    /// Kind.
    pub kind: String,
    /// Static, short-lived and so on.
    pub lifetime: String,
    /// What may be shown of it.
    pub hint: String,
    /// Workloads that used it.
    pub workloads: Names,
    /// Places it came from, as far as is known.
    pub origins: Names,
    /// When it was used or found in a file.
    pub seen: Seen,
    /// What it was used for.
    pub total: Total,
    /// Whether two or more identities used it.
    pub shared: bool,
}

/// Sums calls by credential.
#[derive(Debug, Default)]
pub struct KeysReport {
    keys: Rows<KeyRow>,
}

impl KeysReport {
    /// Takes a record.
    pub fn record(&mut self, record: &Record) {
        match &record.body {
            Some(Body::ModelCall(call)) => {
                let Some(credential) = &call.credential else { return };
                let Some(row) = self.row(credential) else { return };
                row.workloads.add(&workload_name(call.workload.as_ref(), call.process.as_ref()));
                row.seen.at(record.time);
                row.total.add(call);
            }
            Some(Body::CredentialAccess(access)) => {
                for credential in &access.credentials {
                    let Some(row) = self.row(credential) else { continue };
                    if let Some(file) = &access.file {
                        row.origins.add(&file.path);
                    }
                    row.seen.at(record.time);
                }
            }
            Some(Body::Finding(finding)) if finding.rule == SHARED_CREDENTIAL => {
                if let Some(row) = finding.credential.as_ref().and_then(|credential| self.row(credential)) {
                    row.shared = true;
                }
            }
            _ => {}
        }
    }

    fn row(&mut self, credential: &Credential) -> Option<&mut KeyRow> {
        if credential.fingerprint.is_empty() {
            return None;
        }
        let row = self.keys.row(&credential.fingerprint);
        for (known, said) in [
            (&mut row.provider, &credential.provider),
            (&mut row.kind, &credential.kind),
            (&mut row.lifetime, &credential.lifetime),
            (&mut row.hint, &credential.hint),
        ] {
            if known.is_empty() {
                known.clone_from(said);
            }
        }
        if let Some(origin) = &credential.origin {
            row.origins.add(&origin_name(origin));
        }
        Some(row)
    }

    /// The credentials, the most used first.
    pub fn rows(self) -> Vec<KeyRow> {
        let mut rows: Vec<KeyRow> = self
            .keys
            .into_rows()
            .map(|(fingerprint, row)| KeyRow {
                shared: row.shared || row.workloads.names.len() > 1,
                fingerprint,
                ..row
            })
            .collect();
        rows.sort_by(|a, b| {
            let rank = |row: &KeyRow| (row.total.nano, row.total.tokens_in_all(), row.total.calls);
            rank(b).cmp(&rank(a)).then_with(|| a.fingerprint.cmp(&b.fingerprint))
        });
        rows
    }
}

/// A place by path or variable; nothing when it is not known.
fn origin_name(origin: &Origin) -> String {
    match (origin.path.as_str(), origin.variable.as_str(), origin.r#type.as_str()) {
        ("", "", "unknown" | "") => String::new(),
        ("", "", kind) => kind.to_owned(),
        ("", variable, _) => format!("${variable}"),
        (path, "", _) => path.to_owned(),
        (path, variable, _) => format!("{path} ${variable}"),
    }
}
