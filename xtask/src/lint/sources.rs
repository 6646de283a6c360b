//! Rules about source files: size, unsafe code, users of aya.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Lines after which a file is worth another thought.
const LONG_LINES: usize = 400;
/// Folders, from the root, where unsafe code may stand.
const UNSAFE_PLACES: [&str; 2] = ["sensor-ebpf/", "sensor-user/src/bpf/"];
/// Folders, from the root, that may name aya.
const AYA_PLACES: [&str; 2] = ["sensor-ebpf/", "sensor-user/src/bpf/"];
/// Folders that hold no source of ours.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// A Rust file: its path from the root, and its text.
pub(super) struct Source {
    path: String,
    text: String,
}

/// Every Rust file below the root.
pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                files.push(Source { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Files that are longer than [`LONG_LINES`], with their number of lines.
pub(super) fn long(files: &[Source]) -> impl Iterator<Item = (&str, usize)> {
    files
        .iter()
        .map(|file| (file.path.as_str(), file.text.lines().count()))
        .filter(|(_, lines)| *lines > LONG_LINES)
}

/// One line for each use of unsafe code outside its places.
pub(super) fn unsafe_code(files: &[Source]) -> Vec<String> {
    outside(files, &UNSAFE_PLACES, |code| has_word(code, "unsafe"), "unsafe code")
}

/// One line for each use of aya outside its places.
pub(super) fn aya_users(files: &[Source]) -> Vec<String> {
    outside(files, &AYA_PLACES, names_aya, "a use of aya")
}

fn outside(files: &[Source], places: &[&str], found: impl Fn(&str) -> bool, what: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files.iter().filter(|file| !places.iter().any(|place| file.path.starts_with(place))) {
        for (number, line) in file.text.lines().enumerate() {
            if found(&code(line)) {
                lines.push(format!("{}:{}: {what} outside {}", file.path, number + 1, places.join(", ")));
            }
        }
    }
    lines
}

/// A line without its comment and the contents of its strings.
fn code(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut letters = line.chars().peekable();
    let mut inside = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if inside => {
                letters.next();
            }
            '"' => inside = !inside,
            '/' if !inside && letters.peek() == Some(&'/') => break,
            _ if !inside => code.push(letter),
            _ => {}
        }
    }
    code
}

/// Whether a whole word occurs; `unsafe_code` is another word than `unsafe`.
fn has_word(code: &str, word: &str) -> bool {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|one| one == word)
}

fn names_aya(code: &str) -> bool {
    ["aya", "aya_log", "aya_obj"].iter().any(|krate| has_word(code, krate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn unsafe_outside_its_places_is_found_with_its_line() {
        let files = [
            file("attribution/src/a.rs", "fn a() {\n    unsafe { b() }\n}\n"),
            file("sensor-user/src/bpf/load.rs", "unsafe { b() }\n"),
        ];
        let found = unsafe_code(&files);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("attribution/src/a.rs:2:"), "{found:?}");
    }

    #[test]
    fn comments_strings_and_lint_names_are_no_unsafe_code() {
        let text = "#![forbid(unsafe_code)]\n// unsafe\nlet a = \"unsafe \\\" unsafe\"; // unsafe\n#![deny(unsafe_op_in_unsafe_fn)]\n";
        assert!(unsafe_code(&[file("a.rs", text)]).is_empty());
    }

    #[test]
    fn aya_is_named_only_in_its_places() {
        let files = [
            file("sensor-user/src/main.rs", "use aya::Ebpf;\n"),
            file("sensor-user/src/bpf/mod.rs", "use aya::Ebpf;\n"),
        ];
        assert_eq!(aya_users(&files).len(), 1);
    }

    #[test]
    fn only_files_over_the_limit_are_long() {
        let files = [file("a.rs", &"x\n".repeat(LONG_LINES)), file("b.rs", &"x\n".repeat(LONG_LINES + 1))];
        assert_eq!(long(&files).collect::<Vec<_>>(), [("b.rs", LONG_LINES + 1)]);
    }

    #[test]
    fn sources_of_this_workspace_are_read() {
        let files = read(crate::workspace::root()).unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/lint/sources.rs"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/")));
    }
}
