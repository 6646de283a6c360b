//! Path templates: `*` is one segment or part of one, `**` any number of segments, `{name}` and
//! `{name**}` the same, kept by name.

/// Most segments of a path that are looked at.
const MAX_SEGMENTS: usize = 64;
/// Longest path that is looked at, in bytes.
const MAX_PATH_BYTES: usize = 4096;

/// A parsed template.
#[derive(Debug, Clone)]
pub(super) struct Template {
    segments: Vec<Segment>,
    /// Number of literal bytes: more is more exact.
    pub(super) weight: usize,
}

#[derive(Debug, Clone)]
enum Segment {
    Literal(String),
    One { before: String, after: String, name: Option<String> },
    Rest(Option<String>),
}

/// Values of the names of a template.
pub(super) type Captures = Vec<(String, String)>;

impl Template {
    /// Parses `text`, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let segments: Vec<Segment> = split(text).into_iter().map(Segment::parse).collect::<Result<_, _>>()?;
        if segments.iter().filter(|segment| matches!(segment, Segment::Rest(_))).count() > 2 {
            return Err("has more than two `**`".to_owned());
        }
        let weight = segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => text.len() + 1,
                Segment::One { before, after, .. } => before.len() + after.len(),
                Segment::Rest(_) => 0,
            })
            .sum();
        Ok(Self { segments, weight })
    }

    /// The values of the names when `path` fits from start to end.
    pub(super) fn matches(&self, path: &[String]) -> Option<Captures> {
        let mut captures = Vec::new();
        fits(&self.segments, path, &mut captures).then_some(captures)
    }

    /// As [`Self::matches`], with anything before the template.
    pub(super) fn matches_end(&self, path: &[String]) -> Option<Captures> {
        (0..=path.len()).find_map(|from| self.matches(path.get(from..)?))
    }

    /// Whether `path` starts with the template.
    pub(super) fn starts(&self, path: &[String]) -> bool {
        (0..=path.len()).any(|end| path.get(..end).is_some_and(|head| self.matches(head).is_some()))
    }
}

impl Segment {
    fn parse(text: String) -> Result<Self, String> {
        let (before, name, after) = match (text.find('{'), text.find('*')) {
            (Some(open), _) => {
                let close = text.find('}').filter(|close| *close > open);
                let close = close.ok_or_else(|| format!("has `{{` without `}}` in `{text}`"))?;
                (&text[..open], Some(&text[open + 1..close]), &text[close + 1..])
            }
            (None, Some(_)) if text == "**" => return Ok(Self::Rest(None)),
            (None, Some(star)) => (&text[..star], None, &text[star + 1..]),
            (None, None) => return Ok(Self::Literal(text)),
        };
        if [before, after].iter().any(|part| part.contains(['*', '{', '}'])) {
            return Err(format!("has more than one wildcard in `{text}`"));
        }
        let (before, after) = (before.to_owned(), after.to_owned());
        match name.map(|name| (name, name.strip_suffix("**"))) {
            Some((_, Some(name))) if before.is_empty() && after.is_empty() => {
                Ok(Self::Rest(Some(name.to_owned())))
            }
            Some((_, Some(_))) => Err(format!("has text next to `**` in `{text}`")),
            Some((name, None)) => Ok(Self::One { before, after, name: Some(name.to_owned()) }),
            None => Ok(Self::One { before, after, name: None }),
        }
    }
}

fn fits(segments: &[Segment], path: &[String], captures: &mut Captures) -> bool {
    let Some((segment, later)) = segments.split_first() else { return path.is_empty() };
    if let Segment::Rest(name) = segment {
        // A named rest is a value, so it is never empty.
        return (usize::from(name.is_some())..=path.len()).any(|count| {
            let (Some(taken), Some(left)) = (path.get(..count), path.get(count..)) else { return false };
            keeping(captures, name.as_ref().map(|name| (name, taken.join("/"))), |captures| {
                fits(later, left, captures)
            })
        });
    }
    let Some((first, left)) = path.split_first() else { return false };
    match segment {
        Segment::Literal(text) => text == first && fits(later, left, captures),
        Segment::One { before, after, name } => {
            let middle =
                first.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
            let Some(middle) = middle.filter(|middle| !middle.is_empty()) else { return false };
            let value = name.as_ref().map(|name| (name, middle.to_owned()));
            keeping(captures, value, |captures| fits(later, left, captures))
        }
        Segment::Rest(_) => false,
    }
}

