//! Session ids that clients make up, also inside small JSON documents.

use std::sync::Arc;

use crate::decode::json::{Keep, PointerError, Pointers, PointersBuilder, Scanner, Slot};

/// Longest session id that is kept, in bytes.
pub(super) const MAX_SESSION_BYTES: usize = 128;
/// Longest inner document that is looked at, in bytes.
pub(super) const MAX_INNER_BYTES: usize = 4096;

/// Looks for one value in a small document.
#[derive(Debug, Clone)]
pub(super) struct Inner {
    pointers: Arc<Pointers>,
    slot: Slot,
}

impl Inner {
    pub(super) fn compile(pointer: &str) -> Result<Self, PointerError> {
        let mut builder = PointersBuilder::default();
        let slot = builder.want(pointer, Keep::First, MAX_SESSION_BYTES)?;
        Ok(Self { pointers: Arc::new(builder.build()), slot })
    }

    /// The value in `text`: a JSON document, or the older `user_<..>_account_<..>_session_<id>` form.
    pub(super) fn look(&self, text: &str) -> Option<String> {
        let text = text.trim_start();
        if !text.starts_with('{') {
            return clean(text.rsplit_once("_session_")?.1);
        }
        let mut scanner = Scanner::new(self.pointers.clone());
        scanner.push(text.as_bytes().get(..MAX_INNER_BYTES.min(text.len()))?);
        clean(scanner.text(self.slot)?)
    }
}

/// A usable id: short, printable, without spaces.
pub(super) fn clean(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= MAX_SESSION_BYTES;
    (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}
