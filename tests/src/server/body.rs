//! Response bodies sent in pieces.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context as Task, Poll},
};

use bytes::Bytes;
use hyper::{
    HeaderMap,
    body::{Body, Frame, SizeHint},
};

/// A body whose every piece is written to the socket on its own.
pub(super) struct Pieces {
    left: VecDeque<Bytes>,
    pause: bool,
    length: Option<u64>,
    trailers: Option<HeaderMap>,
}

impl Pieces {
    /// `chunked`: without a content length, each piece flushed.
    pub(super) fn new(pieces: Vec<Bytes>, chunked: bool) -> Self {
        let length = (!chunked).then(|| pieces.iter().map(|piece| piece.len() as u64).sum());
        Self { left: pieces.into(), pause: false, length, trailers: None }
    }

    /// The same with `trailers` behind it.
    pub(super) fn with_trailers(self, trailers: HeaderMap) -> Self {
        Self { trailers: Some(trailers), ..self }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // A pending body makes the connection flush what it has.
        self.pause = !self.pause;
        if self.length.is_none() && !self.pause {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = self.left.pop_front().map(Frame::data);
        Poll::Ready(piece.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
