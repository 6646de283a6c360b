//! Compiles the .proto files without protoc and gives every message its JSON form.

/// What is compiled.
const FILES: [&str; 3] =
    ["keywitness/v1/record.proto", "keywitness/v1/ingest.proto", "keywitness/v1/query.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=keywitness");
    let files = protox::compile(FILES, ["."])?;
    let mut config = prost_build::Config::new();
    config
        .message_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]")
        .message_attribute(".", "#[serde(default)]")
        .enum_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]")
        .enum_attribute(".", "#[serde(rename_all = \"snake_case\")]")
        .boxed(".keywitness.v1.Record.body.model_call")
        .boxed(".keywitness.v1.Record.body.flow")
        .boxed(".keywitness.v1.Record.body.credential_access")
        .boxed(".keywitness.v1.Record.body.session")
        .btree_map(["."])
        .field_attribute("Record.body", "#[serde(flatten)]");
    // Absent, empty and zero are written as nothing: in this schema unknown is absent, never 0.
    let set = files.clone();
    for file in &set.file {
        for message in &file.message_type {
            json_rules(&mut config, &format!(".{}.{}", file.package(), message.name()), message);
        }
    }
    let services = std::env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_client(services)
        .build_server(services)
        .compile_fds_with_config(files, config)?;
    Ok(())
}

/// Adds the serde attributes of one message: RFC 3339 times, and nothing for what is absent.
fn json_rules(config: &mut prost_build::Config, path: &str, message: &prost_types::DescriptorProto) {
    use prost_types::field_descriptor_proto::{Label, Type};
    const TIMES: [&str; 12] = [
        "time",
        "start_time",
        "opened",
        "closed",
        "started",
        "ended",
        "first_seen",
        "last_seen",
        "since",
        "until",
        "valid_from",
        "valid_until",
    ];
    for field in &message.field {
        if field.oneof_index.is_some() && !field.proto3_optional() {
            continue;
        }
        let at = format!("{path}.{}", field.name());
        let optional = field.proto3_optional() || field.r#type() == Type::Message;
        let map = field.r#type() == Type::Message && field.type_name().ends_with("LabelsEntry");
        let rule = if map {
            "skip_serializing_if = \"std::collections::BTreeMap::is_empty\"".to_owned()
        } else if field.label() == Label::Repeated {
            "skip_serializing_if = \"crate::is_empty\"".to_owned()
        } else if TIMES.contains(&field.name()) && field.r#type() == Type::Fixed64 {
            "with = \"crate::time\", skip_serializing_if = \"crate::is_default\"".to_owned()
        } else if optional {
            "skip_serializing_if = \"Option::is_none\"".to_owned()
        } else {
            "skip_serializing_if = \"crate::is_default\"".to_owned()
        };
        config.field_attribute(&at, format!("#[serde({rule})]"));
    }
}
