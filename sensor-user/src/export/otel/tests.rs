use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::{super::samples, *};

fn names(attributes: &[KeyValue]) -> Vec<&str> {
    attributes.iter().map(|attribute| attribute.key.as_str()).collect()
}

#[test]
fn every_record_is_a_log_record_without_unknown_attributes() {
    let request = logs(&samples::all(), Semconv::default());
    let scope = &request.resource_logs[0].scope_logs[0];
    assert_eq!(scope.log_records.len(), samples::all().len());
    let call = &scope.log_records[0];
    assert_eq!(call.event_name, "keywitness.model_call");
    assert!(names(&call.attributes).contains(&"gen_ai.usage.cache_read.input_tokens"));
    assert!(!names(&call.attributes).contains(&"gen_ai.usage.reasoning.output_tokens"));
    assert_eq!(scope.log_records[2].severity_text, "ERROR");
    assert!(request.resource_logs.len() == 1);
}

#[test]
fn the_version_decides_the_names_of_metrics() {
    let metric_names = |semconv| {
        let request = metrics(&samples::all(), semconv).unwrap();
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        metrics.iter().map(|metric| metric.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        metric_names(Semconv::Genai141),
        ["gen_ai.client.operation.duration", "gen_ai.client.token.usage"]
    );
    assert_eq!(
        metric_names(Semconv::GenaiDev),
        [
            "gen_ai.client.inference.duration",
            "gen_ai.client.inference.usage.cache_read.input_tokens",
            "gen_ai.client.inference.usage.input_tokens",
            "gen_ai.client.inference.usage.output_tokens"
        ]
    );
    assert!(metrics(&samples::all()[1..], Semconv::default()).is_none());
}

#[test]
fn histograms_count_each_value_once() {
    let request = metrics(&samples::all(), Semconv::default()).unwrap();
    let Some(Data::Histogram(duration)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data
    else {
        panic!("{request:?}")
    };
    let point = &duration.data_points[0];
    assert_eq!((point.count, point.sum, point.bucket_counts.iter().sum::<u64>()), (1, Some(1.5), 1));
    assert_eq!(point.bucket_counts[8], 1, "1.5 s is above 1.28 s and below 2.56 s");
    assert!((point.time_unix_nano as f64 - point.start_time_unix_nano as f64) / 1e9 >= 1.5);
}
