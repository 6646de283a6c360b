//! OCSF 1.8.0: a flow is Network Activity (4001), a model call API Activity (6003) with the profile
//! `ai_operation`, a finding Detection Finding (2004). Definitions: github.com/ocsf/ocsf-schema, tag 1.8.0.
//! What OCSF has no place for stands in `unmapped`.

use proto::v1::{Endpoint, Finding, Flow, ModelCall, Participant, Process, Record, Workload, record::Body};
use serde_json::{Value, json};

use super::{PRODUCT, VERSION};

/// The schema's version.
pub const OCSF_VERSION: &str = "1.8.0";
/// Severities by their word in records, with OCSF's number and caption; others are Unknown.
const SEVERITIES: [(&str, u8, &str); 5] = [
    ("info", 1, "Informational"),
    ("low", 2, "Low"),
    ("medium", 3, "Medium"),
    ("high", 4, "High"),
    ("critical", 5, "Critical"),
];
/// Observable type "User Credential ID".
const CREDENTIAL_OBSERVABLE: u8 = 19;
/// Activity "Other".
const OTHER: u64 = 99;

/// The event for `record`; nothing for kinds that OCSF has no class for here.
pub fn event(record: &Record) -> Option<Value> {
    let mut event = match record.body.as_ref()? {
        Body::Flow(flow) => network_activity(record, flow),
        Body::ModelCall(call) => api_activity(record, call),
        Body::Finding(finding) => detection_finding(record, finding),
        Body::CredentialAccess(_) | Body::Session(_) | Body::Status(_) => return None,
    };
    prune(&mut event);
    Some(event)
}

/// What every event has. `activity` is number and name.
fn base(
    record: &Record,
    class: (u64, &str),
    category: (u64, &str),
    activity: (u64, &str),
    profiles: &[&str],
) -> Value {
    let sensor = record.sensor.clone().unwrap_or_default();
    let credential = record.credential();
    json!({
        "class_uid": class.0,
        "class_name": class.1,
        "category_uid": category.0,
        "category_name": category.1,
        "activity_id": activity.0,
        "activity_name": activity.1,
        "type_uid": class.0 * 100 + activity.0,
        "type_name": format!("{}: {}", class.1, activity.1),
        "time": milliseconds(record.time),
        "severity_id": 1,
        "severity": "Informational",
        "metadata": {
            "version": OCSF_VERSION,
            "profiles": profiles,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION},
            "uid": format!("{}/{}/{}", sensor.host, sensor.boot_id, sensor.seq),
            "sequence": sensor.seq,
        },
        "observables": credential.map(|credential| json!([{
            "name": "actor.user.credential_uid",
            "type_id": CREDENTIAL_OBSERVABLE,
            "value": credential.fingerprint,
        }])),
        "unmapped": {
            "workload": record.workload().map(|workload| json!({
                "id": workload.id,
                "kind": workload.kind,
                "unit": workload.unit,
                "service_account": workload.service_account,
                "spiffe_id": workload.spiffe_id,
            })),
            "credential": credential.map(|credential| json!({
                "fingerprint": credential.fingerprint,
                "kind": credential.kind,
                "lifetime": credential.lifetime,
                "evidence": credential.evidence,
                "origin": credential.origin.as_ref().map(|origin| json!({
                    "type": origin.r#type, "path": origin.path, "variable": origin.variable,
                })),
            })),
        },
    })
}

fn network_activity(record: &Record, flow: &Flow) -> Value {
    let closed = flow.closed != 0;
    let activity = if closed { (2, "Close") } else { (6, "Traffic") };
    let mut event =
        base(record, (4001, "Network Activity"), (4, "Network Activity"), activity, &["host", "container"]);
    let duration = closed.then(|| flow.closed.saturating_sub(flow.opened) / 1_000_000);
    let ja4 = flow.tls.as_ref().map(|tls| tls.ja4.as_str()).filter(|ja4| !ja4.is_empty());
    let bytes =
        flow.bytes_sent.zip(flow.bytes_received).map(|(sent, received)| sent.saturating_add(received));
    let protocol = match flow.protocol.as_str() {
        "tcp" => Some(6),
        "udp" => Some(17),
        _ => None,
    };
    let own = json!({
        "start_time": milliseconds(flow.opened),
        "end_time": milliseconds(flow.closed),
        "duration": duration,
        "actor": actor(record, flow.process.as_ref(), flow.workload.as_ref()),
        "device": device(record),
        "src_endpoint": src_endpoint(record, flow.source.as_ref()),
        "dst_endpoint": dst_endpoint(flow.endpoint.as_ref()),
        "connection_info": {
            "direction_id": 2,
            "direction": "Outbound",
            "protocol_name": flow.protocol,
            "protocol_num": protocol,
            "uid": flow.id,
        },
        "traffic": {"bytes_out": flow.bytes_sent, "bytes_in": flow.bytes_received, "bytes": bytes},
        "ja4_fingerprint_list": ja4.map(|value| json!([{"type_id": 1, "type": "JA4", "value": value}])),
        "unmapped": {"tls": flow.tls.as_ref().map(|tls| json!({
            "library": tls.library,
            "coverage": tls.coverage,
            "coverage_reason": tls.coverage_reason,
        })), "pre_existing": flow.pre_existing},
    });
    merge(&mut event, own);
    event
}

