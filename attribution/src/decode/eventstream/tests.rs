use super::*;

/// A message as AWS would write it.
pub(crate) fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(name.len() as u8);
        block.extend_from_slice(name.as_bytes());
        block.push(7);
        block.extend_from_slice(&(value.len() as u16).to_be_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    let total = PRELUDE_BYTES + block.len() + payload.len() + CRC_BYTES;
    let mut out = (total as u32).to_be_bytes().to_vec();
    out.extend_from_slice(&(block.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(&block);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out
}

fn event(kind: &str, payload: &[u8]) -> Vec<u8> {
    encode(
        &[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")],
        payload,
    )
}

fn run(chunks: &[&[u8]]) -> (Vec<Message>, Decoder) {
    let (mut decoder, mut out) = (Decoder::new(), Vec::new());
    for chunk in chunks {
        decoder.push(chunk, |message| out.push(message));
    }
    (out, decoder)
}

#[test]
fn messages_come_out_the_same_for_every_split() {
    let mut bytes = event("messageStart", b"{\"role\":\"assistant\"}");
    bytes.extend(event("empty", b""));
    bytes.extend(event("metadata", b"{\"usage\":{}}"));
    let (whole, decoder) = run(&[&bytes]);
    assert_eq!(whole.len(), 3);
    assert_eq!(whole[2].event_type, "metadata");
    assert_eq!(whole[2].payload, b"{\"usage\":{}}");
    assert!(decoder.at_boundary());
    for at in 0..=bytes.len() {
        assert_eq!(run(&[&bytes[..at], &bytes[at..]]).0, whole, "split at {at}");
    }
    assert_eq!(run(&bytes.chunks(1).collect::<Vec<_>>()).0, whole);
}

#[test]
fn a_published_test_message_decodes() {
    // The smallest message of the AWS SDK test vectors: no headers, no payload.
    let bytes = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
    assert_eq!(run(&[&bytes]).0, [Message::default()]);
}

#[test]
fn every_prefix_is_incomplete_and_never_a_wrong_message() {
    let bytes = event("metadata", b"{}");
    for at in 1..bytes.len() {
        let (messages, decoder) = run(&[&bytes[..at]]);
        assert!(messages.is_empty() && !decoder.at_boundary() && !decoder.broken(), "prefix {at}");
    }
}

#[test]
fn a_changed_byte_is_noticed_and_counted() {
    let mut bytes = event("first", b"{}");
    let length = bytes.len();
    bytes.extend(event("second", b"{}"));
    for at in 0..length {
        let mut bad = bytes.clone();
        bad[at] ^= 0x20;
        let (messages, decoder) = run(&[&bad]);
        assert_eq!(decoder.skipped().damaged, 1, "byte {at}");
        assert_eq!(decoder.broken(), at < PRELUDE_BYTES, "byte {at}");
        assert_eq!(messages.len(), usize::from(at >= PRELUDE_BYTES), "byte {at}");
    }
}

#[test]
fn a_message_over_the_limit_is_skipped_without_being_stored() {
    let mut bytes = event("huge", &vec![b'x'; MAX_MESSAGE_BYTES]);
    bytes.extend(event("metadata", b"{}"));
    let (messages, decoder) = run(&bytes.chunks(1000).collect::<Vec<_>>());
    assert_eq!(messages.len(), 1);
    assert_eq!(decoder.skipped(), Skipped { too_large: 1, damaged: 0 });
}

#[test]
fn headers_that_lie_about_their_length_are_damage() {
    let mut bytes = event("x", b"");
    bytes[PRELUDE_BYTES] = 250;
    let end = bytes.len() - CRC_BYTES;
    let crc = crc32fast::hash(&bytes[..end]).to_be_bytes();
    bytes[end..].copy_from_slice(&crc);
    assert_eq!(run(&[&bytes]).1.skipped().damaged, 1);
}
