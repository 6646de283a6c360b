//! Work of a moment on a thread of its own, whose answer is taken when it is there.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// One piece of work at a time.
pub(super) struct Background<T>(Option<Receiver<T>>);

impl<T> Default for Background<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> Background<T> {
    /// Begins, unless one is under way still; `name` is that of the thread.
    pub(super) fn begin(&mut self, name: &str, work: impl FnOnce() -> T + Send + 'static) {
        if self.0.is_some() {
            return;
        }
        let (done, answer) = sync_channel(1);
        // Nobody may wait any more.
        match std::thread::Builder::new().name(name.into()).spawn(move || drop(done.send(work()))) {
            Ok(_) => self.0 = Some(answer),
            Err(error) => tracing::debug!(name, %error, "cannot start a thread"),
        }
    }

    /// The answer, once.
    pub(super) fn take(&mut self) -> Option<T> {
        match self.0.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => None,
            done => {
                self.0 = None;
                done.ok()
            }
        }
    }
}
