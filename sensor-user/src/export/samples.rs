//! A record of each kind that is exported, for tests.

use proto::v1::{
    Ancestor, Cost, Credential, CredentialAccess, CredentialFile, Endpoint, Finding, Flow, ModelCall, Origin,
    Participant, Process, Record, Sensor, Session, Source, Status, Tls, Tokens, Workload, record::Body,
};

/// Time of the samples.
pub(crate) const TIME: u64 = 1_700_000_000_123_456_789;

fn record(seq: u64, body: Body) -> Record {
    let mut record = Record::new(TIME + seq, body);
    record.sensor = Some(Sensor { host: "node-1".into(), boot_id: "boot-1".into(), seq });
    record
}

fn process() -> Process {
    Process {
        pid: 4242,
        start_time: TIME - 1_000_000_000,
        exe: "/usr/bin/python3.11".into(),
        comm: "python3".into(),
        args: vec!["python3".into(), "agent.py".into()],
        uid: Some(1000),
        ancestors: vec![Ancestor { pid: 1, start_time: 1, exe: "/sbin/init".into() }],
        cgroup: "/kubepods/x".into(),
        ..Default::default()
    }
}

fn workload() -> Workload {
    Workload {
        id: "k8s://prod/shop/deployment/web".into(),
        kind: "k8s".into(),
        namespace: "shop".into(),
        name: "web".into(),
        service_account: "web".into(),
        pod: "web-7c9-x".into(),
        container: "app".into(),
        instance: "0123abcd".into(),
        image: "shop/web:1".into(),
        ..Default::default()
    }
}

fn credential() -> Credential {
    Credential {
        fingerprint: "kw1-abcd-q7k3xyzq7k3xyzq7k3xyzq7k3x".into(),
        provider: "openai".into(),
        kind: "api_key".into(),
        lifetime: "static".into(),
        carrier: "header:authorization".into(),
        evidence: "wire".into(),
        origin: Some(Origin { r#type: "file".into(), path: "/run/key".into(), ..Default::default() }),
        ..Default::default()
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        provider: "openai".into(),
        host: "api.openai.com".into(),
        host_evidence: "sni".into(),
        address: "192.0.2.7".into(),
        port: 443,
    }
}

/// One of each kind.
pub(crate) fn all() -> Vec<Record> {
    let source = Source { address: "192.0.2.1".into(), port: 40001 };
    let call = ModelCall {
        flow_id: "7".into(),
        binding: "client_random".into(),
        operation: "chat".into(),
        model_requested: "gpt-5".into(),
        model_served: "gpt-5-2026".into(),
        status: Some(200),
        stream: Some(true),
        tokens: Some(Tokens {
            input: Some(1200),
            output: Some(34),
            cache_read: Some(1000),
            quality: "exact".into(),
            ..Default::default()
        }),
        cost: Some(Cost {
            amount: "0.0123".into(),
            currency: "USD".into(),
            basis: "list_price".into(),
            ..Default::default()
        }),
        started: TIME,
        duration_ms: Some(1500),
        ttfb_ms: Some(200),
        request_id: "req-1".into(),
        session_id: "client-1".into(),
        user_agent: "openai-python/3".into(),
        process: Some(process()),
        workload: Some(workload()),
        credential: Some(credential()),
        endpoint: Some(endpoint()),
        source: Some(source.clone()),
        session: "s-1".into(),
        ..Default::default()
    };
    let flow = Flow {
        id: "7".into(),
        source: Some(source),
        endpoint: Some(endpoint()),
        process: Some(process()),
        workload: Some(workload()),
        bytes_sent: Some(900),
        bytes_received: Some(1900),
        opened: TIME - 5,
        closed: TIME + 2_000_000_000,
        direction: "egress".into(),
        tls: Some(Tls {
            ja4: "t13d1516h2_8daaf6152771_b186095e22b6".into(),
            coverage: "plaintext".into(),
            ..Default::default()
        }),
        credential: Some(credential()),
        protocol: "tcp".into(),
        ..Default::default()
    };
    let finding = Finding {
        id: "shared-credential:kw1-abcd".into(),
        rule: "shared-credential".into(),
        severity: "high".into(),
        title: "One openai key is used by two workloads".into(),
        first_seen: TIME,
        last_seen: TIME + 1,
        credential: Some(credential()),
        participants: vec![
            Participant {
                process: Some(process()),
                workload: Some(workload()),
                evidence: vec![1],
                first_seen: TIME,
                last_seen: TIME,
                count: 1,
                ..Default::default()
            };
            2
        ],
        state: "open".into(),
        next_step: "give each workload a key of its own".into(),
        count: 2,
        ..Default::default()
    };
    let access = CredentialAccess {
        process: Some(process()),
        workload: Some(workload()),
        file: Some(CredentialFile { path: "/run/key".into(), ..Default::default() }),
        mode: "read".into(),
        credentials: vec![credential()],
        ..Default::default()
    };
    let session = Session {
        id: "s-1".into(),
        agent: "codex".into(),
        state: "ended".into(),
        started: TIME,
        ended: TIME + 9,
        calls: 1,
        credentials: vec![credential().fingerprint],
        ..Default::default()
    };
    vec![
        record(1, Body::ModelCall(Box::new(call))),
        record(2, Body::Flow(Box::new(flow))),
        record(3, Body::Finding(finding)),
        record(4, Body::CredentialAccess(Box::new(access))),
        record(5, Body::Session(Box::new(session))),
        record(6, Body::Status(Status { produced: 7, delivered: 7, ..Default::default() })),
    ]
}
