//! Events as tests compare them.

use super::{BrokenReason, Event, ExchangeId, Headers, Side};

/// An event without borrows; neighbouring body bytes of one exchange are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decode) enum Seen {
    Request(ExchangeId, String, String, Vec<(String, String)>),
    Response(ExchangeId, u16, Vec<(String, String)>),
    Body(Side, ExchangeId, Vec<u8>),
    Gap(Side, ExchangeId, u64),
    End(Side, ExchangeId),
    Upgraded(ExchangeId),
    Broken(Option<ExchangeId>, Side, BrokenReason),
}

fn own(headers: Headers<'_>) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
        .collect()
}

/// Adds an event to those seen.
pub(in crate::decode) fn note(seen: &mut Vec<Seen>, event: Event<'_>) {
    let next = match event {
        Event::RequestHead { id, method, target, headers, .. } => {
            Seen::Request(id, method.to_owned(), target.to_owned(), own(headers))
        }
        Event::ResponseHead { id, status, headers, .. } => Seen::Response(id, status, own(headers)),
        Event::RequestBody { id, bytes } => Seen::Body(Side::Request, id, bytes.to_vec()),
        Event::ResponseBody { id, bytes } => Seen::Body(Side::Response, id, bytes.to_vec()),
        Event::RequestBodyGap { id, bytes } => Seen::Gap(Side::Request, id, bytes),
        Event::ResponseBodyGap { id, bytes } => Seen::Gap(Side::Response, id, bytes),
        Event::RequestEnd { id, .. } => Seen::End(Side::Request, id),
        Event::ResponseEnd { id, .. } => Seen::End(Side::Response, id),
        Event::Upgraded { id } => Seen::Upgraded(id),
        Event::Broken { id, side, reason } => Seen::Broken(id, side, reason),
    };
    if let (Some(Seen::Body(side, id, bytes)), Seen::Body(next_side, next_id, more)) =
        (seen.last_mut(), &next)
        && (*side, *id) == (*next_side, *next_id)
    {
        return bytes.extend_from_slice(more);
    }
    seen.push(next);
}
