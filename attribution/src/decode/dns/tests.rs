use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{ADDRESS_LIMIT, ALIAS_LIMIT, Answer, RECORD_LIMIT, answer};
use crate::decode::Outcome;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

fn name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut wire = owner.to_vec();
    wire.extend_from_slice(&kind.to_be_bytes());
    wire.extend_from_slice(&1u16.to_be_bytes());
    wire.extend_from_slice(&ttl.to_be_bytes());
    wire.extend_from_slice(&(data.len() as u16).to_be_bytes());
    wire.extend_from_slice(data);
    wire
}

/// A response to `question` with these answer records; `flags` are header bytes 2 and 3.
fn message(flags: [u8; 2], question: &str, records: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = vec![0x12, 0x34, flags[0], flags[1], 0, 1];
    wire.extend_from_slice(&(records.len() as u16).to_be_bytes());
    wire.extend_from_slice(&[0; 4]);
    wire.extend_from_slice(&name(question));
    wire.extend_from_slice(&[0, 1, 0, 1]);
    wire.extend(records.iter().flatten());
    wire
}

const OK: [u8; 2] = [0x81, 0x80];
/// A pointer to the question's name (RFC 1035 section 4.1.4).
const QUESTION: [u8; 2] = [0xc0, 12];

/// What a resolver sends for a name behind a content network: aliases first, then addresses.
fn typical() -> Vec<u8> {
    message(
        OK,
        "API.Provider.Test",
        &[
            record(&QUESTION, CNAME, 300, &name("edge.cdn.test")),
            record(&name("EDGE.cdn.test"), CNAME, 60, &name("pop.cdn.test")),
            record(&name("pop.cdn.test"), A, 200, &[192, 0, 2, 1]),
            record(&name("pop.cdn.test"), A, 20, &[192, 0, 2, 2]),
            record(&name("pop.cdn.test"), AAAA, 200, &Ipv6Addr::LOCALHOST.octets()),
        ],
    )
}

