//! Credentials at rest: in files and environments, as fingerprints.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::extract::{Extractor, Found, MAX_SECRET_BYTES};
use super::secret::Secret;
use crate::endpoint::Catalogue;

/// Most credentials of one file or environment.
pub const MAX_FOUND: usize = 32;
/// Fewest characters of a value that is taken for a secret because of its place.
const MIN_SECRET: usize = 8;
/// Deepest nesting of JSON that is looked into.
const MAX_DEPTH: usize = 16;

/// How a credential file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// Lines `name = value`, `name: value`, `export NAME=value`.
    Lines,
    /// The secret itself, or anything with keys of a well-known shape in it.
    Raw,
    /// Databases, key pairs and what is encrypted: not read.
    Opaque,
}

/// Finds credentials in what programs keep.
#[derive(Debug, Clone)]
pub struct AtRest {
    extractor: Extractor,
    catalogue: Arc<Catalogue>,
    /// Provider index by variable that holds its keys.
    variables: HashMap<String, usize>,
    /// Variables that name a file with credentials or a folder of such files.
    paths: Vec<String>,
}

impl Format {
    /// The format of a catalogue entry.
    pub fn of(name: &str, encrypted: bool) -> Self {
        match name {
            _ if encrypted => Self::Opaque,
            "json" => Self::Json,
            "ini" | "yaml" | "dotenv" => Self::Lines,
            "raw" => Self::Raw,
            _ => Self::Opaque,
        }
    }
}

impl AtRest {
    /// With the variables and key shapes of `catalogue`.
    pub fn new(extractor: Extractor, catalogue: Arc<Catalogue>) -> Self {
        let mut variables = HashMap::new();
        for (index, provider) in catalogue.providers().iter().enumerate() {
            for variable in &provider.entry.key_variables {
                variables.entry(variable.clone()).or_insert(index);
            }
        }
        let document = catalogue.document();
        let mut paths = document.credential_paths.variables.clone();
        for entry in &document.credential_file {
            paths.extend(entry.directory_variable.clone());
            paths.extend(entry.file_variable.clone());
        }
        // A path is no secret, even where the catalogue names the variable as a place for keys.
        variables.retain(|variable, _| !paths.contains(variable));
        Self { extractor, catalogue, variables, paths }
    }

    /// The credentials in an environment block (`NAME=value`, NUL-separated).
    pub fn in_environment(&self, block: &[u8]) -> Vec<Found> {
        let mut out = Vec::new();
        for (name, value) in variables(block) {
            self.take(&mut out, name, value, false);
        }
        out
    }

    /// The variables of an environment block that name credential files or folders of them, and `HOME`.
    pub fn paths_in_environment(&self, block: &[u8]) -> Vec<(String, String)> {
        let wanted = |name: &str| name == "HOME" || self.paths.iter().any(|known| known == name);
        let found = variables(block).filter(|(name, value)| wanted(name) && value.starts_with('/'));
        found.take(MAX_FOUND).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The credentials in a file; `secrets` are the pointers or field names that hold them.
    pub fn in_file(&self, format: Format, secrets: &[String], bytes: &[u8]) -> Vec<Found> {
        let mut out = Vec::new();
        let Ok(text) = std::str::from_utf8(bytes) else { return out };
        match format {
            Format::Json => match serde_json::from_str(text) {
                Ok(value) => self.json(&mut out, secrets, &value, &mut String::new(), 0),
                Err(_) => self.lines(&mut out, secrets, text),
            },
            Format::Lines => self.lines(&mut out, secrets, text),
            Format::Raw => {
                let whole = text.trim();
                if !whole.is_empty() && !whole.contains(char::is_whitespace) && !whole.contains('=') {
                    self.take(&mut out, "", whole, true);
                }
                if out.is_empty() {
                    match serde_json::from_str(text) {
                        Ok(value @ Value::Object(_)) => {
                            self.json(&mut out, secrets, &value, &mut String::new(), 0)
                        }
                        _ => self.lines(&mut out, secrets, text),
                    }
                }
            }
            Format::Opaque => {}
        }
        out
    }

    fn lines(&self, out: &mut Vec<Found>, secrets: &[String], text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';', '['])) {
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once(['=', ':']) else { continue };
            let name = name.trim().trim_start_matches("- ").trim_matches(['"', '\'']);
            self.take(out, name, unquoted(value.trim()), secrets.iter().any(|known| known == name));
        }
    }

    fn json(&self, out: &mut Vec<Found>, secrets: &[String], value: &Value, at: &mut String, depth: usize) {
        let mut inside = |key: &str, value: &Value| {
            let length = at.len();
            at.push('/');
            at.push_str(&key.replace('~', "~0").replace('/', "~1"));
            self.json(out, secrets, value, at, depth + 1);
            at.truncate(length);
        };
        match value {
            _ if depth > MAX_DEPTH => {}
            Value::Object(members) => members.iter().for_each(|(key, value)| inside(key, value)),
            Value::Array(values) => values.iter().for_each(|value| inside("*", value)),
            Value::String(text) => {
                let named = secrets.iter().any(|pointer| pointer_fits(pointer, at));
                self.take(out, at, text, named);
            }
            _ => {}
        }
    }

    /// Takes `value` if its place or its shape says that it is a credential.
    fn take(&self, out: &mut Vec<Found>, place: &str, value: &str, named: bool) {
        let plain = (MIN_SECRET..=MAX_SECRET_BYTES).contains(&value.len())
            && value.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || out.len() >= MAX_FOUND {
            return;
        }
        let name = place.rsplit('/').next().unwrap_or_default();
        let provider = self.variables.get(name).and_then(|index| self.catalogue.providers().get(*index));
        let secret = Secret::copy(value);
        let found = match self.extractor.kept(&secret, provider, place) {
            None if named => Some(self.extractor.describe(&secret, place)),
            found => found,
        };
        if let Some(found) = found
            && !out.iter().any(|known| known.fingerprint == found.fingerprint)
        {
            out.push(found);
        }
    }
}

