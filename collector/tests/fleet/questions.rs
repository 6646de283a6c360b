//! What those who ask get, over HTTP JSON and over gRPC.

use proto::v1::{Condition, Record, RecordsRequest, query_client::QueryClient};
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::support::Collector;

pub(crate) fn over_http(collector: &Collector) {
    let token = std::fs::read_to_string(collector.folder.join("reader.token")).unwrap();
    let (status, body) = collector.ask("/v1/records?kind=finding&finding=shared-credential", Some(&token));
    assert_eq!((status.as_str(), body.lines().count()), ("200", 1), "{body}");
    assert!(body.contains("web-1") && body.contains("web-2"));
    let (_, calls) = collector.ask("/v1/records?kind=model_call&last=2", Some(&token));
    assert_eq!(calls.lines().count(), 2);
    for (token, expected) in [(None, "401"), (Some("kwt_wrong"), "401")] {
        assert_eq!(collector.ask("/v1/records", token).0, expected);
    }
    assert_eq!(collector.ask("/v1/records?colour=red", Some(&token)).0, "400");
    let other = collector.command(&["token", "add", "--tenant", "other", "--note", "test"]);
    assert_eq!(collector.ask("/v1/records", Some(&other)), ("200".into(), String::new()));
    collector.command(&["token", "remove", "--tenant", "other", "--note", "test"]);
    assert_eq!(collector.ask("/v1/records", Some(&other)).0, "401");
    assert_eq!(collector.ask("/healthz", None), ("200".into(), "ok\n".into()));
    assert!(collector.ask("/openapi.json", None).1.contains("\"/v1/records\""));
}

/// All records of an answer.
async fn records(
    client: &mut QueryClient<Channel>,
    token: Option<&str>,
    message: RecordsRequest,
) -> Result<Vec<Record>, Status> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut answer = client.records(request).await?.into_inner();
    let mut records = Vec::new();
    while let Some(record) = answer.message().await? {
        records.push(record);
    }
    Ok(records)
}

fn about(conditions: &[(&str, &str)]) -> RecordsRequest {
    let one = |(field, value): &(&str, &str)| Condition {
        field: (*field).into(),
        value: (*value).into(),
        not: false,
    };
    RecordsRequest { conditions: conditions.iter().map(one).collect(), ..RecordsRequest::default() }
}

pub(crate) async fn over_grpc(collector: &Collector) {
    let ca = Certificate::from_pem(std::fs::read(collector.pki().join("ca.pem")).unwrap());
    let channel = Channel::from_shared(collector.query_endpoint()).unwrap();
    let channel =
        channel.tls_config(ClientTlsConfig::new().ca_certificate(ca)).unwrap().connect().await.unwrap();
    let mut client = QueryClient::new(channel);
    let token = std::fs::read_to_string(collector.folder.join("reader.token")).unwrap();
    let token = Some(token.trim());
    // The same as over HTTP, record by record.
    for (parameters, message) in [
        ("", RecordsRequest::default()),
        (
            "?kind=finding&finding=shared-credential",
            about(&[("kind", "finding"), ("finding", "shared-credential")]),
        ),
        ("?kind=model_call&last=2", RecordsRequest { last: 2, ..about(&[("kind", "model_call")]) }),
    ] {
        let (_, body) = collector.ask(&format!("/v1/records{parameters}"), token);
        let lines: Vec<Record> =
            body.lines().map(|line| Record::from_json(line.as_bytes()).unwrap()).collect();
        let got = records(&mut client, token, message).await.unwrap();
        assert!(!got.is_empty() && got == lines, "{parameters}: {got:#?}");
    }
    for (token, message, code) in [
        (None, RecordsRequest::default(), Code::Unauthenticated),
        (Some("kwt_wrong"), RecordsRequest::default(), Code::Unauthenticated),
        (token, about(&[("colour", "red")]), Code::InvalidArgument),
        (token, about(&[("kind", "flow"); 9]), Code::InvalidArgument),
    ] {
        assert_eq!(records(&mut client, token, message).await.unwrap_err().code(), code);
    }
    let other = collector.command(&["token", "add", "--tenant", "other", "--note", "grpc"]);
    assert_eq!(records(&mut client, Some(&other), RecordsRequest::default()).await.unwrap(), []);
}
