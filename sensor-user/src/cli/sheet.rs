//! Rows for people, for programs and for spreadsheets: one form for every verb that sums up records.

use std::io::{self, Write};

use clap::ValueEnum;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value};

use super::aligned::{self, Side};
use crate::term::{Style, Term, cut, escape};

/// Most columns that one cell of a table takes on a terminal; JSON and CSV cut nothing.
const MAX_COLUMNS: usize = 60;
/// Longest text of a cell, in characters.
const MAX_CHARS: usize = 4096;
/// Names of a list that a table shows.
const MAX_LISTED: usize = 3;
/// What a table shows for the unknown.
const ABSENT: &str = "-";

/// How rows are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// Aligned columns with a line of totals
    #[default]
    Table,
    /// One JSON object per line
    Json,
    /// Comma-separated values with a header (RFC 4180)
    Csv,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// Not known: absent in JSON, empty in CSV.
    Absent,
    Text(String),
    Number(u64),
    /// A decimal number that must not be rounded, as text.
    Decimal(String),
    /// Nanoseconds since the epoch.
    Time(u64),
    /// Names, and how many more there are.
    List(Vec<String>, u64),
    Flag(bool),
}

/// A name for programs; the title of a table is the same in capitals.
pub(super) struct Sheet {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    total: Option<Vec<Cell>>,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        if text.is_empty() { Self::Absent } else { Self::Text(text.to_owned()) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Option<u64>> for Cell {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Absent, Self::Number)
    }
}

impl Cell {
    /// A decimal number; absent when the text is empty.
    pub(super) fn decimal(text: String) -> Self {
        if text.is_empty() { Self::Absent } else { Self::Decimal(text) }
    }

    /// A time; absent when it is 0.
    pub(super) fn time(time: u64) -> Self {
        if time == 0 { Self::Absent } else { Self::Time(time) }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Decimal(_))
    }

    fn shown(&self, zone: &TimeZone) -> String {
        match self {
            Self::Absent => ABSENT.to_owned(),
            Self::Text(text) | Self::Decimal(text) => escape(text, MAX_CHARS).into_owned(),
            Self::Number(number) => number.to_string(),
            Self::Time(time) => match Timestamp::from_nanosecond((*time).into()) {
                Ok(stamp) => stamp.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
                Err(_) => ABSENT.to_owned(),
            },
            Self::List(names, _) if names.is_empty() => ABSENT.to_owned(),
            Self::List(names, more) => {
                let listed: Vec<_> =
                    names.iter().take(MAX_LISTED).map(|name| escape(name, MAX_CHARS)).collect();
                let more = more.saturating_add(names.len().saturating_sub(MAX_LISTED) as u64);
                let rest = if more > 0 { format!(" +{more}") } else { String::new() };
                format!("{}{rest}", listed.join(", "))
            }
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        }
    }

    fn json(&self) -> Option<Value> {
        Some(match self {
            Self::Absent => return None,
            Self::Text(text) | Self::Decimal(text) => Value::from(text.as_str()),
            Self::Number(number) => Value::from(*number),
            Self::Time(time) => Value::from(Timestamp::from_nanosecond((*time).into()).ok()?.to_string()),
            Self::List(names, _) => Value::from(names.clone()),
            Self::Flag(flag) => Value::from(*flag),
        })
    }

    fn csv(&self) -> String {
        match self {
            Self::List(names, _) => names.join(" "),
            other => match other.json() {
                None => String::new(),
                Some(Value::String(text)) => text,
                Some(value) => value.to_string(),
            },
        }
    }
}

impl Sheet {
    pub(super) fn new(columns: impl Into<Vec<&'static str>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new(), total: None }
    }

    /// Adds a row: one cell for each column.
    pub(super) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    /// Sets the line below the rows of a table, which other forms leave out: they can sum up themselves.
    pub(super) fn total(&mut self, cells: impl Into<Vec<Cell>>) {
        self.total = Some(cells.into());
    }

    pub(super) fn write(&self, form: Form, term: Term, out: &mut impl Write) -> io::Result<()> {
        match form {
            Form::Table => self.table(term, &TimeZone::system(), out),
            Form::Json => self.json(out),
            Form::Csv => self.csv(out),
        }
    }

