//! A finding in the shape of a Falco alert, as Falcosidekick takes it (falcosecurity/falcosidekick, types/types.go:
//! `FalcoPayload`).

use proto::v1::{Finding, Participant};
use serde_json::{Map, Value, json};

/// Participants whose fields are written; the record has them all.
const MAX_PARTICIPANTS: usize = 16;

/// The alert for a finding that was told at `time` (nanoseconds since the epoch).
pub fn event(finding: &Finding, time: u64) -> Value {
    let first = finding.participants.first();
    let host = first.map(|one| one.host.as_str()).filter(|host| !host.is_empty());
    json!({
        "uuid": uuid(finding),
        "output": format!("{}. What to do: {}", finding.title, finding.next_step),
        "priority": priority(&finding.severity),
        "rule": finding.rule,
        "source": "keywitness",
        "time": proto::time::format(time),
        "hostname": host.unwrap_or_default(),
        "tags": ["keywitness", "ai", finding.rule],
        "output_fields": fields(finding),
    })
}

/// Falco's priorities (falco, userspace/falco/falco_common.h).
fn priority(severity: &str) -> &'static str {
    match severity {
        "critical" => "Critical",
        "high" => "Error",
        "medium" => "Warning",
        "low" => "Notice",
        _ => "Informational",
    }
}

/// A UUID made from the id and the count: the same alert again is the same one (RFC 9562, version 8).
fn uuid(finding: &Finding) -> String {
    let text = format!("{} {} {}", finding.id, finding.state, finding.last_seen);
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in text.bytes() {
        // FNV-1a, 128 bits.
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    let hash = hash & !(0xf << 76) & !(0x3 << 62) | (0x8 << 76) | (0x2 << 62);
    let hex = format!("{hash:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// Flat fields: Falcosidekick takes strings and numbers only.
fn fields(finding: &Finding) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| {
        if value != json!("") {
            fields.insert(name.to_owned(), value);
        }
    };
    set("keywitness.id", json!(finding.id));
    set("keywitness.severity", json!(finding.severity));
    set("keywitness.state", json!(finding.state));
    set("keywitness.subject", json!(finding.subject));
    set("keywitness.count", json!(finding.count));
    set("keywitness.participants", json!(finding.participants.len()));
    if let Some(credential) = &finding.credential {
        set("credential.fingerprint", json!(credential.fingerprint));
        set("credential.provider", json!(credential.provider));
        set("credential.hint", json!(credential.hint));
    }
    if let Some(process) = finding.participants.first().and_then(|one| one.process.as_ref()) {
        set("proc.pid", json!(process.pid));
        set("proc.exepath", json!(process.exe));
    }
    for (number, one) in finding.participants.iter().take(MAX_PARTICIPANTS).enumerate() {
        set(&format!("participant.{number}"), json!(name(one)));
    }
    fields
}

fn name(one: &Participant) -> String {
    let workload = one.workload.as_ref().map(|workload| workload.id.clone()).unwrap_or_default();
    match &one.process {
        Some(process) => format!("{workload} {}[{}]", process.exe, process.pid).trim().to_owned(),
        None => workload,
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{Credential, Process, Workload};

    use super::*;

    fn finding() -> Finding {
        Finding {
            id: "kwf-a".into(),
            rule: "shared-credential".into(),
            severity: "high".into(),
            title: "One key is used by two".into(),
            next_step: "renew it".into(),
            state: "open".into(),
            last_seen: 1_700_000_000_000_000_000,
            credential: Some(Credential { fingerprint: "kw1-x".into(), ..Credential::default() }),
            participants: vec![Participant {
                process: Some(Process { pid: 7, exe: "/bin/a".into(), ..Process::default() }),
                workload: Some(Workload { id: "systemd://h/a.service".into(), ..Workload::default() }),
                host: "h".into(),
                ..Participant::default()
            }],
            ..Finding::default()
        }
    }

    #[test]
    fn an_alert_has_what_falcosidekick_asks_for() {
        let event = event(&finding(), 1_700_000_000_000_000_000);
        for name in
            ["uuid", "output", "priority", "rule", "source", "time", "hostname", "tags", "output_fields"]
        {
            assert!(!event[name].is_null(), "{name}");
        }
        assert_eq!(event["priority"], "Error");
        assert_eq!(event["time"], "2023-11-14T22:13:20.000000000Z");
        assert_eq!(event["hostname"], "h");
        assert_eq!(event["output_fields"]["participant.0"], "systemd://h/a.service /bin/a[7]");
        let fields = event["output_fields"].as_object().unwrap();
        assert!(fields.values().all(|value| value.is_string() || value.is_number()));
    }

    #[test]
    fn the_same_finding_is_the_same_alert_and_an_update_is_another() {
        let one = event(&finding(), 1)["uuid"].as_str().unwrap().to_owned();
        assert_eq!(one, event(&finding(), 2)["uuid"]);
        assert_ne!(one, event(&Finding { last_seen: 9, ..finding() }, 1)["uuid"]);
        assert_eq!((one.len(), one.as_bytes()[14]), (36, b'8'));
    }
}
