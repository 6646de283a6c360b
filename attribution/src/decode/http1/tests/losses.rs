//! Bytes that were not captured, and connections that begin or end in the middle.

use super::{
    Act, BrokenReason, GET,
    Seen::{Broken, Gap},
    Side, Skipped, body, events, get, play, read, req, request, resp, response, write,
};

#[test]
fn gaps_inside_known_lengths_are_passed_over() {
    let acts = [
        write("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"),
        Act::WriteGap(7),
        read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab"),
        Act::ReadGap(4),
        read("cd\r\n0\r\n\r\n"),
        write(GET),
        read("HTTP/1.1 200 OK\r\n\r\nab"),
        Act::ReadGap(100),
        Act::ReadGap(0),
        Act::Close,
    ];
    let expected = [
        request(0, "POST", "/", &[("Content-Length", "10")]),
        body(Side::Request, 0, "abc"),
        Gap(Side::Request, 0, 7),
        req(0),
        response(0, 200, &[("Transfer-Encoding", "chunked")]),
        body(Side::Response, 0, "ab"),
        Gap(Side::Response, 0, 4),
        body(Side::Response, 0, "cd"),
        resp(0),
        get(1),
        req(1),
        response(1, 200, &[]),
        body(Side::Response, 1, "ab"),
        Gap(Side::Response, 1, 100),
        resp(1),
    ];
    assert_eq!(events(&acts), expected);
}

#[test]
fn gaps_elsewhere_lose_the_direction_for_good() {
    let lost = |id, side| Broken(id, side, BrokenReason::Gap);
    let in_head = [write("GET / HTTP"), Act::WriteGap(9), write(GET)];
    assert_eq!(events(&in_head), [lost(None, Side::Request)]);
    let past_body = [write("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na"), Act::WriteGap(3), write(GET)];
    assert_eq!(events(&past_body)[2..], [lost(Some(0), Side::Request)]);
    let in_size = [
        write(GET),
        read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1"),
        Act::ReadGap(1),
        read("HTTP/1.1 200 OK\r\n\r\n"),
    ];
    assert_eq!(events(&in_size)[3..], [lost(Some(0), Side::Response)]);
}

#[test]
fn a_gap_while_a_request_waits_may_be_its_answer() {
    let next = [write(GET), read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")];
    let lost = |id| Broken(Some(id), Side::Response, BrokenReason::Gap);
    for joined in [false, true] {
        let mut acts = if joined { vec![read("rest of an answer")] } else { Vec::new() };
        acts.extend([write(GET), Act::ReadGap(38)]);
        acts.extend(next.clone());
        assert_eq!(events(&acts), [get(0), req(0), lost(0), get(1), lost(1), req(1)], "{joined}");
    }
}

#[test]
fn a_connection_joined_in_its_middle_is_read_from_the_next_request() {
    let acts = [
        Act::WriteGap(3),
        Act::ReadGap(3),
        read("rest of an answer to nobody"),
        write("rest of a body"),
        read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        Act::ReadGap(5),
        write(GET),
        read("last bytes of it"),
        read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let (seen, skipped) = play(&acts);
    assert_eq!(seen, [get(0), req(0), response(0, 200, &[("Content-Length", "0")]), resp(0)]);
    assert_eq!(skipped, Skipped { request_bytes: 3 + 14, response_bytes: 3 + 27 + 40 + 5 + 16 });
}

#[test]
fn bytes_of_another_protocol_are_not_http() {
    let acts = [write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), read("\0\0\0"), Act::Close];
    assert_eq!(events(&acts), [Broken(None, Side::Request, BrokenReason::NotHttp)]);
    let second =
        [write(GET), read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), write(GET), read("SSH-2.0")];
    let lost = Broken(Some(1), Side::Response, BrokenReason::NotHttp);
    assert_eq!(events(&second).pop(), Some(lost));
}

#[test]
fn too_many_waiting_requests_give_up_the_connection() {
    let seen = events(&[write(&GET.repeat(65)), write(GET)]);
    let broken: Vec<_> = seen.iter().filter(|event| matches!(event, Broken(..))).collect();
    assert_eq!(broken.len(), 64 + 1);
    assert_eq!(seen.last(), Some(&Broken(None, Side::Request, BrokenReason::TooManyPending)));
    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
    let in_step: Vec<Act> = (0..100).flat_map(|_| [write(GET), read(answer)]).collect();
    assert!(!events(&in_step).iter().any(|event| matches!(event, Broken(..))));
}

#[test]
fn closing_breaks_what_is_open() {
    let closed = |id, side| Broken(id, side, BrokenReason::Closed);
    let in_body = [write("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n"), Act::Close, write(GET)];
    assert_eq!(events(&in_body)[1..], [closed(Some(0), Side::Request), closed(Some(0), Side::Response)]);
    let in_head = [write("GET /"), Act::Close];
    assert_eq!(events(&in_head), [closed(None, Side::Request)]);
    let in_response = [write(GET), read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"), Act::Close];
    assert_eq!(events(&in_response).pop(), Some(closed(Some(0), Side::Response)));
    assert_eq!(events(&[Act::Close]), []);
}
