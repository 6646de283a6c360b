//! How messages end, and heads that cannot be read.

use super::{
    Act, BrokenReason, GET, Seen::Broken, Side, body, events, get, read, req, resp, response, write,
};

#[test]
fn a_response_without_length_lasts_until_close() {
    let acts = [write(GET), read("HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Act::Close];
    let expected =
        [get(0), req(0), response(0, 200, &[]), body(Side::Response, 0, "HTTP/1.1 200 OK\r\n\r\n"), resp(0)];
    assert_eq!(events(&acts), expected);
    let not_chunked_last =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\nContent-Length: 1\r\n\r\nabc";
    assert_eq!(
        events(&[write(GET), read(not_chunked_last), Act::Close])[3..],
        [body(Side::Response, 0, "abc"), resp(0)]
    );
}

#[test]
fn transfer_encoding_wins_over_content_length() {
    let text =
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    assert_eq!(events(&[write(GET), read(text)])[3..], [body(Side::Response, 0, "x"), resp(0)]);
}

#[test]
fn lengths_that_contradict_or_are_no_number_break_the_direction() {
    for bad in ["Content-Length: 1\r\nContent-Length: 2", "Content-Length: 1, 2", "Content-Length: +1"] {
        let acts = [write(GET), read(&format!("HTTP/1.1 200 OK\r\n{bad}\r\n\r\nx")), write(GET)];
        let lost = |id| Broken(Some(id), Side::Response, BrokenReason::BadLength);
        assert_eq!(events(&acts), [get(0), req(0), lost(0), get(1), lost(1), req(1)], "{bad}");
    }
    for bad in ["Content-Length: 99999999999999999999", "Content-Length: ", "Transfer-Encoding: gzip"] {
        let acts = [write(&format!("POST / HTTP/1.1\r\n{bad}\r\n\r\nx")), write(GET)];
        assert_eq!(events(&acts), [Broken(None, Side::Request, BrokenReason::BadLength)], "{bad}");
    }
}

#[test]
fn a_broken_chunk_breaks_the_direction() {
    let long_extension = format!("1;{}\r\n", "a".repeat(9000));
    let endless_trailer = format!("0\r\n{}", "A: b\r\n".repeat(20_000));
    let zeros = "0".repeat(9000);
    let bad = [
        "x\r\n",
        "\r\n",
        "1\r\nab",
        "1\r\na\rb",
        "fffffffffffffffff\r\n",
        &long_extension,
        &endless_trailer,
        &zeros,
    ];
    for chunk in bad {
        let acts = [
            write(GET),
            read(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}")),
            read("HTTP/1.1 200 OK\r\n\r\n"),
        ];
        let last = events(&acts).pop();
        assert_eq!(
            last,
            Some(Broken(Some(0), Side::Response, BrokenReason::BadChunk)),
            "{}",
            &chunk[..chunk.len().min(20)]
        );
    }
}

#[test]
fn malformed_heads_break_the_direction() {
    for bad in
        ["GET /a b HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n A: b\r\n\r\n", "GET / HTTP/1.1\r\nA : b\r\n\r\n"]
    {
        assert_eq!(
            events(&[write(bad), write(GET)]),
            [Broken(None, Side::Request, BrokenReason::BadHead)],
            "{bad}"
        );
    }
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(257));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(65_536));
    for bad in [many, long] {
        let too_large = Broken(None, Side::Request, BrokenReason::HeadTooLarge);
        assert_eq!(events(&[write(&bad), write(GET)]), [too_large]);
    }
    let most = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(256));
    assert_eq!(events(&[write(&most)]).len(), 2);
}

#[test]
fn an_early_response_does_not_end_the_request() {
    let acts = [
        write("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab"),
        read("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"),
        write("cd"),
    ];
    let expected =
        [response(0, 413, &[("Content-Length", "0")]), resp(0), body(Side::Request, 0, "cd"), req(0)];
    assert_eq!(events(&acts)[2..], expected);
}
