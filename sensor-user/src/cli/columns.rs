//! Rows as an aligned table, as Markdown, or as CSV.

use std::io::{self, Write};

use super::sheet::quoted;
use crate::term::{Style, Term, columns_of, escape};

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
        Form::Table => aligned(out, term, titles, &rows),
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

fn aligned(out: &mut impl Write, term: Term, titles: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| columns_of(cell));
        cells.chain(titles.get(column).map(|title| columns_of(title))).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            line += cell;
            line += &" ".repeat(width.saturating_sub(columns_of(cell)) + 2);
        }
        line.trim_end().to_owned()
    };
    writeln!(out, "{}", term.paint(Style::Dim, &line(titles.to_vec())))?;
    for row in rows {
        writeln!(out, "{}", line(row.iter().map(String::as_str).collect()))?;
    }
    Ok(())
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