fn api_activity(record: &Record, call: &ModelCall) -> Value {
    let operation = if call.operation.is_empty() { "unknown" } else { &call.operation };
    let activity = (OTHER, operation);
    let profiles = ["ai_operation", "host", "container"];
    let mut event = base(record, (6003, "API Activity"), (6, "Application Activity"), activity, &profiles);
    let endpoint = call.endpoint.clone().unwrap_or_default();
    let provider =
        if endpoint.provider.is_empty() { endpoint.host.clone() } else { endpoint.provider.clone() };
    let model = if call.model_served.is_empty() { &call.model_requested } else { &call.model_served };
    let tokens = call.tokens.clone().unwrap_or_default();
    let ended =
        call.duration_ms.map(|duration| milliseconds(call.started).unwrap_or(0).saturating_add(duration));
    let (status_id, status) = match call.status {
        Some(100..400) => (1, "Success"),
        Some(_) => (2, "Failure"),
        None => (0, "Unknown"),
    };
    let own = json!({
        "start_time": milliseconds(call.started),
        "end_time": ended,
        "duration": call.duration_ms,
        "status_id": status_id,
        "status": status,
        "actor": actor(record, call.process.as_ref(), call.workload.as_ref()),
        "device": device(record),
        "api": {
            "operation": operation,
            "service": {"name": provider},
            "request": (!call.request_id.is_empty()).then(|| json!({"uid": call.request_id})),
            "response": call.status.map(|code| json!({"code": code})),
        },
        "src_endpoint": src_endpoint(record, call.source.as_ref()),
        "dst_endpoint": dst_endpoint(call.endpoint.as_ref()),
        "http_request": {"user_agent": call.user_agent},
        "http_response": call.status.map(|code| json!({"code": code})),
        // Both are required inside; half of it would not be valid.
        "ai_model": (!model.is_empty() && !provider.is_empty())
            .then(|| json!({"ai_provider": provider, "name": model})),
        "message_context": {
            "uid": call.session_id,
            "service": {"name": provider},
            "prompt_tokens": tokens.input,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.input.zip(tokens.output).map(|(input, output)| input.saturating_add(output)),
        },
        "unmapped": {
            "binding": call.binding,
            "binding_reason": call.binding_reason,
            "model_requested": call.model_requested,
            "session": call.session,
            "flow_id": call.flow_id,
            "token_quality": tokens.quality,
            "cache_read_tokens": tokens.cache_read,
            "cache_write_tokens": tokens.cache_write,
            "reasoning_tokens": tokens.reasoning,
            "cost": call.cost.as_ref().map(|cost| json!({
                "amount": cost.amount, "currency": cost.currency, "basis": cost.basis,
            })),
        },
    });
    merge(&mut event, own);
    event
}

fn detection_finding(record: &Record, finding: &Finding) -> Value {
    let activity = match finding.state.as_str() {
        "updated" => (2, "Update"),
        "resolved" => (3, "Close"),
        _ => (1, "Create"),
    };
    let mut event =
        base(record, (2004, "Detection Finding"), (2, "Findings"), activity, &["host", "container"]);
    let severity = SEVERITIES.iter().find(|(word, ..)| *word == finding.severity);
    let (_, severity, caption) = severity.copied().unwrap_or(("", 0, "Unknown"));
    let evidences: Vec<Value> =
        finding.participants.iter().map(|one| evidence(record, finding, one)).collect();
    let own = json!({
        "severity_id": severity,
        "severity": caption,
        "status_id": if finding.state == "resolved" { 4 } else { 1 },
        "status": if finding.state == "resolved" { "Resolved" } else { "New" },
        "start_time": milliseconds(finding.first_seen),
        "end_time": milliseconds(finding.last_seen),
        "count": finding.count,
        "is_alert": finding.state != "resolved",
        "message": finding.title,
        "device": device(record),
        "finding_info": {
            "uid": finding.id,
            "title": finding.title,
            "first_seen_time": milliseconds(finding.first_seen),
            "last_seen_time": milliseconds(finding.last_seen),
            "analytic": {"type_id": 1, "type": "Rule", "name": finding.rule, "uid": finding.rule},
        },
        "evidences": evidences,
        "remediation": (!finding.next_step.is_empty()).then(|| json!({"desc": finding.next_step})),
    });
    merge(&mut event, own);
    event
}