fn variables(block: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    block.split(|byte| *byte == 0).filter_map(|one| std::str::from_utf8(one).ok()?.split_once('='))
}

/// A value without its quotes, or without the comment after it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.split(quote).next().unwrap_or_default();
        }
    }
    value.split(" #").next().unwrap_or_default().trim_end_matches([',', ' '])
}

/// Whether `pointer`, in which `*` stands for any key, names the place `at`; a key may end in `*`.
fn pointer_fits(pointer: &str, at: &str) -> bool {
    let (mut wanted, mut found) = (pointer.split('/'), at.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) => {
                let fits = match wanted.strip_suffix('*') {
                    Some(start) => found.starts_with(start),
                    None => wanted == found,
                };
                if !fits {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{FleetKey, Hint};

    const KEY: &str = concat!(
        "sk-ant-api03-",
        "Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3",
        "AA"
    );

    fn at_rest() -> AtRest {
        let catalogue = Arc::new(Catalogue::built_in().unwrap());
        let key = Arc::new(FleetKey::new(&mut [3; 32]));
        AtRest::new(Extractor::new(key, &catalogue, Hint::None), catalogue)
    }

    fn fingerprint(secret: &str) -> String {
        FleetKey::new(&mut [3; 32]).fingerprint(&Secret::copy(secret)).to_string()
    }

    fn places(found: &[Found]) -> Vec<&str> {
        found.iter().map(|found| found.carrier.as_str()).collect()
    }

    #[test]
    fn an_environment_shows_keys_by_name_or_shape_and_paths_by_name() {
        let block = format!(
            "PATH=/usr/bin:/bin\0OPENAI_API_KEY=anything-at-all-1\0MY_OWN={KEY}\0HOME=/root\0\
             AWS_SHARED_CREDENTIALS_FILE=/srv/aws\0CODEX_HOME=relative\0GOOGLE_APPLICATION_CREDENTIALS=/srv/sa.json\0"
        );
        let found = at_rest().in_environment(block.as_bytes());
        assert_eq!(places(&found), ["OPENAI_API_KEY", "MY_OWN"]);
        assert_eq!((found[0].provider.as_str(), found[1].provider.as_str()), ("openai", "anthropic"));
        assert_eq!(found[1].fingerprint.as_str(), fingerprint(KEY));
        let paths = at_rest().paths_in_environment(block.as_bytes());
        let names: Vec<&str> = paths.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["HOME", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"]);
    }

    #[test]
    fn json_is_read_by_pointer_and_by_shape() {
        let text = format!(
            r#"{{"tokens":{{"access_token":"opaque-token-1"}},"x":{{"y":["{KEY}"]}},"id":"opaque-other"}}"#
        );
        let secrets = ["/tokens/access_token".to_owned()];
        let found = at_rest().in_file(Format::Json, &secrets, text.as_bytes());
        assert_eq!(places(&found), ["/tokens/access_token", "/x/y/*"]);
        assert_eq!(found[0].fingerprint.as_str(), fingerprint("opaque-token-1"));
    }

    #[test]
    fn pointers_may_leave_keys_open() {
        for (pointer, at, fits) in [
            ("/*/key", "/openai/key", true),
            ("/apiKey@*", "/apiKey@https:~1~1x", true),
            ("/a/b", "/a", false),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(pointer_fits(pointer, at), fits, "{pointer} {at}");
        }
    }

    #[test]
    fn lines_are_read_in_every_dialect() {
        for text in [
            format!("# comment\nexport ANTHROPIC_API_KEY=\"{KEY}\"\n"),
            format!("ANTHROPIC_API_KEY={KEY} # mine\n"),
            format!("ANTHROPIC_API_KEY: '{KEY}'\n"),
            format!("[default]\nwhatever = {KEY}\n"),
        ] {
            let found = at_rest().in_file(Format::Lines, &[], text.as_bytes());
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].fingerprint.as_str(), fingerprint(KEY), "{text}");
        }
    }

    #[test]
    fn a_raw_file_is_the_secret_itself() {
        let found = at_rest().in_file(Format::Raw, &[], b"some-opaque-token\n");
        assert_eq!(found[0].fingerprint.as_str(), fingerprint("some-opaque-token"));
        let found = at_rest().in_file(Format::Raw, &[], format!("OPENAI={KEY}\n").as_bytes());
        assert_eq!(found[0].fingerprint.as_str(), fingerprint(KEY));
        assert!(at_rest().in_file(Format::Raw, &[], b"two words\n").is_empty());
        assert!(at_rest().in_file(Format::Json, &[], b"\xff\xfe\0").is_empty());
    }
}