    fn table(&self, term: Term, zone: &TimeZone, out: &mut impl Write) -> io::Result<()> {
        let limit = if term.width.is_some() { MAX_COLUMNS } else { usize::MAX };
        let text = |cells: &Vec<Cell>| -> Vec<String> {
            cells.iter().map(|cell| cut(&cell.shown(zone), limit).into_owned()).collect()
        };
        let titles: Vec<String> =
            self.columns.iter().map(|name| name.replace('_', " ").to_uppercase()).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(text).collect();
        let total = self.total.as_ref().map(|cells| {
            let blank =
                |(cell, text): (&Cell, String)| if *cell == Cell::Absent { String::new() } else { text };
            cells.iter().zip(text(cells)).map(blank).collect::<Vec<_>>()
        });
        let side = |at: usize| {
            let mut cells = self.rows.iter().chain(&self.total).filter_map(|row| row.get(at));
            if cells.any(Cell::is_number) { Side::Right } else { Side::Left }
        };
        let sides: Vec<Side> = (0..titles.len()).map(side).collect();
        let mut lines = vec![(Style::Dim, titles)];
        lines.extend(rows.into_iter().map(|row| (Style::Plain, row)));
        lines.extend(total.map(|total| (Style::Bold, total)));
        aligned::print(out, term, &sides, &lines)
    }

    fn json(&self, out: &mut impl Write) -> io::Result<()> {
        for row in &self.rows {
            let named = self.columns.iter().zip(row);
            let object: Map<String, Value> =
                named.filter_map(|(name, cell)| Some(((*name).to_owned(), cell.json()?))).collect();
            writeln!(out, "{}", Value::Object(object))?;
        }
        Ok(())
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.columns.join(","))?;
        for row in &self.rows {
            let fields: Vec<String> = row.iter().map(|cell| quoted(&cell.csv())).collect();
            writeln!(out, "{}", fields.join(","))?;
        }
        Ok(())
    }
}

/// A field of CSV. What a spreadsheet would take for a formula is made text.
pub(super) fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new(["name", "cost_usd", "calls", "used_by", "last_seen"]);
        let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        sheet.row([
            "one, \"two\"".into(),
            Cell::decimal("0.5".into()),
            12.into(),
            Cell::List(names, 2),
            Cell::time(1_700_000_000_000_000_000),
        ]);
        sheet.row([
            "=x\x1b[2J".into(),
            Cell::decimal(String::new()),
            3.into(),
            Cell::List(vec![], 0),
            Cell::time(0),
        ]);
        sheet.total(["total".into(), Cell::decimal("0.5".into()), 15.into(), Cell::Absent, Cell::Absent]);
        sheet
    }

    fn shown(form: Form, term: Term) -> String {
        let mut out = Vec::new();
        match form {
            Form::Table => sheet().table(term, &TimeZone::UTC, &mut out).unwrap(),
            form => sheet().write(form, term, &mut out).unwrap(),
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_aligned_and_numbers_stand_on_the_right() {
        let expected = "\
NAME         COST USD  CALLS  USED BY     LAST SEEN
one, \"two\"        0.5     12  a, b, c +3  2023-11-14 22:13:20
=x\\u{1b}[2J         -      3  -           -
total             0.5     15
";
        assert_eq!(shown(Form::Table, Term::PLAIN), expected);
        let coloured = shown(Form::Table, Term { color: true, width: Some(80) });
        assert!(coloured.starts_with("\x1b[2mNAME") && coloured.ends_with("\x1b[0m\n"), "{coloured:?}");
    }

    #[test]
    fn json_leaves_out_what_is_absent_and_totals() {
        let text = shown(Form::Json, Term::PLAIN);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["cost_usd"], "0.5");
        assert_eq!(lines[0]["used_by"].as_array().unwrap().len(), 4);
        assert_eq!(lines[0]["last_seen"], "2023-11-14T22:13:20Z");
        assert!(lines[1].get("cost_usd").is_none() && lines[1].get("last_seen").is_none());
    }

    #[test]
    fn csv_is_quoted_and_holds_no_formula() {
        let text = shown(Form::Csv, Term::PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "name,cost_usd,calls,used_by,last_seen");
        assert_eq!(lines[1], "\"one, \"\"two\"\"\",0.5,12,a b c d,2023-11-14T22:13:20Z");
        assert!(lines[2].starts_with("'=x"), "{}", lines[2]);
    }
}
