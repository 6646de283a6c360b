//! docs/metrics.md is made from the tables; alert rules and dashboard use only what is in them, and all of it.

use crate::table::{Kind, METRICS, Row};

const HEAD: &str = "\
# Metrics

Made from the tables of metrics (`metrics/src/table/`). No label is a pid or the fingerprint of a key. Workloads, models
and providers share 1000 series at most, in a collector for each tenant; further ones are counted under `other`. There is
no authentication and no TLS: the pages name workloads and models, so give them addresses that only your scraper reaches.
Alert rules are in [`deploy/prometheus/alerts.yaml`](../deploy/prometheus/alerts.yaml), a dashboard in
[`deploy/grafana/keywitness.json`](../deploy/grafana/keywitness.json).

Counters start at 0 with the program. `/metrics` answers in OpenMetrics text, `/healthz` whether the program does its work
(503 when its event loop, or the collector's store, does not answer), `/readyz` also whether it has started: all hooks are
attached, the collector listens.
";

const SENSOR: &str = "
## The sensor

Off unless the configuration has

```toml
[metrics]
listen = \"127.0.0.1:9477\"
```

";

const COLLECTOR: &str = "
## The collector

Off unless it is started with `--metrics 127.0.0.1:9478`. What sensors count themselves has other names here, so that no sum
counts a call twice.

";

const TABLE: &str = "| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n";
/// Metrics that no panel shows: parts of others, or of use to queries only.
const NOT_SHOWN: [&str; 7] = [
    "build_info",
    "start_time",
    "events_delivered",
    "ring_bytes",
    "export_",
    "log_missing_records",
    "log_segment",
];

fn row(row: &Row) -> String {
    let labels: Vec<String> = row.labels.iter().map(|label| format!("`{label}`")).collect();
    let (kind, suffix) = match row.kind {
        Kind::Counter => ("counter", "_total"),
        Kind::Gauge => ("gauge", ""),
        Kind::Histogram => ("histogram", ""),
    };
    format!("| `{}{suffix}` | {kind} | {} | {} |\n", row.name, labels.join(", "), row.help)
}

fn document() -> String {
    let [sensor, collector] = METRICS.map(|table| table.iter().map(row).collect::<String>());
    [HEAD, SENSOR, TABLE, &sensor, COLLECTOR, TABLE, &collector].concat()
}

fn all() -> impl Iterator<Item = &'static Row> {
    METRICS.into_iter().flatten()
}

#[test]
fn the_document_of_metrics_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    if std::env::var_os("KEYWITNESS_BLESS").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let how = "write it with KEYWITNESS_BLESS=1 cargo test -p keywitness-metrics the_document_of_metrics";
    assert!(written == document(), "docs/metrics.md is not current: {how}");
    assert!(document().contains(&format!("share {} series", crate::MAX_SERIES)));
}

#[test]
fn names_are_unique_and_no_label_tells_a_process_or_a_key() {
    for (at, row) in all().enumerate() {
        assert!(all().take(at).all(|other| other.name != row.name), "{} stands twice", row.name);
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
            let known = all().any(|row| row.sample_names().iter().any(|one| one == name));
            assert!(known, "{file}: there is no metric {name}");
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
    let used: Vec<&str> = expressions.iter().flat_map(|one| names(one)).collect();
    for row in all().filter(|row| !NOT_SHOWN.iter().any(|part| row.name.contains(part))) {
        assert!(
            row.sample_names().iter().any(|name| used.contains(&name.as_str())),
            "{} is on no panel",
            row.name
        );
    }
}
