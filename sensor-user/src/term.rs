//! What the terminal can show: colours, its width, and text that cannot take it over.

use std::{
    borrow::Cow,
    io::{IsTerminal, stderr, stdout},
};

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`
    #[default]
    Auto,
    /// Also into pipes and files
    Always,
    /// Not at all
    Never,
}

/// One output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Colours are wanted.
    pub color: bool,
    /// Columns of the terminal; `None` when the output is not one, then nothing is cut.
    pub width: Option<usize>,
}

/// A way to print a piece of text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    #[default]
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Wrong and urgent.
    Alarm,
    /// A name to tell apart.
    Name,
}

impl Term {
    /// Plain text of any width.
    pub const PLAIN: Self = Self { color: false, width: None };

    /// Standard output.
    pub fn stdout(choice: ColorChoice) -> Self {
        let terminal = stdout().is_terminal();
        Self { color: Self::wants_color(choice, terminal), width: terminal.then(columns).flatten() }
    }

    /// Standard error.
    pub fn stderr(choice: ColorChoice) -> Self {
        Self { color: Self::wants_color(choice, stderr().is_terminal()), width: None }
    }

    /// Takes over a new width of the terminal.
    pub fn refresh(&mut self) {
        if self.width.is_some() {
            self.width = columns().or(self.width);
        }
    }

    /// `text` in `style`.
    pub fn paint<'a>(&self, style: Style, text: &'a str) -> Cow<'a, str> {
        match style.code() {
            Some(code) if self.color && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m").into(),
            _ => text.into(),
        }
    }

    fn wants_color(choice: ColorChoice, terminal: bool) -> bool {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        decide(choice, terminal, set("NO_COLOR").is_some(), set("TERM").is_some_and(|term| term == "dumb"))
    }
}

impl Style {
    fn code(self) -> Option<&'static str> {
        Some(match self {
            Self::Plain => return None,
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Alarm => "1;31",
            Self::Name => "36",
        })
    }
}

/// See <https://no-color.org>: an explicit option wins over the variable.
fn decide(choice: ColorChoice, terminal: bool, no_color: bool, dumb: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal && !no_color && !dumb,
    }
}

/// Columns of the terminal behind standard output; COLUMNS wins.
fn columns() -> Option<usize> {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let asked = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    set.or_else(asked).filter(|width| *width > 0)
}

/// `text` with at most `max_chars` characters, and without any that a terminal obeys or that reorder or
/// hide what stands beside them (control, bidirectional and zero-width characters, line separators).
pub fn escape(text: &str, max_chars: usize) -> Cow<'_, str> {
    if text.len() <= max_chars && !text.chars().any(is_unsafe) {
        return text.into();
    }
    let mut out = String::new();
    for (index, char) in text.chars().enumerate() {
        if index == max_chars {
            out.push('…');
            break;
        }
        if is_unsafe(char) { out.extend(char.escape_unicode()) } else { out.push(char) }
    }
    out.into()
}

fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that `text` takes, never too few: what may be wide counts as wide.
pub fn columns_of(text: &str) -> usize {
    text.chars().map(columns_of_char).sum()
}

/// `text` cut to `columns`, the cut marked.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if columns_of(text) <= columns {
        return text.into();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |char: &char| {
        let taken = left.checked_sub(columns_of_char(*char));
        left = taken.unwrap_or(left);
        taken.is_some()
    };
    let mut out: String = text.chars().take_while(fits).collect();
    if columns > 0 {
        out.push('…');
    }
    out.into()
}

/// The end of `text` in `columns`, the cut marked: of a path the last parts tell most.
pub fn cut_start(text: &str, columns: usize) -> Cow<'_, str> {
    if columns_of(text) <= columns {
        return text.into();
    }
    let mut left = columns.saturating_sub(1);
    let start = text.char_indices().rev().take_while(|(_, char)| {
        let taken = left.checked_sub(columns_of_char(*char));
        left = taken.unwrap_or(left);
        taken.is_some()
    });
    let at = start.last().map_or(text.len(), |(at, _)| at);
    if columns == 0 { "".into() } else { format!("…{}", text.get(at..).unwrap_or_default()).into() }
}

fn columns_of_char(char: char) -> usize {
    if matches!(char, '\0'..'\u{1100}' | '\u{2000}'..'\u{2e80}') { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_unless_asked_for() {
        let auto = |terminal, no_color, dumb| decide(ColorChoice::Auto, terminal, no_color, dumb);
        assert!(auto(true, false, false));
        assert!(!auto(false, false, false) && !auto(true, true, false) && !auto(true, false, true));
        assert!(decide(ColorChoice::Always, false, true, true));
        assert!(!decide(ColorChoice::Never, true, false, false));
    }

    #[test]
    fn a_field_cannot_send_commands_to_the_terminal() {
        assert_eq!(escape("a\x1b]0;x\x07\r\nb\u{9b}2J", 99), "a\\u{1b}]0;x\\u{7}\\u{d}\\u{a}b\\u{9b}2J");
        assert_eq!(escape("safe\u{202e}evil\u{200b}", 99), "safe\\u{202e}evil\\u{200b}");
        assert_eq!(escape("grüße 日本", 99), "grüße 日本");
    }

    #[test]
    fn long_fields_are_cut_and_the_cut_is_seen() {
        assert_eq!(escape("abcdef", 4), "abcd…");
        assert_eq!(escape("日本", 2), "日本");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut_start("abcdef", 4), "…def");
        assert_eq!(cut_start("日本語", 5), "…本語");
        assert_eq!((cut_start("abc", 3), cut_start("abc", 0)), ("abc".into(), "".into()));
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn paint_adds_nothing_to_plain_output() {
        assert_eq!(Term::PLAIN.paint(Style::Bad, "x"), "x");
        assert_eq!(Term { color: true, width: None }.paint(Style::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
