//! `keywitness doctor --binary`: how the plaintext of one executable or library would be read, or why not.

use std::{fs::File, io::Write, path::Path, process::ExitCode};

use locate::{Elf, Function, Role};
use serde::Serialize;

use super::linked::{libraries, started};
use crate::{
    cli::report::Refused,
    term::{Style, Term, escape},
    tls::files::{OpenFile, read_whole},
};

/// Longest path printed, in characters.
const MAX_CHARS: usize = 4096;
/// Why a file is not read.
const NOTHING: &str = "no TLS function of a known library is in this file or in a library that it names; one that a program \
    loads while it runs, as Python does, is looked for when it calls: name that library to see how";

/// One file.
#[derive(Debug, Default, Serialize)]
struct Report {
    file: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_script: bool,
    build_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug_link: Option<String>,
    functions: Vec<Row>,
    /// Files with TLS functions that run with it: libraries, and what a script starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    with: Vec<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Row {
    direction: &'static str,
    library: &'static str,
    method: &'static str,
    /// Byte offset in the file.
    offset: u64,
    /// Return instructions to be probed; 0 when a return probe is safe.
    returns: usize,
}

impl From<&Function> for Row {
    fn from(function: &Function) -> Self {
        Self {
            direction: match function.role {
                Role::Read => "read",
                Role::Write => "write",
                Role::Both => "both",
            },
            library: function.library.name(),
            method: function.method.name(),
            offset: function.entry,
            returns: function.returns.len(),
        }
    }
}

pub(super) fn run(path: &Path, json: bool, term: Term) -> anyhow::Result<ExitCode> {
    let report = examine(path)?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        print(&report, term, &mut out)?;
    }
    out.flush()?;
    Ok(if report.reason.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn examine(path: &Path) -> anyhow::Result<Report> {
    let mut report = match started(path) {
        Some(started) => {
            let with = started.iter().filter_map(|one| examine(one).ok()).filter(Report::is_read).collect();
            Report { file: path.display().to_string(), is_script: true, with, ..Report::default() }
        }
        None => {
            let with = libraries(path).into_iter().filter_map(|one| alone(&one).ok()).filter(Report::is_read);
            Report { with: with.collect(), ..alone(path)? }
        }
    };
    report.reason = (!report.is_read()).then_some(NOTHING);
    Ok(report)
}

/// One file, without what runs with it.
fn alone(path: &Path) -> anyhow::Result<Report> {
    let name = path.display().to_string();
    let refused = |error: &dyn std::fmt::Display| {
        Refused::new(format!("{name}: {error}"), "name an executable, a script or a library")
    };
    let file = File::open(path).map_err(|error| refused(&error))?;
    let bytes = OpenFile(&file);
    let elf = Elf::parse(&bytes).map_err(|error| refused(&error))?;
    let functions = read_whole(&elf).map_err(|error| refused(&error))?;
    Ok(Report {
        build_id: elf.build_id(),
        debug_link: elf.debug_link(),
        functions: functions.iter().map(Row::from).collect(),
        file: name,
        ..Report::default()
    })
}

impl Report {
    fn is_read(&self) -> bool {
        !self.functions.is_empty() || !self.with.is_empty()
    }
}

fn print(report: &Report, term: Term, out: &mut impl Write) -> std::io::Result<()> {
    print_file(report, term, out)?;
    match report.reason {
        Some(reason) => writeln!(out, "{}", term.paint(Style::Warn, &format!("not read: {reason}"))),
        None => {
            writeln!(out, "{}", term.paint(Style::Good, "read: requests, answers and credentials are seen"))
        }
    }
}

/// What is known of a file, then of what runs with it.
fn print_file(report: &Report, term: Term, out: &mut impl Write) -> std::io::Result<()> {
    let shown =
        |text: &str| if text.is_empty() { "none".to_owned() } else { escape(text, MAX_CHARS).to_string() };
    writeln!(out, "file        {}", shown(&report.file))?;
    match report.is_script {
        true => writeln!(out, "            a script")?,
        false => writeln!(out, "build id    {}", shown(&report.build_id))?,
    }
    if let Some(link) = &report.debug_link {
        writeln!(out, "debug file  {}", shown(link))?;
    }
    writeln!(out)?;
    if !report.functions.is_empty() {
        let title = format!("{:5}  {:9}  {:15}  {:>12}  RETURN", "CALL", "LIBRARY", "FOUND BY", "OFFSET");
        writeln!(out, "{}", term.paint(Style::Dim, &title))?;
    }
    for row in &report.functions {
        let (offset, returns) = (format!("{:#x}", row.offset), row.returns);
        let back = if returns == 0 { "return probe".to_owned() } else { format!("{returns} instructions") };
        let Row { direction, library, method, .. } = row;
        writeln!(out, "{direction:5}  {library:9}  {method:15}  {offset:>12}  {back}")?;
    }
    if !report.functions.is_empty() {
        writeln!(out)?;
    }
    report.with.iter().try_for_each(|one| print_file(one, term, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_executable_is_refused_and_what_has_no_tls_is_told() {
        assert!(examine(Path::new("/proc/self/status")).is_err());
        let own = examine(Path::new("/bin/true")).unwrap();
        assert_eq!(own.reason, Some(NOTHING));
        let mut out = Vec::new();
        print(&own, Term::PLAIN, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("not read: no TLS function"));
    }

    #[test]
    fn functions_are_listed_with_their_way_of_finding() {
        let function = Function {
            entry: 0x1000,
            returns: vec![1, 2],
            role: Role::Read,
            count: locate::Count::Returned,
            abi: locate::Abi::Go,
            library: locate::Library::Go,
            method: locate::Method::GoTable,
        };
        let report =
            Report { file: "a\x1b".into(), functions: vec![Row::from(&function)], ..Report::default() };
        let mut out = Vec::new();
        print(&report, Term::PLAIN, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("read   go         go_table               0x1000  2 instructions"), "{text}");
        assert!(text.contains("a\\u{1b}"), "{text}");
    }
}
