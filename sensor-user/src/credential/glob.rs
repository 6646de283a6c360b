//! Path patterns: `*` stands for any part of one name, `**` for any number of folders, a leading `~` for any
//! folder.

/// A pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    parts: Vec<String>,
}

impl Glob {
    /// Takes `~/a`, `**/a` or `/a` apart.
    pub(super) fn new(pattern: &str) -> Self {
        let anywhere = pattern.starts_with("~/");
        let rest = pattern.trim_start_matches("~/").trim_start_matches('/');
        let parts = anywhere.then_some("**").into_iter().chain(rest.split('/'));
        Self { parts: parts.map(str::to_owned).collect() }
    }

    /// Whether an absolute `path` fits.
    pub(super) fn fits(&self, path: &str) -> bool {
        let names: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        parts_fit(&self.parts, &names)
    }

    /// The parts below a home folder or the root; nothing when the pattern may be anywhere.
    pub(super) fn fixed(&self, home: bool) -> Option<&[String]> {
        let parts = match (home, self.parts.split_first()) {
            (true, Some((first, rest))) if first == "**" => rest,
            (false, Some((first, _))) if first != "**" => &self.parts,
            _ => return None,
        };
        (!parts.iter().any(|part| part == "**")).then_some(parts)
    }
}

fn parts_fit(parts: &[String], names: &[&str]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((part, rest)), _) if part == "**" => {
            parts_fit(rest, names) || names.split_first().is_some_and(|(_, names)| parts_fit(parts, names))
        }
        (Some((part, rest)), Some((name, names))) => name_fits(part, name) && parts_fit(rest, names),
        _ => false,
    }
}

/// Whether `name` fits a pattern of one name.
pub(super) fn name_fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(start) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return left.ends_with(piece);
        }
        match left.find(piece) {
            Some(at) => left = left.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_paths() {
        for (pattern, path, fits) in [
            ("~/.codex/auth.json", "/root/.codex/auth.json", true),
            ("~/.codex/auth.json", "/srv/a/b/.codex/auth.json", true),
            ("~/.codex/auth.json", "/root/x.codex/auth.json", false),
            ("**/.env", "/.env", true),
            ("**/.env.*", "/srv/app/.env.local", true),
            ("/run/secrets/*", "/run/secrets/key", true),
            ("/run/secrets/*", "/run/secrets/a/key", false),
            ("/run/secrets/**", "/run/secrets/a/key", true),
            ("~/.aws/sso/cache/*.json", "/home/u/.aws/sso/cache/ab.json", true),
            ("~/.aws/sso/cache/*.json", "/home/u/.aws/sso/cache/ab.txt", false),
            ("/a*b*c", "/axxbyyc", true),
            ("/a*b*c", "/axxbyyd", false),
        ] {
            assert_eq!(Glob::new(pattern).fits(path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn fixed_parts_are_those_that_can_be_looked_up() {
        let fixed = |pattern: &str, home| Glob::new(pattern).fixed(home).map(|parts| parts.join("/"));
        assert_eq!(fixed("~/.codex/auth.json", true).as_deref(), Some(".codex/auth.json"));
        assert_eq!(fixed("~/.codex/auth.json", false), None);
        assert_eq!(fixed("/etc/a", false).as_deref(), Some("etc/a"));
        assert_eq!(fixed("/etc/a", true), None);
        assert_eq!(fixed("/run/**", false), None);
    }
}