/// Runs `next` with `value` captured, and takes it back when that fails.
fn keeping(
    captures: &mut Captures,
    value: Option<(&String, String)>,
    next: impl FnOnce(&mut Captures) -> bool,
) -> bool {
    let before = captures.len();
    captures.extend(value.map(|(name, value)| (name.clone(), value)));
    let fit = next(captures);
    if !fit {
        captures.truncate(before);
    }
    fit
}

/// The segments of a template or a decoded path.
fn split(text: &str) -> Vec<String> {
    text.strip_prefix('/').unwrap_or(text).split('/').map(str::to_owned).collect()
}

/// The percent-decoded segments of a request target, without scheme, authority, query and fragment.
pub(super) fn segments(target: &str) -> Option<Vec<String>> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => path,
    };
    if path.len() > MAX_PATH_BYTES || !path.starts_with('/') {
        return None;
    }
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let segments: Vec<String> = path[1..].split('/').take(MAX_SEGMENTS + 1).map(percent_decode).collect();
    (segments.len() <= MAX_SEGMENTS).then_some(segments)
}

/// `text` with `%XX` decoded (RFC 3986 section 2.1); what is not UTF-8 becomes U+FFFD.
pub(crate) fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, later)) = rest.split_first() {
        let hex = later.get(..2).filter(|hex| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { later.get(2..).unwrap_or_default() } else { later };
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        Template::parse(template).unwrap().matches(&segments(path)?)
    }

    fn one(template: &str, path: &str) -> Option<String> {
        captures(template, path)?.first().map(|(_, value)| value.clone())
    }

    #[test]
    fn templates_match_whole_paths() {
        for (template, path, fit) in [
            ("/v1/chat", "/v1/chat", true),
            ("/v1/chat", "/v1/chat?x=/y", true),
            ("/v1/chat", "/v1/chat/", true),
            ("/v1/chat", "https://host/v1/chat", true),
            ("/v1/chat", "/v1/chat/x", false),
            ("/v1/chat", "/x/v1/chat", false),
            ("/v1/chat", "/v1/Chat", false),
            ("/v1/*", "/v1/a", true),
            ("/v1/*", "/v1/", false),
            ("/v1/*", "/v1/a/b", false),
            ("/v1/**", "/v1", true),
            ("/v1/**", "/v1/a/b", true),
            ("**/chat/completions", "/a/b/chat/completions", true),
            ("**/chat/completions", "/chat/completions", true),
            ("**/chat/completions", "/achat/completions", false),
            ("/**/x:count", "/a/b/x:count", true),
        ] {
            assert_eq!(captures(template, path).is_some(), fit, "{template} {path}");
        }
    }

    #[test]
    fn names_are_kept_and_decoded() {
        assert_eq!(one("/*/models/{m}:gen", "/v1/models/a-b:gen").as_deref(), Some("a-b"));
        assert_eq!(
            one("/model/{m**}/converse", "/model/arn%3Aaws%2Fx/converse").as_deref(),
            Some("arn:aws/x")
        );
        assert_eq!(one("/model/{m**}/converse", "/model/arn:aws/x/converse").as_deref(), Some("arn:aws/x"));
        assert_eq!(one("/model/{m**}/converse", "/model/converse"), None);
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
    }

    #[test]
    fn bad_templates_are_refused() {
        for bad in ["/a*b*", "/{x", "/{x**}y", "**/**/**"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostile_paths_end_quickly() {
        assert_eq!(segments(&"/a".repeat(65)), None);
        assert_eq!(segments(&format!("/{}", "a".repeat(5000))), None);
        assert_eq!(segments("*"), None);
        let long = "/a".repeat(60);
        assert_eq!(captures("**/b/**/c", &long), None);
    }
}
