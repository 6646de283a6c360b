//! Questions over gRPC. A request without a good token is refused before anything of its message is read.

use std::sync::Arc;

use axum::{Router, http::StatusCode};
use proto::v1::{
    Record, RecordsRequest,
    query_server::{self, QueryServer},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, service::interceptor::InterceptedService};

use super::{Problem, Query, records, wanted::Wanted};

/// Largest request, bytes.
const MAX_REQUEST: usize = 256 * 1024;
/// Where axum hands over to tonic.
const PATH: &str = "/keywitness.v1.Query/{*method}";

/// The service's route.
pub(super) fn router(query: Arc<Query>) -> Router {
    let server = QueryServer::new(Service(query.clone())).max_decoding_message_size(MAX_REQUEST);
    let gate = move |mut request: Request<()>| {
        let tenant = query.tenant(request.metadata().as_ref())?;
        request.extensions_mut().insert(Tenant(tenant));
        Ok(request)
    };
    Router::new().route_service(PATH, InterceptedService::new(server, gate))
}

/// Whose records the request's token reads.
#[derive(Clone)]
struct Tenant(String);

struct Service(Arc<Query>);

#[tonic::async_trait]
impl query_server::Query for Service {
    type RecordsStream = ReceiverStream<Result<Record, Status>>;

    async fn records(
        &self,
        request: Request<RecordsRequest>,
    ) -> Result<Response<Self::RecordsStream>, Status> {
        let Some(Tenant(tenant)) = request.extensions().get() else {
            return Err(Status::unauthenticated("no token"));
        };
        let asked = self.0.ask(tenant, Wanted::of_request(request.get_ref()))?;
        Ok(Response::new(records::messages(asked)))
    }
}

impl From<Problem> for Status {
    fn from(Problem { error, status }: Problem) -> Self {
        let code = match status {
            StatusCode::BAD_REQUEST => Code::InvalidArgument,
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
            _ => Code::Unavailable,
        };
        Self::new(code, error)
    }
}
