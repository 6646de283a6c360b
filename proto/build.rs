//! Compiles the .proto files without protoc, gives every message its JSON form and a quick reader of it.

use prost_types::{DescriptorProto, FieldDescriptorProto};

/// Fields that are times, RFC 3339 in JSON.
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
    let mut readers = String::new();
    for file in &set.file {
        for message in &file.message_type {
            json_rules(&mut config, &format!(".{}.{}", file.package(), message.name()), message);
        }
        if file.name().ends_with("record.proto") {
            file.message_type.iter().for_each(|message| reader(&mut readers, message));
        }
    }
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(std::path::Path::new(&out).join("quick.rs"), readers)?;
    let services = std::env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_client(services)
        .build_server(services)
        .compile_fds_with_config(files, config)?;
    Ok(())
}

/// Adds the serde attributes of one message: RFC 3339 times, and nothing for what is absent.
fn json_rules(config: &mut prost_build::Config, path: &str, message: &DescriptorProto) {
    use prost_types::field_descriptor_proto::{Label, Type};
    for field in message.field.iter().filter(|field| !is_choice(field)) {
        let at = format!("{path}.{}", field.name());
        let optional = field.proto3_optional() || field.r#type() == Type::Message;
        let map = field.r#type() == Type::Message && field.type_name().ends_with("LabelsEntry");
        let rule = if map {
            "skip_serializing_if = \"std::collections::BTreeMap::is_empty\"".to_owned()
        } else if field.label() == Label::Repeated {
            "skip_serializing_if = \"crate::is_empty\"".to_owned()
        } else if is_time(field) {
            "with = \"crate::time\", skip_serializing_if = \"crate::is_default\"".to_owned()
        } else if optional {
            "skip_serializing_if = \"Option::is_none\"".to_owned()
        } else {
            "skip_serializing_if = \"crate::is_default\"".to_owned()
        };
        config.field_attribute(&at, format!("#[serde({rule})]"));
    }
}

/// Adds the quick reader of one message: its fields in their order, as `proto/src/quick.rs` explains. The choice of
/// a body comes after them.
fn reader(out: &mut String, message: &DescriptorProto) {
    let mut lines = String::new();
    for field in message.field.iter().filter(|field| !is_choice(field)) {
        let name = field.name();
        let member = if name == "type" { "r#type" } else { name };
        let read = if is_time(field) { "time" } else { "field" };
        lines += &format!("        input.{read}(\"\\\"{name}\\\":\", &mut self.{member})?;\n");
    }
    if message.field.iter().any(is_choice) {
        lines += "        self.read_body(input)?;\n";
    }
    *out += &format!(
        "impl Value for crate::v1::{} {{\n    fn read(&mut self, input: &mut Input<'_>) -> Option<()> {{\n        \
         input.open()?;\n{lines}        input.close()\n    }}\n}}\n",
        message.name()
    );
}

/// Whether a field is one of several of which a message has one.
fn is_choice(field: &FieldDescriptorProto) -> bool {
    field.oneof_index.is_some() && !field.proto3_optional()
}

fn is_time(field: &FieldDescriptorProto) -> bool {
    use prost_types::field_descriptor_proto::Type;
    TIMES.contains(&field.name()) && field.r#type() == Type::Fixed64
}
