//! RFC 3339 form of the schema's times (nanoseconds since the Unix epoch).

use serde::{Deserialize, Deserializer, Serializer, de::Error as _, ser::Error as _};

/// `nanoseconds` as RFC 3339 with nine decimals, or nothing when out of range.
pub fn format(nanoseconds: u64) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()?;
    Some(format!("{time:.9}"))
}

/// Nanoseconds since the epoch of an RFC 3339 time, or nothing when it is none. A time that no record can have
/// becomes the nearest that one can; that is never 0, which stands for no time.
pub fn parse(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_nanosecond().clamp(1, i128::from(u64::MAX))).ok()
}

pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let text = format(*value).ok_or_else(|| S::Error::custom("time out of range"))?;
    serializer.serialize_str(&text)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    let time: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
    u64::try_from(time.as_nanosecond()).map_err(D::Error::custom)
}
