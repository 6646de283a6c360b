//! SPIFFE ids that SPIRE's agent attests, by its delegated identity API, and ids derived from Kubernetes.
//!
//! The agent answers with whole SVIDs; their keys and certificates are not declared in our part of the
//! interface, so they are skipped when the answer is read. The sensor must be among the agent's
//! `authorized_delegates`.

use std::path::{Path, PathBuf};

use attribution::identity::answer::Facts;
use peer_api::spire::delegated::{
    SubscribeToX509sviDsRequest, delegated_identity_client::DelegatedIdentityClient,
};
use tonic::transport::Channel;

use super::{
    cri::{channel, known},
    link::Peer,
    running::is_process,
    sources::Question,
};

/// SPIRE's agent.
#[derive(Debug)]
pub(super) struct Spire {
    socket: PathBuf,
}

/// The id that SPIRE's and Istio's Kubernetes registrations use, of a service account.
pub(super) fn derived(trust_domain: &str, namespace: &str, service_account: &str) -> Option<String> {
    let all = [trust_domain, namespace, service_account].iter().all(|part| !part.is_empty());
    all.then(|| format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"))
}

impl Spire {
    pub(super) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }
}

impl Peer for Spire {
    type Connection = DelegatedIdentityClient<Channel>;

    fn socket(&self) -> Option<&Path> {
        Some(&self.socket)
    }

    async fn connect(&mut self) -> Result<(Self::Connection, String), String> {
        let client = DelegatedIdentityClient::new(channel(&self.socket).await?);
        Ok((client, format!("agent at {}", self.socket.display())))
    }

    async fn ping(_: &mut Self::Connection) -> Result<(), String> {
        Ok(()) // the next question tells
    }

    async fn ask(&self, client: &mut Self::Connection, question: &Question) -> Result<Option<Facts>, String> {
        let Question::Process(process) = question else { return Ok(None) };
        if !is_process(*process) {
            return Ok(None);
        }
        let request = SubscribeToX509sviDsRequest { pid: i32::try_from(process.pid).unwrap_or_default() };
        let Some(mut stream) = known(client.subscribe_to_x509svi_ds(request).await)? else { return Ok(None) };
        let answer = match stream.message().await {
            Ok(answer) => answer,
            Err(status) => return known::<()>(Err(status)).map(|_| None),
        };
        // The answer is about the process only if it was still there: its pid may be another's by now.
        Ok(answer.filter(|_| is_process(*process)).and_then(|answer| {
            let id = answer.x509_svids.into_iter().next()?.x509_svid?.id?;
            Some(Facts { spiffe_id: format!("spiffe://{}{}", id.trust_domain, id.path), ..Facts::default() })
        }))
    }
}

#[cfg(test)]
mod tests;
