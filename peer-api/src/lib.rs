//! gRPC interfaces of others, generated from trimmed .proto files: fields that are not declared are skipped
//! when a message is read, which for SPIRE includes every private key.

/// Kubernetes' Container Runtime Interface, `runtime.v1`.
#[expect(clippy::all, missing_docs, reason = "generated code")]
pub mod cri {
    tonic::include_proto!("runtime.v1");
}

/// SPIRE's delegated identity API and the types it uses.
pub mod spire {
    /// `spire.api.agent.delegatedidentity.v1`.
    #[expect(missing_docs, reason = "generated code")]
    pub mod delegated {
        tonic::include_proto!("spire.api.agent.delegatedidentity.v1");
    }
}
