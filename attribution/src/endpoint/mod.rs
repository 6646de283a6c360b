//! Which provider and which operation a request is for, from a catalogue that is data.

mod additions;
pub mod catalogue;
pub mod entry;
mod family;
mod host;
mod operation;
mod path;
mod request;
mod session;

pub use catalogue::{Catalogue, CatalogueError, Provider};
pub use host::{HostMatch, normalise};
pub use operation::{MAX_MODEL_BYTES, OperationMatch};
pub(crate) use path::percent_decode;
pub use request::{Facts, RequestFacts};
