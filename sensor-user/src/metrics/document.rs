//! docs/metrics.md is made from the table.

use super::table::{Kind, METRICS, Row};

const HEAD: &str = "\
# Metrics of the sensor

Made from the one table of metrics (`sensor-user/src/metrics/table.rs`). They are off unless the configuration has

```toml
[metrics]
listen = \"127.0.0.1:9477\"
```

`/metrics` answers in OpenMetrics text, `/healthz` whether the event loop turns (503 when it does not), `/readyz` also
whether everything is attached. There is no authentication and no TLS: the page names workloads and models, so give it
an address that only your scraper reaches. No label is a pid or the fingerprint of a key. Workloads, models and
providers share 1000 series at most, further ones are counted under `other`. Alert rules for these metrics are in
[`deploy/prometheus/alerts.yaml`](../deploy/prometheus/alerts.yaml), a dashboard in
[`deploy/grafana/keywitness.json`](../deploy/grafana/keywitness.json).

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
";

fn row(row: &Row) -> String {
    let labels: Vec<String> = row.labels.iter().map(|label| format!("`{label}`")).collect();
    let kind = match row.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    format!("| `{}` | {kind} | {} | {} |\n", row.sample_name(), labels.join(", "), row.help)
}

fn document() -> String {
    HEAD.to_owned() + &METRICS.iter().map(row).collect::<String>()
}

#[test]
fn the_document_of_metrics_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    if std::env::var_os("KEYWITNESS_BLESS").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let how = "write it with KEYWITNESS_BLESS=1 cargo test -p sensor-user the_document_of_metrics";
    assert!(written == document(), "docs/metrics.md is not current: {how}");
    assert!(document().contains(&format!("share {} series", super::tally::MAX_SERIES)));
}

#[test]
fn names_are_unique_and_no_label_tells_a_process_or_a_key() {
    for (at, row) in METRICS.iter().enumerate() {
        assert!(METRICS[..at].iter().all(|other| other.name != row.name), "{} stands twice", row.name);
        assert!(!row.name.ends_with("_total") && row.name.starts_with("keywitness_"), "{}", row.name);
        for label in row.labels {
            assert!(!["pid", "fingerprint", "key", "hint", "process"].contains(label), "{}", row.name);
        }
    }
}

/// Words of `text` that look like a metric.
fn names(text: &str) -> Vec<&str> {
    let part = |one: char| !(one.is_ascii_alphanumeric() || one == '_');
    text.split(part).filter(|word| word.starts_with("keywitness_")).collect()
}

#[test]
fn alert_rules_and_dashboard_use_metrics_that_exist() {
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    for file in ["prometheus/alerts.yaml", "grafana/keywitness.json"] {
        let text = std::fs::read_to_string(format!("{deploy}/{file}")).unwrap();
        let used = names(&text);
        assert!(used.len() > 10, "{file}: {used:?}");
        for name in used {
            assert!(METRICS.iter().any(|row| row.sample_name() == name), "{file}: there is no metric {name}");
        }
    }
    let dashboard = std::fs::read(format!("{deploy}/grafana/keywitness.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    let expressions: Vec<&str> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .filter_map(|target| target["expr"].as_str())
        .collect();
    for row in METRICS {
        let shown = ["keywitness_build_info", "keywitness_start_time_seconds"].contains(&row.name)
            || ["events_delivered", "ring_bytes", "export_", "missing_records"]
                .iter()
                .any(|part| row.name.contains(part));
        let name = row.sample_name();
        assert!(
            shown || expressions.iter().any(|one| names(one).contains(&name.as_str())),
            "{name} is on no panel"
        );
    }
}
