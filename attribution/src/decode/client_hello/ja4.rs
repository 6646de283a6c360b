//! JA4, the FoxIO fingerprint of a TLS client (`technical_details/JA4.md` of FoxIO-LLC/ja4).

use sha2::{Digest as _, Sha256};

use super::{Offer, SERVER_NAME};

/// `application_layer_protocol_negotiation` (RFC 7301 section 3.1).
const ALPN: u16 = 16;
/// Largest count the two digits can show.
const COUNT_LIMIT: usize = 99;
/// Hexadecimal digits kept of each hash.
const HASH_DIGITS: usize = 12;

/// The fingerprint `a_b_c` of a hello over TCP (`t`) or QUIC (`q`); `offer` is already free of GREASE values.
pub(super) fn fingerprint(offer: &Offer, transport: char) -> String {
    let destination = if offer.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
    let version = version(offer.supported_versions.iter().copied().max().unwrap_or(offer.legacy_version));
    let ciphers = offer.ciphers.len().min(COUNT_LIMIT);
    let extensions = offer.extensions.len().min(COUNT_LIMIT);
    let [first, last] = protocol(offer.protocols.first().map(Vec::as_slice).unwrap_or_default());
    let cipher_hash = hash(&sorted_list(offer.ciphers.iter().copied()));
    let extension_hash = hash(&extension_list(offer));
    format!(
        "{transport}{version}{destination}{ciphers:02}{extensions:02}{first}{last}_{cipher_hash}_{extension_hash}"
    )
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of the first protocol name; of its hexadecimal form when either end is not an
/// ASCII letter or digit.
fn protocol(name: &[u8]) -> [char; 2] {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)];
    }
    [hex_digit(first >> 4), hex_digit(last & 0x0f)]
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

/// Sorted extensions without SNI and ALPN, then the signature algorithms in the client's order. Nothing to
/// list gives the empty string, even with signature algorithms.
fn extension_list(offer: &Offer) -> String {
    let counted = |kind: &u16| *kind != SERVER_NAME && *kind != ALPN;
    let mut list = sorted_list(offer.extensions.iter().copied().filter(counted));
    if !list.is_empty() && !offer.signature_algorithms.is_empty() {
        list.push('_');
        list.push_str(&joined(&offer.signature_algorithms));
    }
    list
}

fn sorted_list(values: impl Iterator<Item = u16>) -> String {
    let mut values: Vec<u16> = values.collect();
    values.sort_unstable();
    joined(&values)
}

fn joined(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}

fn hash(list: &str) -> String {
    if list.is_empty() {
        return "0".repeat(HASH_DIGITS);
    }
    let digest = Sha256::digest(list.as_bytes());
    digest.iter().take(HASH_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, protocol};
    use crate::decode::client_hello::Offer;

    /// The worked example of the specification.
    fn example() -> Offer {
        Offer {
            legacy_version: 0x0303,
            ciphers: vec![
                0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
                0x009c, 0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
                0x002b, 0xff01, 0x000b, 0x000a, 0x0015,
            ],
            signature_algorithms: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            supported_versions: vec![0x0304, 0x0303],
            protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            server_name: None,
        }
    }

    #[test]
    fn the_specification_example_gives_the_published_fingerprint() {
        assert_eq!(fingerprint(&example(), 't'), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn without_signature_algorithms_no_underscore_is_hashed() {
        let offer = Offer { signature_algorithms: Vec::new(), ..example() };
        assert_eq!(fingerprint(&offer, 't'), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    }

    #[test]
    fn empty_lists_are_zeros_and_counts_stop_at_99() {
        let empty = Offer { legacy_version: 0x0301, ..Offer::default() };
        assert_eq!(fingerprint(&empty, 't'), "t10i000000_000000000000_000000000000");
        let many = Offer { ciphers: (0..120).collect(), legacy_version: 0x0303, ..Offer::default() };
        assert!(fingerprint(&many, 't').starts_with("t12i990000_"));
    }

    #[test]
    fn protocol_characters_follow_the_hexadecimal_rule() {
        let cases: [(&[u8], &str); 9] = [
            (b"", "00"),
            (b"h", "hh"),
            (b"http/1.1", "h1"),
            (&[0xab], "ab"),
            (&[0xab, 0xcd], "ad"),
            (&[0x30, 0xab], "3b"),
            (&[0x30, 0x31, 0xab, 0xcd], "3d"),
            (&[0x30, 0xab, 0xcd, 0x31], "01"),
            (b"-a", "21"),
        ];
        for (name, expected) in cases {
            assert_eq!(String::from_iter(protocol(name)), expected, "{name:?}");
        }
    }
}
