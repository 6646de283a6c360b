//! Against an HTTP server that speaks list and watch as the API server does: resource versions, bookmarks,
//! 410 Gone, connections that end.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use attribution::identity::answer::{Answer, Source};

use super::*;
use crate::identity::sources::Said;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(30);
const UID: &str = "6a4ce4a0-ba47-11ea-b2a7-0cc47ac5979e";

/// What the server does with one watch: lines, and whether it holds the connection open after them.
struct Watch {
    lines: Vec<Value>,
    hold: bool,
}

/// The script of a server, and what it was asked.
#[derive(Default)]
struct Script {
    lists: VecDeque<(String, Vec<Value>)>,
    watches: VecDeque<Watch>,
    asked: Vec<String>,
}

/// A body that sends what it has and then ends or waits.
struct Lines(VecDeque<Bytes>, bool);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop_front() {
            Some(line) => std::task::Poll::Ready(Some(Ok(Frame::data(line)))),
            None if self.1 => std::task::Poll::Pending,
            None => std::task::Poll::Ready(None),
        }
    }
}

type Shared = Arc<Mutex<Script>>;

fn answer(script: &Shared, request: &Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    let mut script = script.lock().unwrap();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let path = request.uri().path();
    let json = |status: u16, value: Value| {
        let body = Full::from(value.to_string()).boxed();
        Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
    };
    let owned = |kind: &str, name: &str, uid: &str, owner: Value| {
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata":
            {"name": name, "uid": uid, "namespace": "ai", "ownerReferences": owner}, "of": kind})
    };
    script.asked.push(format!("{path}?{query}"));
    match path {
        "/api/v1/pods" if query.contains("watch=true") => match script.watches.pop_front() {
            Some(watch) => {
                let lines = watch.lines.iter().map(|line| Bytes::from(format!("{line}\n"))).collect();
                Response::new(Lines(lines, watch.hold).boxed())
            }
            None => Response::new(Lines(VecDeque::new(), true).boxed()),
        },
        "/api/v1/pods" => match script.lists.pop_front() {
            Some((version, items)) => json(
                200,
                json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": version}, "items": items}),
            ),
            None => json(500, status(500, "no more lists")),
        },
        "/api/v1/namespaces/kube-system" => json(
            200,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "c1"}}),
        ),
        "/apis/apps/v1/namespaces/ai/replicasets/web-5d4f8c7b9" => {
            json(200, owned("ReplicaSet", "web-5d4f8c7b9", "rs1", owner("Deployment", "web", "d1")))
        }
        "/apis/batch/v1/namespaces/ai/jobs/nightly-1" => {
            json(200, owned("Job", "nightly-1", "j1", owner("CronJob", "nightly", "cj1")))
        }
        _ => json(403, status(403, "forbidden")),
    }
}

fn status(code: u16, message: &str) -> Value {
    let reason = if code == 410 { "Expired" } else { "" };
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, "metadata": {}})
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn pod(uid: &str, version: &str, owners: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("web-5d4f8c7b9-{}", &uid[..5]), "namespace": "ai", "uid": uid, "resourceVersion": version,
            "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"}, "ownerReferences": owners},
        "spec": {"serviceAccountName": "agent", "nodeName": "n1", "containers": []},
        "status": {"startTime": "1970-01-01T00:00:07Z", "containerStatuses": [
            {"name": "app", "image": "app:1", "imageID": "", "ready": true, "restartCount": 0, "containerID": "containerd://abc"}]}})
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