fn read(bytes: &[u8]) -> Answer {
    match answer(bytes) {
        Outcome::Match(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn v4(last: u8, ttl: u32) -> (IpAddr, u32) {
    (Ipv4Addr::new(192, 0, 2, last).into(), ttl)
}

#[test]
fn addresses_behind_aliases_carry_the_smallest_ttl() {
    let expected = Answer {
        question: "api.provider.test".to_owned(),
        addresses: vec![v4(1, 60), v4(2, 20), (Ipv6Addr::LOCALHOST.into(), 60)],
        truncated: false,
    };
    assert_eq!(read(&typical()), expected);
}

#[test]
fn records_of_unrelated_names_are_not_taken() {
    let poisoned = message(
        OK,
        "a.test",
        &[
            record(&name("api.provider.test"), A, 9, &[192, 0, 2, 66]),
            record(&QUESTION, A, 9, &[192, 0, 2, 1]),
            record(&name("x.a.test"), A, 9, &[192, 0, 2, 67]),
            record(&name("test"), CNAME, 9, &name("api.provider.test")),
        ],
    );
    assert_eq!(read(&poisoned).addresses, [v4(1, 9)]);
}

#[test]
fn alias_loops_and_long_chains_end() {
    let looped = message(
        OK,
        "a.test",
        &[record(&QUESTION, CNAME, 9, &name("b.test")), record(&name("b.test"), CNAME, 9, &name("a.test"))],
    );
    assert_eq!(read(&looped).addresses, []);
    let chain = |steps: usize| {
        let host = |step: usize| format!("n{step}.test");
        let mut records: Vec<_> =
            (0..steps).map(|step| record(&name(&host(step)), CNAME, 9, &name(&host(step + 1)))).collect();
        records.push(record(&name(&host(steps)), A, 9, &[192, 0, 2, 1]));
        read(&message(OK, "n0.test", &records)).addresses
    };
    assert_eq!(chain(ALIAS_LIMIT), [v4(1, 9)]);
    assert_eq!(chain(ALIAS_LIMIT + 1), []);
}

#[test]
fn queries_and_other_operations_are_no_match() {
    for flags in [[0x01, 0x00], [0xa9, 0x80]] {
        let mut wire = typical();
        wire[2..4].copy_from_slice(&flags);
        assert_eq!(answer(&wire), Outcome::NoMatch, "{flags:x?}");
    }
    assert_eq!(answer(&[0, 0, 0x01]), Outcome::NoMatch, "a query is known by its third byte");
    let mut two_questions = typical();
    two_questions[5] = 2;
    assert_eq!(answer(&two_questions), Outcome::NoMatch);
    assert_eq!(answer(&message(OK, "bad name.test", &[])), Outcome::NoMatch);
}

#[test]
fn failures_give_no_addresses() {
    for flags in [[0x81, 0x83], [0x81, 0x82], [0x81, 0x85]] {
        let mut wire = typical();
        wire[2..4].copy_from_slice(&flags);
        assert_eq!(read(&wire).addresses, [], "{flags:x?}");
    }
}

#[test]
fn no_data_and_truncation_are_told() {
    assert_eq!(read(&message(OK, "a.test", &[])).addresses, []);
    assert!(read(&message([0x83, 0x80], "a.test", &[])).truncated);
}

#[test]
fn foreign_records_are_skipped_and_malformed_addresses_are_not() {
    let odd = record(&QUESTION, 65, 9, &[0xff; 7]);
    let good = record(&QUESTION, A, u32::MAX, &[192, 0, 2, 1]);
    assert_eq!(read(&message(OK, "a.test", &[odd, good])).addresses, [v4(1, 0)]);
    assert_eq!(answer(&message(OK, "a.test", &[record(&QUESTION, A, 9, &[1; 5])])), Outcome::NoMatch);
    let overlong = record(&QUESTION, CNAME, 9, &[name("b.test"), vec![1]].concat());
    assert_eq!(answer(&message(OK, "a.test", &[overlong])), Outcome::NoMatch);
}

#[test]
fn pointer_loops_are_refused() {
    // The owner's name starts where the question's records begin and points at itself.
    let start = message(OK, "a.test", &[]).len() as u16;
    let owner = (0xc000 | start).to_be_bytes();
    assert_eq!(answer(&message(OK, "a.test", &[record(&owner, A, 9, &[1; 4])])), Outcome::NoMatch);
}

#[test]
fn counts_are_bounded() {
    let many = vec![record(&QUESTION, A, 9, &[192, 0, 2, 1]); RECORD_LIMIT];
    assert_eq!(read(&message(OK, "a.test", &many)).addresses.len(), ADDRESS_LIMIT);
    let too_many = vec![record(&QUESTION, A, 9, &[192, 0, 2, 1]); RECORD_LIMIT + 1];
    assert_eq!(answer(&message(OK, "a.test", &too_many)), Outcome::NoMatch);
    let mut endless = message(OK, "a.test", &[]);
    endless[7] = 200;
    assert_eq!(answer(&endless), Outcome::Incomplete);
    let padding = record(&name("b.test"), 16, 9, &vec![0; 60_000]);
    endless.extend_from_slice(&padding);
    endless.extend_from_slice(&padding);
    assert_eq!(answer(&endless), Outcome::NoMatch);
}

#[test]
fn every_prefix_is_incomplete_until_the_last_answer_byte_and_stable_after_it() {
    let wire = typical();
    for end in 0..wire.len() {
        assert_eq!(answer(&wire[..end]), Outcome::Incomplete, "{end}");
    }
    let whole = answer(&wire);
    assert!(matches!(whole, Outcome::Match(_)));
    for extra in [1, 100, 70_000] {
        assert_eq!(answer(&[wire.clone(), vec![0xff; extra]].concat()), whole);
    }
}

proptest! {
    #[test]
    fn an_answer_once_given_never_changes(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut wire = typical();
        for (at, value) in damage {
            let at = at.index(wire.len());
            wire[at] = value;
        }
        let mut decided = None;
        for end in 0..=wire.len() {
            let now = answer(&wire[..end]);
            match &decided {
                Some(first) => prop_assert_eq!(&now, first),
                None if now != Outcome::Incomplete => decided = Some(now),
                None => {}
            }
        }
    }
}
