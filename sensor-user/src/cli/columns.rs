//! Rows as an aligned table, as Markdown, or as CSV.

use std::io::{self, Write};

use super::{
    aligned::{self, Side},
    sheet::quoted,
};
use crate::term::{Style, Term, escape};

/// Longest cell, in characters.
const MAX_CHARS: usize = 400;

/// How rows are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// Aligned columns
    #[default]
    Table,
    /// A Markdown table
    Markdown,
    /// Comma-separated values (RFC 4180)
    Csv,
}

/// Prints `rows` under `titles`.
pub(super) fn print(
    out: &mut impl Write,
    term: Term,
    form: Form,
    titles: &[&str],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let clean = |cell: &String| escape(cell, MAX_CHARS).into_owned();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(clean).collect()).collect();
    match form {
        Form::Table => {
            let titles: Vec<String> = titles.iter().map(|&title| title.to_owned()).collect();
            let sides = vec![Side::Left; titles.len()];
            let lines = rows.into_iter().map(|row| (Style::Plain, row));
            let lines: Vec<_> = [(Style::Dim, titles)].into_iter().chain(lines).collect();
            aligned::print(out, term, &sides, &lines)
        }
        Form::Markdown => {
            writeln!(out, "| {} |", titles.join(" | "))?;
            writeln!(out, "|{}", " --- |".repeat(titles.len()))?;
            for row in &rows {
                let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
                writeln!(out, "| {} |", cells.join(" | "))?;
            }
            Ok(())
        }
        Form::Csv => {
            writeln!(out, "{}", titles.join(","))?;
            for row in &rows {
                let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
                writeln!(out, "{}", cells.join(","))?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(form: Form) -> String {
        let mut out = Vec::new();
        let rows = vec![
            vec!["a|b".to_owned(), "=1+1".into()],
            vec!["long cell, \"quoted\"".into(), "\u{1b}[2J".into()],
        ];
        print(&mut out, Term::PLAIN, form, &["ONE", "TWO"], &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form_holds_its_cells_apart() {
        assert_eq!(
            printed(Form::Table),
            "ONE                  TWO\na|b                  =1+1\nlong cell, \"quoted\"  \\u{1b}[2J\n"
        );
        assert_eq!(
            printed(Form::Markdown),
            "| ONE | TWO |\n| --- | --- |\n| a\\|b | =1+1 |\n| long cell, \"quoted\" | \\u{1b}[2J |\n"
        );
        assert_eq!(printed(Form::Csv), "ONE,TWO\na|b,'=1+1\n\"long cell, \"\"quoted\"\"\",\\u{1b}[2J\n");
    }
}
