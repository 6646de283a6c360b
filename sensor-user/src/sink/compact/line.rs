//! A line under construction: pieces of text with a style each, aligned and cut by what is visible.

use crate::term::{Style, Term, columns_of, cut};

/// One line. Its texts hold no control characters: they come from [`super::text`].
#[derive(Debug, Default)]
pub(crate) struct Line(Vec<(Style, String)>);

impl Line {
    /// Adds `text`, after a space unless it is the first.
    pub(crate) fn word(&mut self, style: Style, text: impl Into<String>) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push((Style::Plain, " ".to_owned()));
        }
        self.0.push((style, text.into()));
        self
    }

    /// Adds `text` as a word that takes at least `columns`.
    pub(crate) fn cell(&mut self, style: Style, text: impl Into<String>, columns: usize) -> &mut Self {
        let text = text.into();
        let missing = columns.saturating_sub(columns_of(&text));
        self.word(style, text);
        self.0.push((Style::Plain, " ".repeat(missing)));
        self
    }

    /// The text as `term` shows it, within its width.
    pub(crate) fn render(&self, term: &Term) -> String {
        let mut out = String::new();
        let mut left = term.width.unwrap_or(usize::MAX);
        for (style, text) in &self.0 {
            let shown = cut(text, left);
            out.push_str(&term.paint(*style, &shown));
            left = left.saturating_sub(columns_of(&shown));
            if shown != *text {
                break;
            }
        }
        // Only padding at the end has no style of its own, so this cuts no colour code.
        out.truncate(out.trim_end_matches(' ').len());
        out
    }
}
