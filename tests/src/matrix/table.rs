//! Outcomes as a table.

use super::{Expected, Outcome};

/// Head of the document.
const HEAD: &str = "# Clients that were tried

Written by `cargo xtask matrix`, which runs each client against a local endpoint that answers like the providers, on the
real kernel, and holds every record against what the endpoint received: process, key, model, tokens, status and flow.
*Read* is the library and how its functions were found; the AEAD layer (`aes_gcm`,
`chacha20_poly1305`) reads below the TLS library.
*First* are the calls of an executable that the sensor had never seen: a large one is still being read then.

";

const COLUMNS: [&str; 8] = ["client", "version", "TLS", "HTTP", "layer", "read", "right", "first"];

impl Outcome {
    fn cells(&self) -> [String; 8] {
        let Self { row, version, http, told, right, first, complaint } = self;
        let layer = match row.expected {
            Expected::Read(method) if method.ends_with("aead_constants") => "AEAD",
            Expected::Read(_) => "library",
            Expected::Packets => "packets",
            Expected::Flow(_) => "flow only",
        };
        let share = |(right, of): (usize, usize)| format!("{right} of {of}");
        let right = match row.expected {
            _ if complaint.starts_with("not run") => "not run".to_owned(),
            _ if !complaint.is_empty() => format!("{}, **wrong**", share(*right)),
            Expected::Read(_) | Expected::Packets => share(*right),
            Expected::Flow(_) => "as documented".to_owned(),
        };
        let first = match row.expected {
            Expected::Read(_) | Expected::Packets => share(*first),
            Expected::Flow(_) => String::new(),
        };
        let http = http.replace("HTTP/", "").replace(".0", "");
        [row.name.into(), version.clone(), row.stack.into(), http, layer.into(), told.clone(), right, first]
    }
}

/// The table for a terminal.
pub fn terminal(outcomes: &[Outcome]) -> String {
    let lines: Vec<_> =
        [COLUMNS.map(str::to_owned)].into_iter().chain(outcomes.iter().map(Outcome::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |cells: &[String; 8]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

/// The document, in Markdown. `machine` says what it was run on.
pub fn document(outcomes: &[Outcome], machine: &str) -> String {
    let line = |cells: [String; 8]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("{HEAD}{machine}\n\n");
    text += &line(COLUMNS.map(str::to_owned));
    text += &line(COLUMNS.map(|_| "---".to_owned()));
    text.extend(outcomes.iter().map(|outcome| line(outcome.cells())));
    text
}
