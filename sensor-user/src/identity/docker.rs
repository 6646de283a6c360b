//! Docker, and Podman by the same API, over their Unix socket (Docker Engine API, `ContainerInspect`).
//!
//! Two requests of HTTP/1 are all that is needed, so this is hyper, which is here anyway, and not a client
//! library of the whole API.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use attribution::identity::answer::{Facts, Pod, Source};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1::SendRequest, header::HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::{link::Peer, sources::Question};

/// Largest answer accepted, bytes.
const MAX_ANSWER: usize = 4 << 20;

/// The labels by which schedulers name what a container belongs to: the principal's scheme, then the labels
/// of its parts. All of them must be there.
const SCHEDULERS: [(&str, &[&str]); 3] = [
    (
        "ecs",
        &[
            "com.amazonaws.ecs.cluster",
            "com.amazonaws.ecs.task-definition-family",
            "com.amazonaws.ecs.container-name",
        ],
    ),
    (
        "nomad",
        &["com.hashicorp.nomad.namespace", "com.hashicorp.nomad.job_name", "com.hashicorp.nomad.task_name"],
    ),
    ("swarm", &["com.docker.stack.namespace", "com.docker.swarm.service.name"]),
];

/// A Docker engine.
#[derive(Debug)]
pub(super) struct Docker {
    source: Source,
    socket: PathBuf,
    cluster: String,
}

/// The part of an inspection that is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    name: String,
    state: State,
    config: Settings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    started_at: String,
    finished_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
}

impl Docker {
    /// `source` is Docker or Podman.
    pub(super) fn at(source: Source, socket: &Path, cluster: &str) -> Self {
        Self { source, socket: socket.to_owned(), cluster: cluster.to_owned() }
    }

    fn facts(&self, found: Inspected) -> Facts {
        let labels = found.config.labels.unwrap_or_default();
        let pod = Pod::of_labels(&labels).map(|pod| Pod { cluster: self.cluster.clone(), ..pod });
        let time = |text: &str| text.parse::<jiff::Timestamp>().map_or(0, |time| time.as_nanosecond());
        let time = |text: &str| u64::try_from(time(text)).unwrap_or_default();
        let facts = Facts {
            name: found.name.trim_start_matches('/').to_owned(),
            image: found.config.image,
            from: time(&found.state.started_at),
            // While it runs this is the end of the run before.
            until: if found.state.running { 0 } else { time(&found.state.finished_at) },
            principal: principal(&labels).unwrap_or_default(),
            pod,
            ..Facts::default()
        };
        facts.labelled(labels)
    }
}

impl Peer for Docker {
    type Connection = SendRequest<Empty<Bytes>>;

    fn socket(&self) -> Option<&Path> {
        Some(&self.socket)
    }

    async fn connect(&mut self) -> Result<(Self::Connection, String), String> {
        let named = |error: &(dyn std::error::Error + 'static)| {
            format!("{}: {}", self.socket.display(), super::cri::deepest(error))
        };
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| named(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| named(&error))?;
        tokio::spawn(connection);
        let (status, body) = get(&mut sender, "/version").await?;
        let version: Version = serde_json::from_slice(&body)
            .map_err(|_| format!("{}: no Docker API ({status})", self.socket.display()))?;
        Ok((sender, format!("{} {} at {}", self.source.name(), version.version, self.socket.display())))
    }

    async fn ping(sender: &mut Self::Connection) -> Result<(), String> {
        get(sender, "/_ping").await.map(drop)
    }

    async fn ask(&self, sender: &mut Self::Connection, question: &Question) -> Result<Option<Facts>, String> {
        let Question::Container(id) = question else { return Ok(None) };
        match get(sender, &format!("/containers/{id}/json")).await? {
            (StatusCode::OK, body) => match serde_json::from_slice(&body) {
                Ok(found) => Ok(Some(self.facts(found))),
                Err(error) => Err(format!("cannot read its answer: {error}")),
            },
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => Err(format!("it answers {status}")),
        }
    }
}

/// A principal that outlives containers, by the labels of what scheduled this one.
fn principal(labels: &BTreeMap<String, String>) -> Option<String> {
    SCHEDULERS.iter().find_map(|(scheme, names)| {
        let parts: Option<Vec<&str>> = names
            .iter()
            .map(|name| labels.get(*name).map(String::as_str).filter(|part| !part.is_empty()))
            .collect();
        Some(format!("{scheme}://{}", parts?.join("/")))
    })
}

async fn get(sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> Result<(StatusCode, Bytes), String> {
    let request = Request::get(path).header(HOST, "localhost").body(Empty::new());
    let request = request.map_err(|error| error.to_string())?;
    sender.ready().await.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| super::cri::deepest(&error))?;
    let status = answer.status();
    let body =
        Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(text: &str) -> Facts {
        Docker::at(Source::Docker, Path::new("/s"), "prod").facts(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn an_inspection_gives_name_image_times_and_labels() {
        let facts = inspected(
            r#"{"Id":"x","Name":"/web","State":{"Running":true,"StartedAt":"1970-01-01T00:00:05.5Z","FinishedAt":"1970-01-01T00:00:04Z"},"Config":{"Image":"app:1","Labels":{"team":"a"}}}"#,
        );
        assert_eq!((facts.name.as_str(), facts.image.as_str()), ("web", "app:1"));
        assert_eq!((facts.from, facts.until), (5_500_000_000, 0));
        assert_eq!(facts.labels["team"], "a");
        let ended = inspected(
            r#"{"Name":"/web","State":{"Running":false,"StartedAt":"1970-01-01T00:00:05Z","FinishedAt":"1970-01-01T00:00:09Z"},"Config":{"Image":"","Labels":null}}"#,
        );
        assert_eq!((ended.from, ended.until), (5_000_000_000, 9_000_000_000));
        // Docker's time for never.
        let never = inspected(
            r#"{"Name":"/w","State":{"Running":false,"StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"},"Config":{"Image":""}}"#,
        );
        assert_eq!((never.from, never.until), (0, 0));
    }

    #[test]
    fn schedulers_name_principals_that_outlive_containers() {
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let ecs = [
            ("com.amazonaws.ecs.cluster", "c1"),
            ("com.amazonaws.ecs.task-definition-family", "chat"),
            ("com.amazonaws.ecs.container-name", "app"),
        ];
        assert_eq!(principal(&labels(&ecs)).as_deref(), Some("ecs://c1/chat/app"));
        assert_eq!(principal(&labels(&ecs[..2])), None);
        assert_eq!(principal(&labels(&[])), None);
    }

    #[test]
    fn a_pod_of_the_docker_shim_is_a_pod() {
        let facts = inspected(
            r#"{"Name":"/k8s_app_web","State":{"Running":true,"StartedAt":"","FinishedAt":""},"Config":{"Image":"i","Labels":{"io.kubernetes.pod.name":"web","io.kubernetes.pod.namespace":"ai","io.kubernetes.pod.uid":"u"}}}"#,
        );
        let pod = facts.pod.unwrap();
        assert_eq!((pod.cluster.as_str(), pod.name.as_str(), facts.from), ("prod", "web", 0));
        assert!(facts.labels.is_empty());
    }
}
