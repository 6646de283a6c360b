//! The events against what OCSF 1.8.0 says of their classes and objects: attributes that exist, types, and what is
//! required. `!` marks a required attribute; an attribute that is not listed is not in the schema.

use serde_json::Value;

use super::{super::samples, *};

/// Object, its attributes (`name:type`, lists with `[]`), and of which one has to be there.
const OBJECTS: &[(&str, &str, &str)] = &[
    (
        "base",
        "class_uid!:integer class_name:string category_uid!:integer category_name:string activity_id!:integer \
         activity_name:string type_uid!:integer type_name:string time!:integer severity_id!:integer severity:string \
         metadata!:metadata observables:observable[] unmapped:any start_time:integer end_time:integer \
         duration:integer status_id:integer status:string count:integer message:string device:device",
        "",
    ),
    (
        "4001",
        "actor:actor src_endpoint:endpoint dst_endpoint:endpoint connection_info:connection_info traffic:traffic \
         ja4_fingerprint_list:ja4[]",
        "src_endpoint dst_endpoint",
    ),
    (
        "6003",
        "actor!:actor api!:api src_endpoint!:endpoint dst_endpoint:endpoint http_request:http_request \
         http_response:http_response ai_model:ai_model message_context:message_context",
        "",
    ),
    ("2004", "finding_info!:finding_info evidences:evidence[] is_alert:boolean remediation:remediation", ""),
    ("metadata", "version!:string profiles:string[] product!:product uid:string sequence:integer", ""),
    ("product", "name:string vendor_name!:string version:string", "name"),
    ("observable", "name:string type_id!:integer value:string", ""),
    ("device", "hostname:string type_id!:integer type:string", "hostname"),
    ("endpoint", "hostname:string ip:string port:integer svc_name:string", "hostname ip svc_name"),
    (
        "connection_info",
        "direction_id!:integer direction:string protocol_name:string protocol_num:integer uid:string",
        "",
    ),
    ("traffic", "bytes:integer bytes_in:integer bytes_out:integer", "bytes bytes_in bytes_out"),
    ("ja4", "type_id!:integer type:string value!:string", ""),
    ("actor", "app_name:string user:user process:process", "app_name user process"),
    ("user", "uid:string credential_uid:string", "uid"),
    (
        "process",
        "pid:integer name:string cmd_line:string created_time:integer file:file ancestry:ancestor[] \
         container:container",
        "pid",
    ),
    ("ancestor", "pid:integer name:string path:string created_time:integer", "pid"),
    ("file", "name!:string path:string type_id!:integer", ""),
    ("container", "uid:string name:string image:image", "uid name"),
    ("image", "name:string", "name"),
    ("api", "operation!:string service:service request:request response:response", ""),
    ("service", "name:string", "name"),
    ("request", "uid!:string", ""),
    ("response", "code:integer", ""),
    ("http_request", "user_agent:string", ""),
    ("http_response", "code!:integer", ""),
    ("ai_model", "ai_provider!:string name!:string", ""),
    (
        "message_context",
        "uid:string service:service prompt_tokens:integer completion_tokens:integer total_tokens:integer",
        "service",
    ),
    (
        "finding_info",
        "uid!:string title:string first_seen_time:integer last_seen_time:integer analytic:analytic",
        "",
    ),
    ("analytic", "type_id!:integer type:string name:string uid:string", ""),
    ("evidence", "actor:actor src_endpoint:endpoint data:any", "actor src_endpoint data"),
    ("remediation", "desc!:string", ""),
];

fn rules(name: &str) -> (String, &'static str) {
    let row = |name: &str| OBJECTS.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name}"));
    let (_, attributes, one_of) = row(name);
    match name.parse::<u64>() {
        Ok(_) => (format!("{} {attributes}", row("base").1), one_of),
        Err(_) => ((*attributes).to_owned(), one_of),
    }
}

fn check(value: &Value, object: &str, at: &str) {
    let members = value.as_object().unwrap_or_else(|| panic!("{at} is no object"));
    let (attributes, one_of) = rules(object);
    let known: Vec<(&str, bool, &str)> = attributes
        .split_whitespace()
        .map(|attribute| {
            let (name, kind) = attribute.split_once(':').unwrap();
            (name.trim_end_matches('!'), name.ends_with('!'), kind)
        })
        .collect();
    for (name, required, _) in &known {
        assert!(!required || members.contains_key(*name), "{at}.{name} is required");
    }
    assert!(
        one_of.is_empty() || one_of.split(' ').any(|name| members.contains_key(name)),
        "{at} needs one of {one_of}"
    );
    for (name, value) in members {
        let (_, _, kind) = known
            .iter()
            .find(|row| row.0 == name)
            .unwrap_or_else(|| panic!("{at}.{name} is not in the schema"));
        match kind.strip_suffix("[]") {
            Some(kind) => {
                value.as_array().unwrap().iter().for_each(|one| typed(one, kind, &format!("{at}.{name}[]")))
            }
            None => typed(value, kind, &format!("{at}.{name}")),
        }
    }
}

fn typed(value: &Value, kind: &str, at: &str) {
    match kind {
        "any" => {}
        "string" => assert!(value.as_str().is_some_and(|text| !text.is_empty()), "{at}: {value}"),
        "integer" => assert!(value.is_u64(), "{at}: {value}"),
        "boolean" => assert!(value.is_boolean(), "{at}: {value}"),
        object => check(value, object, at),
    }
}

fn checked(record: &Record) -> Value {
    let event = event(record).unwrap();
    let class = event["class_uid"].as_u64().unwrap();
    check(&event, &class.to_string(), "event");
    assert_eq!(event["type_uid"].as_u64(), Some(class * 100 + event["activity_id"].as_u64().unwrap()));
    assert_eq!(event["category_uid"].as_u64(), Some(class / 1000));
    event
}

#[test]
fn events_hold_only_what_the_schema_knows_and_all_that_it_requires() {
    let events: Vec<Value> = samples::all()[..3].iter().map(checked).collect();
    let classes: Vec<u64> = events.iter().filter_map(|event| event["class_uid"].as_u64()).collect();
    assert_eq!(classes, [6003, 4001, 2004]);
    assert_eq!(events[0]["actor"]["user"]["credential_uid"], "kw1-abcd-q7k3xyzq7k3xyzq7k3xyzq7k3x");
    assert_eq!(events[0]["message_context"]["total_tokens"], 1234);
    assert_eq!(events[1]["traffic"]["bytes"], 2800);
    assert_eq!(events[2]["evidences"].as_array().unwrap().len(), 2);
}

#[test]
fn the_unknown_is_absent_and_the_event_still_whole() {
    for body in [
        Body::ModelCall(Box::default()),
        Body::Flow(Box::default()),
        Body::Finding(Finding {
            id: "x".into(),
            participants: vec![Participant::default()],
            ..Default::default()
        }),
    ] {
        let event = checked(&Record::new(samples::all()[0].time, body));
        assert!(!event.to_string().contains("null"), "{event}");
    }
}

#[test]
fn other_kinds_have_no_class() {
    assert!(samples::all()[3..].iter().all(|record| event(record).is_none()));
}

#[test]
fn every_severity_of_a_finding_has_its_number() {
    for (severity, number) in attribution::detect::Severity::ALL.into_iter().zip(1..) {
        let finding = Finding { severity: severity.name().into(), ..Finding::default() };
        let event = event(&Record::new(1, Body::Finding(finding))).unwrap();
        assert_eq!(event["severity_id"], number, "{severity}");
    }
}
