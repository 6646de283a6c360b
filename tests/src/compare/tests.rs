use proto::v1::{Credential, Endpoint, ModelCall, Process, Source, Tokens, record::Body};

use super::*;

const ID: &str = "req_1";

fn truth() -> Truth {
    Truth {
        source_port: 4000,
        host: "api.openai.com".into(),
        key: "secret".into(),
        model: Some("m".into()),
        model_served: Some("m-1".into()),
        input_tokens: Some(5),
        output_tokens: Some(6),
        request_id: ID.into(),
        status: 200,
        ..Truth::default()
    }
}

fn call() -> ModelCall {
    ModelCall {
        binding: "client_random".into(),
        model_requested: "m".into(),
        model_served: "m-1".into(),
        status: Some(200),
        tokens: Some(Tokens { input: Some(5), output: Some(6), ..Tokens::default() }),
        request_id: ID.into(),
        process: Some(Process { pid: 7, exe: "/bin/a".into(), cgroup: "/g".into(), ..Process::default() }),
        credential: Some(Credential { fingerprint: "kw1-a".into(), ..Credential::default() }),
        endpoint: Some(Endpoint {
            provider: "openai".into(),
            host: "api.openai.com".into(),
            address: "127.0.0.9".into(),
            ..Endpoint::default()
        }),
        source: Some(Source { address: "127.0.0.1".into(), port: 4000 }),
        ..ModelCall::default()
    }
}

fn result(calls: &[ModelCall]) -> Comparison {
    let records: Vec<Record> =
        calls.iter().map(|call| Record::new(1, Body::ModelCall(Box::new(call.clone())))).collect();
    let fingerprints = HashMap::from([("secret".to_owned(), "kw1-a".to_owned())]);
    let known = Known { address: IpAddr::from([127, 0, 0, 9]), fingerprints: &fingerprints };
    let who = Who { pid: 7, exe: "/bin/a".into(), cgroup: Some("/g".into()) };
    compare(&[truth()], &records, &known, |_| Some(who.clone()))
}

#[test]
fn a_right_record_passes() {
    let result = result(&[call()]);
    assert_eq!((result.right, result.wrong.len()), (1, 0), "{:?}", result.wrong);
    result.require(0.0).unwrap();
}

#[test]
fn each_wrong_statement_fails() {
    let changes: [fn(&mut ModelCall); 12] = [
        |call| call.process.as_mut().unwrap().pid = 8,
        |call| call.process.as_mut().unwrap().exe = "/bin/b".into(),
        |call| call.process.as_mut().unwrap().cgroup = "/h".into(),
        |call| call.credential.as_mut().unwrap().fingerprint = "kw1-b".into(),
        |call| call.credential = None,
        |call| call.endpoint.as_mut().unwrap().provider = "groq".into(),
        |call| call.source.as_mut().unwrap().port = 4001,
        |call| call.model_requested = "n".into(),
        |call| call.status = None,
        |call| call.tokens.as_mut().unwrap().output = None,
        |call| call.tokens.as_mut().unwrap().reasoning = Some(0),
        |call| call.stream = Some(true),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut wrong = call();
        change(&mut wrong);
        let result = result(&[wrong]);
        assert_eq!((result.right, result.wrong.len()), (0, 1), "change {index}");
        result.require(1.0).unwrap_err();
    }
}

#[test]
fn doubles_and_calls_that_never_were_fail() {
    assert_eq!(result(&[call(), call()]).wrong.len(), 1);
    let phantom = ModelCall { request_id: "req_other".into(), ..call() };
    let found = result(&[call(), phantom.clone()]);
    assert_eq!(found.wrong.len(), 1);
    let elsewhere = ModelCall { endpoint: None, credential: None, ..phantom };
    assert_eq!(result(&[call(), elsewhere]).wrong.len(), 0);
}

#[test]
fn uncertain_records_are_counted_not_wrong() {
    assert_eq!(result(&[]).missing.len(), 1);
    let unbound = ModelCall { binding: "unbound".into(), source: None, ..call() };
    assert_eq!(result(&[unbound]).unbound.len(), 1);
    let unknown = ModelCall { process: None, ..call() };
    let found = result(&[unknown]);
    assert_eq!(found.unknown.len(), 1);
    found.require(0.0).unwrap_err();
    found.require(1.0).unwrap();
}

#[test]
fn a_record_without_request_id_is_joined_by_port() {
    let nameless = ModelCall { request_id: String::new(), ..call() };
    let found = result(&[nameless]);
    assert_eq!(found.missing.len(), 0);
    assert!(found.wrong[0].contains("request id"), "{:?}", found.wrong);
}
