//! The TLS ClientHello at the start of a TCP stream.

mod ja4;
mod record;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use tls_parser::{TlsExtension, parse_tls_client_hello_extension, parse_tls_handshake_client_hello};

use super::Outcome;
use super::host_name::host_name;

/// Length of the client random, in bytes (RFC 8446 section 4.1.2).
const RANDOM_LEN: usize = 32;
/// Most application protocols kept from one hello.
const ALPN_LIMIT: usize = 64;
/// Most extensions in one hello; real clients send fewer than 30.
const EXTENSION_LIMIT: usize = 256;
/// `server_name` (RFC 6066 section 3).
const SERVER_NAME: u16 = 0;
/// `encrypted_client_hello` (RFC 9849 section 5).
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// `host_name`, the one defined name type (RFC 6066 section 3).
const HOST_NAME: u8 = 0;

/// What a client says of itself and its peer before any key exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The client random (RFC 8446 section 4.1.2).
    pub random: [u8; RANDOM_LEN],
    /// The host asked for, in lower case; `None` when absent or not a DNS name (RFC 6066 section 3).
    pub server_name: Option<String>,
    /// Application protocols offered, in order (RFC 7301 section 3.1). GREASE (RFC 8701) is left out, and a
    /// name that is not printable ASCII is written as `0x` and its bytes in hexadecimal.
    pub alpn: Vec<String>,
    /// Versions offered, in order, without GREASE: those of `supported_versions` (RFC 8446 section 4.2.1), or
    /// the one legacy version when that extension is absent.
    pub versions: Vec<u16>,
    /// The JA4 fingerprint (FoxIO), of TLS over TCP or QUIC.
    pub ja4: String,
    /// An `encrypted_client_hello` extension is present: the server name may be a cover name. Clients also
    /// send this extension filled with noise (RFC 9849 section 6.2), which looks the same from outside.
    pub ech: bool,
}

/// The parts of a hello that more than one field is made from.
#[derive(Default)]
struct Offer {
    legacy_version: u16,
    ciphers: Vec<u16>,
    extensions: Vec<u16>,
    signature_algorithms: Vec<u16>,
    supported_versions: Vec<u16>,
    protocols: Vec<Vec<u8>>,
    server_name: Option<String>,
}

impl Offer {
    /// `None` when the extension block is cut, overlong or names an extension twice (RFC 8446 section 4.2).
    /// An extension whose inside is malformed counts as present and empty.
    fn read(body: &tls_parser::TlsClientHelloContents<'_>) -> Option<Self> {
        let mut offer = Self {
            legacy_version: body.version.0,
            ciphers: without_grease(body.ciphers.iter().map(|cipher| cipher.0)),
            ..Self::default()
        };
        let mut rest = body.ext.unwrap_or_default();
        while !rest.is_empty() {
            let (kind, after_kind) = rest.split_first_chunk::<2>()?;
            let (len, after_len) = after_kind.split_first_chunk::<2>()?;
            let after = after_len.get(usize::from(u16::from_be_bytes(*len))..)?;
            let kind = u16::from_be_bytes(*kind);
            if !is_grease(kind) {
                if offer.extensions.len() >= EXTENSION_LIMIT || offer.extensions.contains(&kind) {
                    return None;
                }
                offer.extensions.push(kind);
                if let Ok((_, extension)) = parse_tls_client_hello_extension(rest) {
                    offer.take(extension);
                }
            }
            rest = after;
        }
        Some(offer)
    }

    fn take(&mut self, extension: TlsExtension<'_>) {
        match extension {
            TlsExtension::SNI(names) => {
                let host = names.iter().find(|(kind, _)| kind.0 == HOST_NAME);
                self.server_name = host.and_then(|(_, name)| host_name(name));
            }
            TlsExtension::ALPN(names) => {
                let real = names.into_iter().filter(|name| !is_grease_protocol(name));
                self.protocols = real.take(ALPN_LIMIT).map(<[u8]>::to_vec).collect();
            }
            TlsExtension::SupportedVersions(versions) => {
                self.supported_versions = without_grease(versions.into_iter().map(|version| version.0));
            }
            TlsExtension::SignatureAlgorithms(algorithms) => {
                self.signature_algorithms = without_grease(algorithms.into_iter());
            }
            _ => {}
        }
    }
}

/// Reads the ClientHello that a TCP stream starts with; `bytes` begin at the first byte of the stream.
///
/// A hello may be spread over several TLS records (RFC 8446 section 5.1): the answer is `Incomplete` until
/// all of it is there, and `NoMatch` when it needs more than 16 KiB of the stream.
pub fn client_hello(bytes: &[u8]) -> Outcome<ClientHello> {
    let handshake = match record::first_handshake(bytes) {
        Outcome::Match(handshake) => handshake,
        Outcome::Incomplete => return Outcome::Incomplete,
        Outcome::NoMatch => return Outcome::NoMatch,
    };
    hello(&handshake, 't')
}

/// Reads the ClientHello message that `message` starts with, as QUIC carries it: without records (RFC 9001
/// section 4.1.3). `transport` is JA4's letter for what carried it.
pub(super) fn client_hello_message(message: &[u8], transport: char) -> Outcome<ClientHello> {
    match record::whole_message(message) {
        Outcome::Match(handshake) => hello(&handshake, transport),
        Outcome::Incomplete => Outcome::Incomplete,
        Outcome::NoMatch => Outcome::NoMatch,
    }
}

fn hello(handshake: &[u8], transport: char) -> Outcome<ClientHello> {
    match read_body(handshake, transport) {
        Some(hello) => Outcome::Match(hello),
        None => Outcome::NoMatch,
    }
}

fn read_body(handshake: &[u8], transport: char) -> Option<ClientHello> {
    let (rest, body) = parse_tls_handshake_client_hello(handshake).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let offer = Offer::read(&body)?;
    Some(ClientHello {
        random: body.random.try_into().ok()?,
        ja4: ja4::fingerprint(&offer, transport),
        ech: offer.extensions.contains(&ENCRYPTED_CLIENT_HELLO),
        alpn: offer.protocols.iter().map(|name| protocol_name(name)).collect(),
        versions: match offer.supported_versions.is_empty() {
            true => vec![offer.legacy_version],
            false => offer.supported_versions,
        },
        server_name: offer.server_name,
    })
}

fn protocol_name(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(name) if bytes.iter().all(u8::is_ascii_graphic) => name.to_owned(),
        _ => bytes.iter().fold("0x".to_owned(), |mut name, byte| {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        }),
    }
}

fn without_grease(values: impl Iterator<Item = u16>) -> Vec<u16> {
    values.filter(|&value| !is_grease(value)).collect()
}

/// Reserved values 0x0a0a, 0x1a1a, ... 0xfafa (RFC 8701 section 2).
fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn is_grease_protocol(name: &[u8]) -> bool {
    matches!(name, &[high, low] if is_grease(u16::from_be_bytes([high, low])))
}
