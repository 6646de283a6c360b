//! Against a gRPC server that speaks the agent's interface.

use std::{path::PathBuf, pin::Pin, time::Duration};

use attribution::{
    event::ProcessKey,
    identity::answer::{About, Answer, Source, SourceState},
};
use peer_api::spire::delegated::{
    Spiffeid, SubscribeToX509sviDsResponse, X509svid, X509svidWithKey,
    delegated_identity_server::{DelegatedIdentity, DelegatedIdentityServer},
};
use tokio::{net::UnixListener, sync::mpsc, time::timeout};
use tonic::{Request, Response, Status, codegen::tokio_stream::Stream};

use super::*;
use crate::identity::{
    link,
    sources::{Question, Said},
};

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(30);

/// An agent that knows one process.
struct Agent(u32);

/// One answer, then nothing more, as long as somebody listens.
struct Once(Option<SubscribeToX509sviDsResponse>);

impl Stream for Once {
    type Item = Result<SubscribeToX509sviDsResponse, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        match self.0.take() {
            Some(answer) => std::task::Poll::Ready(Some(Ok(answer))),
            None => std::task::Poll::Pending,
        }
    }
}

#[tonic::async_trait]
impl DelegatedIdentity for Agent {
    type SubscribeToX509SVIDsStream = Once;

    async fn subscribe_to_x509svi_ds(
        &self,
        request: Request<SubscribeToX509sviDsRequest>,
    ) -> Result<Response<Once>, Status> {
        if request.into_inner().pid != self.0.cast_signed() {
            return Err(Status::permission_denied("no identity issued"));
        }
        let id = Some(Spiffeid { trust_domain: "td".into(), path: "/agent".into() });
        let x509_svids = vec![X509svidWithKey { x509_svid: Some(X509svid { id, expires_at: 1 }) }];
        Ok(Response::new(Once(Some(SubscribeToX509sviDsResponse { x509_svids }))))
    }
}

fn own() -> ProcessKey {
    let stat = procfs::process::Process::myself().unwrap().stat().unwrap();
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second();
    ProcessKey { pid: stat.pid.unsigned_abs(), start_ns: stat.starttime * tick_ns + 1 }
}

fn serve(socket: PathBuf) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        let agent = DelegatedIdentityServer::new(Agent(std::process::id()));
        tonic::transport::Server::builder().add_service(agent).serve_with_incoming(incoming).await.unwrap();
    })
}

async fn state(said: &mut mpsc::Receiver<Said>) -> SourceState {
    loop {
        if let Said::State { state, .. } = timeout(LIMIT, said.recv()).await.unwrap().unwrap() {
            return state;
        }
    }
}

async fn answer(said: &mut mpsc::Receiver<Said>) -> Answer {
    loop {
        if let Said::Answer(answer) = timeout(LIMIT, said.recv()).await.unwrap().unwrap() {
            return *answer;
        }
    }
}

#[tokio::test]
async fn a_process_is_attested_and_another_generation_is_not() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("admin.sock");
    let (say, mut said) = mpsc::channel(100);
    let (ask, questions) = mpsc::channel(100);
    let mouth = link::Mouth::new(Source::Spire, 0, say);
    tokio::spawn(link::run(Spire::at(&socket), mouth, questions));
    // Asked before there is anybody: the question waits.
    let first = state(&mut said).await;
    assert!(matches!(&first, SourceState::Off(reason) if reason.contains("admin.sock")), "{first:?}");
    ask.send(Question::Process(own())).await.unwrap();
    let server = serve(socket.clone());
    while state(&mut said).await != SourceState::Connected {}
    let attested = answer(&mut said).await;
    assert_eq!(attested.about, About::Process(own()));
    assert_eq!(attested.facts.unwrap().spiffe_id, "spiffe://td/agent");
    let reused = ProcessKey { start_ns: own().start_ns + 3_000_000_000, ..own() };
    ask.send(Question::Process(reused)).await.unwrap();
    let refused = answer(&mut said).await;
    assert_eq!((refused.about, refused.facts), (About::Process(reused), None));
    // The agent goes and comes again.
    server.abort();
    assert!(server.await.is_err());
    std::fs::remove_file(&socket).unwrap();
    let again = ProcessKey { start_ns: own().start_ns + 1, ..own() };
    ask.send(Question::Process(again)).await.unwrap();
    let _server = serve(socket);
    assert_eq!(answer(&mut said).await.facts.unwrap().spiffe_id, "spiffe://td/agent");
}

#[test]
fn derived_ids_need_all_their_parts() {
    assert_eq!(derived("td", "ai", "agent").as_deref(), Some("spiffe://td/ns/ai/sa/agent"));
    for parts in [["", "ai", "agent"], ["td", "", "agent"], ["td", "ai", ""]] {
        assert_eq!(derived(parts[0], parts[1], parts[2]), None);
    }
}
