use proptest::prelude::*;
use zerocopy::{FromZeros, IntoBytes};

use super::*;

fn header(kind: u16, data_len: u32) -> raw::Header {
    raw::Header { kind, abi: raw::ABI, data_len, time_ns: 5 }
}

fn tls() -> Vec<u8> {
    let mut event = raw::tls::Data::new_zeroed();
    event.header = header(raw::kind::TLS, 3);
    event.task.process.tgid = 42;
    event.handle = raw::tls::handle::RANDOM;
    let mut bytes = event.as_bytes().to_vec();
    bytes.extend(b"abcdef");
    bytes
}

#[test]
fn plaintext_is_cut_to_what_the_header_says() {
    let Ok(Event::Tls { bytes, task, by_random, .. }) = parse(&tls()) else { panic!("no tls event") };
    assert_eq!((&*bytes, task.process.pid, by_random), (b"abc".as_slice(), 42, true));
}

#[test]
fn every_prefix_of_an_event_is_refused() {
    let bytes = tls();
    for end in 0..raw::tls::DATA_FIXED + 3 {
        assert_eq!(parse(&bytes[..end]), Err(Malformed::Short), "{end} bytes");
    }
}

#[test]
fn an_exec_has_its_arguments_one_by_one() {
    let mut event = raw::process::Exec::new_zeroed();
    event.header = header(raw::kind::EXEC, 8);
    event.path[..9].copy_from_slice(b"/bin/curl");
    event.path_len = 9;
    event.args_total = 8;
    let bytes = [event.as_bytes(), b"curl\0-s\0"].concat();
    let Ok(Event::Exec { image, .. }) = parse(&bytes) else { panic!("no exec event") };
    assert_eq!((image.exe.as_str(), image.args), ("/bin/curl", vec!["curl".to_owned(), "-s".to_owned()]));
}

#[test]
fn another_layout_version_or_kind_is_refused_by_name() {
    let mut event = raw::process::Exit::new_zeroed();
    event.header = header(raw::kind::EXIT, 0);
    event.header.abi = raw::ABI + 1;
    assert_eq!(parse(event.as_bytes()), Err(Malformed::Abi));
    event.header = header(99, 0);
    assert_eq!(parse(event.as_bytes()), Err(Malformed::Kind));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..4000), kind in 0u16..9) {
        if bytes.len() >= 4 {
            bytes[..2].copy_from_slice(&kind.to_ne_bytes());
            bytes[2..4].copy_from_slice(&raw::ABI.to_ne_bytes());
        }
        let _ = parse(&bytes);
    }
}