/// Serves `script` and follows it; what is said comes out in order.
async fn follow(script: Script) -> (Shared, mpsc::Receiver<Said>) {
    let script = Arc::new(Mutex::new(script));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::clone(&script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = Arc::clone(&serve);
            let service = service_fn(move |request| {
                let answer = answer(&script, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let scratch = tempfile::tempdir().unwrap();
    let kubeconfig = scratch.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let settings = config::Identity {
        kubernetes: config::Kubernetes::File(kubeconfig),
        node: Some("n1".into()),
        trust_domain: "td".into(),
        ..config::Identity::default()
    };
    let wanted = Wanted::of(&settings, "host").unwrap();
    let (say, said) = mpsc::channel(100);
    let mouth = Mouth::new(Source::Kubernetes, 0, say);
    tokio::spawn(async move {
        let _scratch = scratch;
        run(wanted, mouth).await;
    });
    (script, said)
}

async fn next_answer(said: &mut mpsc::Receiver<Said>) -> Answer {
    loop {
        match timeout(LIMIT, said.recv()).await.expect("nothing was said").expect("the task ended") {
            Said::Answer(answer) => return *answer,
            Said::State { .. } => {}
        }
    }
}

async fn next_state(said: &mut mpsc::Receiver<Said>) -> SourceState {
    loop {
        match timeout(LIMIT, said.recv()).await.expect("nothing was said").expect("the task ended") {
            Said::State { state, .. } => return state,
            Said::Answer(_) => {}
        }
    }
}

fn named(answer: &Answer) -> (String, Option<(String, String, bool)>) {
    let About::Pod(uid) = &answer.about else { panic!("{answer:?}") };
    let pod = answer.facts.as_ref().and_then(|facts| facts.pod.as_ref());
    let owner = pod.and_then(|pod| pod.owner.clone());
    (uid.clone(), owner.map(|owner| (owner.kind, owner.name, owner.by_labels)))
}

fn list(version: &str, items: Vec<Value>) -> (String, Vec<Value>) {
    (version.into(), items)
}

#[tokio::test]
async fn a_pod_comes_with_its_chain_of_owners_account_and_containers() {
    let pods = vec![pod(UID, "5", owner("ReplicaSet", "web-5d4f8c7b9", "rs1"))];
    let (script, mut said) = follow(Script { lists: [list("9", pods)].into(), ..Script::default() }).await;
    assert_eq!(next_state(&mut said).await, SourceState::Connected);
    let answer = next_answer(&mut said).await;
    let facts = answer.facts.unwrap();
    let pod = facts.pod.unwrap();
    assert_eq!(pod.owner, Some(Owner { kind: "Deployment".into(), name: "web".into(), by_labels: false }));
    assert_eq!((pod.cluster.as_str(), pod.namespace.as_str(), pod.node.as_str()), ("c1", "ai", "n1"));
    assert_eq!(
        (pod.service_account.as_str(), facts.spiffe_id.as_str()),
        ("agent", "spiffe://td/ns/ai/sa/agent")
    );
    assert_eq!(
        pod.containers,
        [PodContainer { id: "abc".into(), name: "app".into(), image: "app:1".into() }]
    );
    assert_eq!((facts.from, facts.labels["app"].as_str()), (7_000_000_000, "web"));
    let asked = script.lock().unwrap().asked.clone();
    assert!(asked.iter().any(|line| line.contains("fieldSelector=spec.nodeName%3Dn1")), "{asked:?}");
}

#[tokio::test]
async fn owners_that_may_not_be_read_follow_from_labels_and_say_so() {
    let other = "bbbbbbbb-ba47-11ea-b2a7-0cc47ac5979e";
    let pods = vec![
        pod(UID, "5", owner("ReplicaSet", "secret-5d4f8c7b9", "rs2")),
        // A ReplicaSet of the same name that is another one.
        pod(other, "6", owner("ReplicaSet", "web-5d4f8c7b9", "gone")),
        pod("cccccccc-ba47-11ea-b2a7-0cc47ac5979e", "7", owner("Job", "nightly-1", "j1")),
        pod("dddddddd-ba47-11ea-b2a7-0cc47ac5979e", "8", owner("StatefulSet", "db", "s1")),
        pod("eeeeeeee-ba47-11ea-b2a7-0cc47ac5979e", "8", Value::Null),
    ];
    let (_script, mut said) = follow(Script { lists: [list("9", pods)].into(), ..Script::default() }).await;
    let mut found = Vec::new();
    for _ in 0..5 {
        found.push(named(&next_answer(&mut said).await).1);
    }
    let expected = [
        Some(("Deployment", "web", true)),
        Some(("Deployment", "web", true)),
        Some(("CronJob", "nightly", false)),
        Some(("StatefulSet", "db", false)),
        None,
    ];
    let expected = expected.map(|owner| owner.map(|(kind, name, by)| (kind.to_owned(), name.to_owned(), by)));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn changes_bookmarks_disconnects_and_ends_are_followed_from_where_it_was() {
    let rs = || owner("StatefulSet", "db", "s1");
    let bookmark = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "42"}, "spec": {"containers": []}});
    let watches = [
        Watch {
            lines: vec![event("MODIFIED", pod(UID, "10", rs())), event("BOOKMARK", bookmark)],
            hold: false,
        },
        Watch { lines: vec![event("DELETED", pod(UID, "50", rs()))], hold: true },
    ];
    let lists = [list("9", vec![pod(UID, "5", rs())])].into();
    let (script, mut said) = follow(Script { lists, watches: watches.into(), ..Script::default() }).await;
    for expected in [true, true, false] {
        assert_eq!(next_answer(&mut said).await.facts.is_some(), expected);
    }
    let asked = script.lock().unwrap().asked.clone();
    let watches: Vec<&String> = asked.iter().filter(|line| line.contains("watch=true")).collect();
    assert!(watches[0].contains("resourceVersion=9"), "{watches:?}");
    assert!(watches[1].contains("resourceVersion=42"), "not from the bookmark: {watches:?}");
    assert_eq!(
        asked.iter().filter(|line| line.starts_with("/api/v1/pods?") && !line.contains("watch=")).count(),
        1
    );
}

#[tokio::test]
async fn after_410_the_list_begins_again_and_what_is_missing_is_over() {
    let other = "bbbbbbbb-ba47-11ea-b2a7-0cc47ac5979e";
    let s = || owner("StatefulSet", "db", "s1");
    let lists =
        [list("9", vec![pod(UID, "5", s()), pod(other, "6", s())]), list("99", vec![pod(other, "6", s())])];
    let watches =
        [Watch { lines: vec![event("ERROR", status(410, "too old resource version"))], hold: false }];
    let script = Script { lists: lists.into(), watches: watches.into(), ..Script::default() };
    let (_script, mut said) = follow(script).await;
    let mut found = Vec::new();
    for _ in 0..4 {
        let answer = next_answer(&mut said).await;
        found.push((named(&answer).0, answer.facts.is_some()));
    }
    let expected = [(UID, true), (other, true), (other, true), (UID, false)];
    assert_eq!(found, expected.map(|(uid, there)| (uid.to_owned(), there)));
}

#[tokio::test]
async fn an_api_that_refuses_is_waited_for_and_says_why() {
    let (script, mut said) = follow(Script::default()).await;
    let state = next_state(&mut said).await;
    assert!(matches!(&state, SourceState::Waiting(reason) if reason.contains("no more lists")), "{state:?}");
    script.lock().unwrap().lists.push_back(list("9", vec![pod(UID, "5", Value::Null)]));
    while next_state(&mut said).await != SourceState::Connected {}
    assert_eq!(named(&next_answer(&mut said).await), (UID.to_owned(), None));
}