fn evidence(record: &Record, finding: &Finding, one: &Participant) -> Value {
    let records: Vec<String> = one.evidence.iter().map(u64::to_string).collect();
    let mut actor = actor(record, one.process.as_ref(), one.workload.as_ref());
    if let (Some(user), Some(credential)) =
        (actor.get_mut("user").and_then(Value::as_object_mut), &finding.credential)
    {
        user.insert("credential_uid".into(), credential.fingerprint.clone().into());
    }
    json!({
        "actor": actor,
        "src_endpoint": src_endpoint(record, None),
        "data": {
            "workload": one.workload.as_ref().map(|workload| workload.id.as_str()),
            "records": records,
            "count": one.count,
            "first_seen": proto::time::format(one.first_seen),
            "last_seen": proto::time::format(one.last_seen),
        },
    })
}

fn actor(record: &Record, process: Option<&Process>, workload: Option<&Workload>) -> Value {
    let fingerprint = record.credential().map(|credential| credential.fingerprint.as_str());
    let app = workload.map(|workload| workload.id.as_str()).filter(|id| !id.is_empty());
    let Some(process) = process else { return json!({"app_name": app.unwrap_or("unknown")}) };
    let ancestry: Vec<Value> = process
        .ancestors
        .iter()
        .map(|one| {
            json!({
                "pid": one.pid,
                "name": file_name(&one.exe),
                "path": one.exe,
                "created_time": milliseconds(one.start_time),
            })
        })
        .collect();
    let container =
        workload.filter(|workload| !workload.container.is_empty() || !workload.instance.is_empty());
    json!({
        "app_name": app,
        // A user needs a name or an id.
        "user": process.uid.map(|uid| json!({"uid": uid.to_string(), "credential_uid": fingerprint})),
        "process": {
            "pid": process.pid,
            "name": if process.exe.is_empty() { process.comm.as_str() } else { file_name(&process.exe) },
            "cmd_line": process.args.join(" "),
            "created_time": milliseconds(process.start_time),
            "file": (!process.exe.is_empty())
                .then(|| json!({"name": file_name(&process.exe), "path": process.exe, "type_id": 1})),
            "ancestry": ancestry,
            "container": container.filter(|workload| workload.kind != "systemd").map(|workload| json!({
                "uid": workload.instance,
                "name": workload.container,
                "image": (!workload.image.is_empty()).then(|| json!({"name": workload.image})),
            })),
        },
    })
}

fn device(record: &Record) -> Value {
    let host = record.sensor.as_ref().map(|sensor| sensor.host.as_str());
    json!({"hostname": host.unwrap_or("unknown"), "type_id": 0, "type": "Unknown"})
}

fn src_endpoint(record: &Record, source: Option<&proto::v1::Source>) -> Value {
    let host = record.sensor.as_ref().map(|sensor| sensor.host.as_str());
    json!({
        "hostname": host.unwrap_or("unknown"),
        "ip": source.map(|source| source.address.as_str()),
        "port": source.map(|source| source.port),
    })
}

fn dst_endpoint(endpoint: Option<&Endpoint>) -> Option<Value> {
    let endpoint = endpoint?;
    let named = !endpoint.host.is_empty() || !endpoint.address.is_empty() || !endpoint.provider.is_empty();
    named.then(|| {
        json!({
            "hostname": endpoint.host,
            "ip": endpoint.address,
            "port": (endpoint.port != 0).then_some(endpoint.port),
            "svc_name": endpoint.provider,
        })
    })
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Milliseconds since the epoch, as OCSF counts; nothing for an unknown time.
fn milliseconds(nanoseconds: u64) -> Option<u64> {
    (nanoseconds != 0).then_some(nanoseconds / 1_000_000)
}

/// Adds the members of `from`, those of objects that are in both too.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                match into.get_mut(&name) {
                    Some(known) => merge(known, value),
                    None => {
                        into.insert(name, value);
                    }
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// Takes out what is not known: null, empty text, and objects and lists with nothing in them.
fn prune(value: &mut Value) {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, value| !empty(value));
        }
        Value::Array(list) => {
            list.iter_mut().for_each(prune);
            list.retain(|value| !empty(value));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
