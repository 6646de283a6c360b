//! A filter as parameters of a URL: `kind=finding`, `not.model=gpt-5`, `since=2026-05-01T12:00:00Z`.

use super::{FIELDS, Filter, Term};

/// Most records of the parameter `last`: what a collector keeps in memory for one question.
pub const MAX_LAST: usize = 10_000;
/// What stands before the name of a field whose matches are kept out.
const NOT: &str = "not.";

impl Filter {
    /// The parameters that [`Filter::of_query`] reads.
    pub fn query(&self) -> Vec<(String, String)> {
        let time = |name: &str, time: u64| {
            let text = (time != 0).then(|| proto::time::format(time)).flatten()?;
            Some((name.to_owned(), text))
        };
        let times = [time("since", self.since), time("until", self.until)].into_iter().flatten();
        let terms = self.terms.iter().map(|term| {
            let not = if term.not { NOT } else { "" };
            (format!("{not}{}", term.field.row().name), term.value.clone())
        });
        times.chain(terms).collect()
    }

    /// The filter of parameters, checked; the first that is wrong, as a sentence.
    pub fn of_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in pairs {
            let time = || proto::time::parse(value).ok_or(format!("{name}: `{value}` is no RFC 3339 time"));
            match name {
                "since" => filter.since = time()?,
                "until" => filter.until = time()?,
                _ => {
                    let (not, field) = match name.strip_prefix(NOT) {
                        Some(field) => (true, field),
                        None => (false, name),
                    };
                    let row = FIELDS.iter().find(|row| row.name == field);
                    let row = row.ok_or_else(|| format!("`{name}` is no parameter"))?;
                    filter.terms.push(Term { field: row.field, value: value.to_owned(), not });
                }
            }
        }
        filter.check().map_err(|error| error.to_string())?;
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Field;

    #[test]
    fn a_filter_survives_the_way_through_a_url() {
        let term = |field, value: &str, not| Term { field, value: value.into(), not };
        let filter = Filter {
            since: 1_700_000_000_000_000_001,
            until: 1_800_000_000_000_000_000,
            terms: vec![term(Field::Model, "gpt&=5", false), term(Field::Kind, "finding", true)],
        };
        let pairs = filter.query();
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(Filter::of_query(pairs), Ok(filter));
        assert_eq!(Filter::of_query([]), Ok(Filter::default()));
        let before = Filter::of_query([("until", "1404-11-12T13:26:24+02:35")]).unwrap();
        assert_eq!(before.until, 1, "before every record, and not without an end");
    }

    #[test]
    fn what_means_nothing_is_named() {
        for (name, value, wrong) in [
            ("colour", "red", "`colour` is no parameter"),
            ("since", "soon", "since: `soon` is no RFC 3339 time"),
            ("kind", "call", "not one of"),
            ("not.kind", "", "1 to"),
        ] {
            let error = Filter::of_query([(name, value)]).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
