use proto::v1::{Cost, Endpoint, Finding, Workload};

use super::*;
use crate::table::Row;

fn text(tally: &Tally) -> String {
    let mut page = Page::new(sensor::METRICS);
    tally.fill(&mut page, &Names::SENSOR, None);
    page.text().unwrap()
}

fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
}

fn call(model: &str, workload: &str) -> Record {
    let call = ModelCall {
        model_served: model.into(),
        binding: "client_random".into(),
        status: Some(200),
        tokens: Some(Tokens { input: Some(10), output: Some(3), ..Default::default() }),
        cost: Some(Cost { amount: "0.25".into(), currency: "USD".into(), ..Default::default() }),
        workload: Some(Workload { id: workload.into(), ..Default::default() }),
        endpoint: Some(Endpoint { provider: "openai".into(), ..Default::default() }),
        ..Default::default()
    };
    Record::new(1, Body::ModelCall(Box::new(call)))
}

#[test]
fn calls_tokens_and_cost_add_up_by_provider_model_and_workload() {
    let tally = Tally::default();
    for workload in ["user://h/0/a", "user://h/0/a", "user://h/0/b"] {
        tally.count(&call("gpt-5", workload));
    }
    let text = text(&tally);
    let labels = "{provider=\"openai\",model=\"gpt-5\",workload=\"user://h/0/a\"";
    assert_eq!(value(&text, &format!("keywitness_calls_total{labels}}}")), Some(2.0));
    assert_eq!(value(&text, &format!("keywitness_tokens_total{labels},type=\"input\"}}")), Some(20.0));
    assert_eq!(value(&text, &format!("keywitness_cost_total{labels},currency=\"USD\"}}")), Some(0.5));
    let answers = "keywitness_call_answers_total{provider=\"openai\",class=\"2xx\"}";
    assert_eq!(value(&text, answers), Some(3.0));
}

#[test]
fn nobody_makes_more_series_than_the_limit_and_nothing_is_left_out() {
    let tally = Tally::default();
    let calls = MAX_SERIES + 50;
    for number in 0..calls {
        tally.count(&call(&format!("made-up-{number}"), "user://h/0/a"));
    }
    tally.count(&call(&"x".repeat(MAX_LABEL_BYTES + 1), "user://h/0/a"));
    let text = text(&tally);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("keywitness_calls_total{")).collect();
    assert_eq!(lines.len(), MAX_SERIES + 1);
    let sum: f64 = lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert_eq!(sum, calls as f64 + 1.0);
    let other = "keywitness_calls_total{provider=\"other\",model=\"other\",workload=\"other\"}";
    assert_eq!(value(&text, other), Some(51.0));
}

#[test]
fn findings_count_when_they_open_and_every_series_is_there_before() {
    let tally = Tally::default();
    let sample = "keywitness_findings_total{rule=\"shared-credential\",severity=\"high\"}";
    assert_eq!(value(&text(&tally), sample), Some(0.0));
    for state in ["open", "updated", "resolved"] {
        let finding = Finding {
            rule: "shared-credential".into(),
            severity: "high".into(),
            state: state.into(),
            ..Default::default()
        };
        tally.count(&Record::new(1, Body::Finding(finding)));
    }
    assert_eq!(value(&text(&tally), sample), Some(1.0));
}

#[test]
fn a_tenant_has_the_same_metrics_with_its_name_before_the_other_labels() {
    let find = |table: &'static [Row], name| table.iter().find(|row| row.name == name).unwrap();
    for (own, tenants) in Names::SENSOR.all().into_iter().zip(Names::TENANT.all()) {
        let (own, tenants) = (find(sensor::METRICS, own), find(collector::METRICS, tenants));
        assert_eq!(tenants.name, own.name.replace("keywitness_", "keywitness_collector_"));
        assert_eq!(tenants.labels, [&["tenant"], own.labels].concat());
        assert_eq!(tenants.kind, own.kind);
    }
    let tally = Tally::default();
    tally.count(&call("gpt-5", "user://h/0/a"));
    let mut page = Page::new(collector::METRICS);
    tally.fill(&mut page, &Names::TENANT, Some("acme"));
    let text = page.text().unwrap();
    let labels = "{tenant=\"acme\",provider=\"openai\",model=\"gpt-5\",workload=\"user://h/0/a\"}";
    assert_eq!(value(&text, &format!("keywitness_collector_calls_total{labels}")), Some(1.0));
}
