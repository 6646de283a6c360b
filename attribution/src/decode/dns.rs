//! DNS answers: which addresses a host asked for by name was told.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Header, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use super::Outcome;
use super::host_name::host_name;

/// Longest message, in bytes (RFC 1035 section 4.2.2: a 16-bit length).
const MESSAGE_LIMIT: usize = u16::MAX as usize;
/// Most answer records read from one message.
const RECORD_LIMIT: usize = 512;
/// Most addresses kept from one message.
const ADDRESS_LIMIT: usize = 128;
/// Most CNAME steps followed; resolvers give up at about this depth too.
const ALIAS_LIMIT: usize = 16;
/// Length of a message header, in bytes (RFC 1035 section 4.1.1).
const HEADER_LEN: usize = 12;
/// The bit that marks a response, in the third byte (RFC 1035 section 4.1.1).
const RESPONSE_BIT: u8 = 0x80;

/// What a response says of the one name that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name asked for, in lower case without the trailing dot.
    pub question: String,
    /// Addresses of that name or of the names it is an alias for, each with the seconds it may be kept: the
    /// smallest TTL on the way to it. At most 128; empty when the response has none or tells of a failure.
    pub addresses: Vec<(IpAddr, u32)>,
    /// The response was cut to fit and there may be more addresses (RFC 1035 section 4.1.1, bit TC).
    pub truncated: bool,
}

/// One record of the answer section.
struct Record {
    name: Name,
    ttl: u32,
    data: Data,
}

enum Data {
    Address(IpAddr),
    Alias(Name),
    Other,
}

/// Why reading stopped.
enum Stop {
    /// The bytes ended.
    Short,
    /// The bytes are not an answer this module takes.
    Foreign,
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::InsufficientBytes => Self::Short,
            _ => Self::Foreign,
        }
    }
}

/// Reads one DNS message as it stands in a UDP datagram (over TCP: without the two length bytes).
///
/// Only a response (RFC 1035 section 4.1.1) to one question of class IN is a match; one with an error code,
/// such as for a name that does not exist, gives no addresses. Records are taken only when their owner is the name asked for, or is reached from it by CNAME records of the same
/// message (RFC 1034 section 3.6.2); whatever else a server adds is ignored. Reading ends with the answer
/// section.
pub fn answer(bytes: &[u8]) -> Outcome<Answer> {
    // Decided as early as the bytes allow, so that queries never wait for more.
    match bytes {
        [_, _, flags, ..] if flags & RESPONSE_BIT == 0 => return Outcome::NoMatch,
        _ if bytes.len() < HEADER_LEN => return Outcome::Incomplete,
        _ => {}
    }
    match read(bytes.get(..MESSAGE_LIMIT).unwrap_or(bytes)) {
        Ok(answer) => Outcome::Match(answer),
        Err(Stop::Foreign) => Outcome::NoMatch,
        Err(Stop::Short) if bytes.len() < MESSAGE_LIMIT => Outcome::Incomplete,
        Err(Stop::Short) => Outcome::NoMatch,
    }
}

fn read(bytes: &[u8]) -> Result<Answer, Stop> {
    let mut decoder = BinDecoder::new(bytes);
    let Header { metadata, counts } = Header::read(&mut decoder)?;
    let count = usize::from(counts.answers);
    if metadata.message_type != MessageType::Response
        || metadata.op_code != OpCode::Query
        || counts.queries != 1
        || count > RECORD_LIMIT
    {
        return Err(Stop::Foreign);
    }
    let query = Query::read(&mut decoder)?;
    if query.query_class != DNSClass::IN {
        return Err(Stop::Foreign);
    }
    let question = host_name(query.name.to_ascii().as_bytes()).ok_or(Stop::Foreign)?;
    let records = (0..count).map(|_| read_record(&mut decoder)).collect::<Result<Vec<_>, _>>()?;
    let addresses = match metadata.response_code {
        ResponseCode::NoError => follow(query.name, &records),
        _ => Vec::new(),
    };
    Ok(Answer { question, addresses, truncated: metadata.truncation })
}

/// RFC 1035 section 4.1.3. The data is read here so that a record of a type nobody asked for cannot hide
/// the others by being malformed.
fn read_record(decoder: &mut BinDecoder<'_>) -> Result<Record, Stop> {
    let name = Name::read(decoder)?;
    let kind = RecordType::read(decoder)?;
    let class = decoder.read_u16()?.unverified();
    let ttl = decoder.read_u32()?.unverified();
    let len = usize::from(decoder.read_u16()?.unverified());
    // Names inside the data may point back into the message, so they are read in place.
    let start = decoder.index();
    let mut in_place = decoder.clone(u16::try_from(start).map_err(|_| Stop::Foreign)?);
    let data = decoder.read_slice(len)?.unverified();
    // RFC 2181 section 8: a TTL with the top bit set counts as zero.
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    let data = match kind {
        _ if class != u16::from(DNSClass::IN) => Data::Other,
        RecordType::A => {
            Data::Address(<[u8; 4]>::try_from(data).map(Ipv4Addr::from).map_err(foreign)?.into())
        }
        RecordType::AAAA => {
            Data::Address(<[u8; 16]>::try_from(data).map(Ipv6Addr::from).map_err(foreign)?.into())
        }
        RecordType::CNAME => {
            let alias = Name::read(&mut in_place)?;
            if in_place.index() != start + len {
                return Err(Stop::Foreign);
            }
            Data::Alias(alias)
        }
        _ => Data::Other,
    };
    Ok(Record { name, ttl, data })
}

fn foreign<E>(_: E) -> Stop {
    Stop::Foreign
}

/// Addresses of `question` and of its aliases, following each alias once.
fn follow(question: Name, records: &[Record]) -> Vec<(IpAddr, u32)> {
    let mut addresses = Vec::new();
    let (mut owner, mut chain_ttl) = (&question, u32::MAX);
    let mut seen = Vec::with_capacity(ALIAS_LIMIT);
    while seen.len() <= ALIAS_LIMIT && !seen.contains(&owner) {
        seen.push(owner);
        let of_owner = || records.iter().filter(|record| record.name == *owner);
        for record in of_owner() {
            match record.data {
                Data::Address(address) if addresses.len() < ADDRESS_LIMIT => {
                    addresses.push((address, record.ttl.min(chain_ttl)));
                }
                _ => {}
            }
        }
        let alias = of_owner().find_map(|record| match &record.data {
            Data::Alias(alias) => Some((alias, record.ttl)),
            _ => None,
        });
        let Some((alias, ttl)) = alias else { break };
        chain_ttl = chain_ttl.min(ttl);
        owner = alias;
    }
    addresses
}
