//! What a question is about. Parameters of a URL and a gRPC message are read into the same, within the same limits.

use attribution::filter::{Filter, MAX_LAST, MAX_TERMS};
use proto::v1::{Condition, RecordsRequest};

/// Values of one parameter: with all parameters together they are within the filter's own limit.
pub(super) const MAX_VALUES: usize = MAX_TERMS / 32;
/// Longest value, characters: of any four bytes each it is still within the filter's own limit.
pub(super) const MAX_VALUE: usize = attribution::filter::MAX_VALUE / 4;
/// Parameters of one request.
const MAX_PARAMETERS: usize = 300;
/// The parameter with the number of records.
const LAST: &str = "last";

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    /// Only so many, the newest.
    pub(super) last: Option<usize>,
}

impl Wanted {
    /// From the query part of a URL.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let pairs: Vec<(String, String)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(MAX_PARAMETERS + 1)
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decoded(name)?, decoded(value)?))
            })
            .collect::<Option<_>>()
            .ok_or("the query is not percent-encoded UTF-8")?;
        Self::of(&pairs)
    }

    /// From a gRPC request.
    pub(super) fn of_request(request: &RecordsRequest) -> Result<Self, String> {
        let pairs: Vec<(String, String)> = (request.conditions.iter().take(MAX_PARAMETERS + 1))
            .map(|Condition { field, value, not }| {
                (if *not { format!("not.{field}") } else { field.clone() }, value.clone())
            })
            .chain((request.last != 0).then(|| (LAST.to_owned(), request.last.to_string())))
            .collect();
        let mut wanted = Self::of(&pairs)?;
        (wanted.filter.since, wanted.filter.until) = (request.since, request.until);
        Ok(wanted)
    }

    fn of(pairs: &[(String, String)]) -> Result<Self, String> {
        if pairs.len() > MAX_PARAMETERS {
            return Err(format!("more than {MAX_PARAMETERS} parameters"));
        }
        let (mut last, mut rest) = (None, Vec::new());
        for (at, (name, value)) in pairs.iter().enumerate() {
            let before = pairs.iter().take(at).filter(|(other, _)| other == name).count();
            if before >= MAX_VALUES {
                return Err(format!("{name}: more than {MAX_VALUES} values"));
            }
            if value.chars().count() > MAX_VALUE {
                return Err(format!("{name}: more than {MAX_VALUE} characters"));
            }
            if name == LAST {
                last = value.parse().ok().filter(|last| (1..=MAX_LAST).contains(last));
                last.ok_or(format!("last: a number from 1 to {MAX_LAST}"))?;
            } else {
                rest.push((name.as_str(), value.as_str()));
            }
        }
        Ok(Self { filter: Filter::of_query(rest)?, last })
    }
}

/// Percent-decoding of a query (WHATWG URL, application/x-www-form-urlencoded).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_wrong_in_it_is_named() {
        let wanted = Wanted::parse("kind=finding&not.model=gpt%2D5+mini&last=7").unwrap();
        assert_eq!(wanted.last, Some(7));
        assert_eq!(wanted.filter.query().last().unwrap().1, "gpt-5 mini");
        assert_eq!(Wanted::parse("").unwrap(), Wanted::default());
        for wrong in ["last=0", "last=x", "kind=%zz", "kind=%ff", "nothing=1"] {
            assert!(Wanted::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_parameter_has_no_more_values_than_its_description_says() {
        let query = |values: usize| vec!["model=a"; values].join("&");
        assert_eq!(Wanted::parse(&query(MAX_VALUES)).unwrap().filter.terms.len(), MAX_VALUES);
        assert!(Wanted::parse(&query(MAX_VALUES + 1)).unwrap_err().contains("model: more than"));
    }

    #[test]
    fn a_grpc_request_asks_for_what_its_url_asks_for() {
        let condition =
            |field: &str, value: &str, not| Condition { field: field.into(), value: value.into(), not };
        let request = RecordsRequest {
            since: 1_700_000_000_000_000_000,
            last: 7,
            conditions: vec![condition("kind", "finding", false), condition("model", "gpt-5", true)],
            ..RecordsRequest::default()
        };
        let url = "since=2023-11-14T22:13:20Z&last=7&kind=finding&not.model=gpt-5";
        assert_eq!(Wanted::of_request(&request), Wanted::parse(url));
        let wrong = RecordsRequest { conditions: vec![condition("colour", "red", false)], ..request };
        assert!(Wanted::of_request(&wrong).is_err());
    }
}
