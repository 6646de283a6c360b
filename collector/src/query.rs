//! Questions: HTTP JSON and gRPC, read only. A token says whose records may be read, and nothing in a request can say
//! more.

mod grpc;
mod listen;
mod openapi;
mod records;
mod wanted;

pub use listen::start;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{RawQuery, State as Shared},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tokio::sync::Semaphore;

use self::{records::Asked, wanted::Wanted};
use crate::{
    archive,
    state::{FILE, State},
    store::RECORDS,
    token,
};

/// Questions that are answered at one time.
const MAX_QUERIES: usize = 16;

/// What answers need.
pub struct Query {
    folder: PathBuf,
    /// The collector's id: findings of the fleet have it as boot.
    id: String,
    state: Mutex<State>,
    room: Arc<Semaphore>,
}

/// Why there is no answer, as the client gets it.
#[derive(Debug, Serialize)]
struct Problem {
    error: String,
    #[serde(skip)]
    status: StatusCode,
}

impl Problem {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { error: error.into(), status }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl Query {
    /// Answers from what the collector with this id keeps in `folder`.
    pub fn open(folder: PathBuf, id: &str) -> rusqlite::Result<Arc<Self>> {
        let state = Mutex::new(State::open(&folder.join(FILE))?);
        let room = Arc::new(Semaphore::new(MAX_QUERIES));
        Ok(Arc::new(Self { folder, id: id.to_owned(), state, room }))
    }

    /// The tenant of a request's token.
    fn tenant(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "no token, or one that is not known");
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(unknown)?;
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = state.tenant(&token::hash(token.trim())).map_err(|error| {
            tracing::error!(%error, "tokens cannot be read");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "tokens cannot be read now")
        })?;
        tenant.ok_or_else(unknown)
    }

    /// Lets a question about a tenant in, unless it makes no sense or too many are being answered.
    fn ask(&self, tenant: &str, wanted: Result<Wanted, String>) -> Result<Asked, Problem> {
        let wanted = wanted.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error))?;
        let Ok(turn) = self.room.clone().try_acquire_owned() else {
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many questions at once; ask again"));
        };
        let folder = archive::folder(&self.folder.join(RECORDS), tenant);
        Ok(Asked { folder, id: self.id.clone(), wanted, turn })
    }
}

/// Every path.
fn router(query: Arc<Query>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/openapi.json", get(|| async { Json(openapi::document()) }))
        .route("/v1/records", get(records))
        .with_state(query.clone())
        .merge(grpc::router(query))
}

async fn records(
    Shared(query): Shared<Arc<Query>>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let tenant = query.tenant(&headers)?;
    let asked = query.ask(&tenant, Wanted::parse(text.as_deref().unwrap_or_default()))?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], records::lines(asked)).into_response())
}
