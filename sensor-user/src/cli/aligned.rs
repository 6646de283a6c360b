//! Lines of cells under each other.

use std::io::{self, Write};

use crate::term::{Style, Term, columns_of};

/// Between two columns.
const SPACE: &str = "  ";

/// Where the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Prints `lines`, each in its style, with one width and side for each column.
pub(super) fn print(
    out: &mut impl Write,
    term: Term,
    sides: &[Side],
    lines: &[(Style, Vec<String>)],
) -> io::Result<()> {
    let width =
        |at: usize| lines.iter().filter_map(|(_, cells)| cells.get(at)).map(|cell| columns_of(cell)).max();
    let widths: Vec<usize> = (0..sides.len()).map(|at| width(at).unwrap_or(0)).collect();
    for (style, cells) in lines {
        let padded = cells.iter().zip(&widths).zip(sides).map(|((cell, width), side)| {
            let padding = " ".repeat(width.saturating_sub(columns_of(cell)));
            match side {
                Side::Left => format!("{cell}{padding}"),
                Side::Right => format!("{padding}{cell}"),
            }
        });
        let line = padded.collect::<Vec<_>>().join(SPACE);
        writeln!(out, "{}", term.paint(*style, line.trim_end()))?;
    }
    Ok(())
}
