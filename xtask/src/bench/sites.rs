//! Probe sites: what the places that the sensor chooses cost a TLS server, against the entries of the library's exported
//! functions, which is where tracing tools attach. The same counting program is at both, so only the place differs.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Bench;
use super::nginx::Nginx;
use super::observer::Variant;
use super::rows::Rows;
use super::tls;
use crate::shell::text;
use crate::workspace;

/// Where tools attach.
const ENTRIES: [&str; 4] = ["SSL_write", "SSL_read", "SSL_write_ex", "SSL_read_ex"];

/// Runs the measurement and prints its table.
pub(super) fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let nginx = Nginx::start(&bench.interrupt)?;
    let library = nginx.tls_library()?;
    let chosen = chosen(&library)?;
    let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
    let variants = [
        Variant::none(),
        Variant { name: "entries".into(), command: Some(program(&library, &ENTRIES)) },
        Variant { name: "chosen sites".into(), command: Some(program(&library, &chosen)) },
    ];
    tls::compare(bench, &nginx, "sites", &variants, rows)
}

/// Counts calls and returns at `places`, names or offsets, of a file.
fn program(library: &str, places: &[&str]) -> String {
    let probe = |place: &&str| format!("uprobe:{library}:{place}, uretprobe:{library}:{place}");
    let probes = places.iter().map(probe).collect::<Vec<_>>().join(", ");
    format!("exec bpftrace --unsafe -e '{probes} {{ @calls = count(); }}'")
}

/// Offsets of the sites in a file, from the sensor itself.
fn chosen(library: &str) -> Result<Vec<String>> {
    let built = [true, false].map(|release| workspace::executable("keywitness", release));
    let sensor = built.iter().find(|file| file.is_file()).context("the sensor is not built")?;
    let report = text(Command::new(sensor).args(["doctor", "--json", "--binary", library]))?;
    sites(&serde_json::from_str(&report)?).with_context(|| format!("no sites in {library}"))
}

fn sites(report: &Value) -> Option<Vec<String>> {
    let site = |function: &Value| Some(format!("{:#x}", function["offset"].as_u64()?));
    let all: Option<Vec<_>> = report["functions"].as_array()?.iter().map(site).collect();
    all.filter(|sites| !sites.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_counts_calls_and_returns_at_each_place() {
        let text = program("/l", &["0x10", "f"]);
        assert!(text.contains("uprobe:/l:0x10, uretprobe:/l:0x10, uprobe:/l:f, uretprobe:/l:f {"), "{text}");
    }

    #[test]
    fn sites_are_the_offsets_that_the_sensor_names() {
        let report = serde_json::json!({"functions": [{"offset": 16}, {"offset": 255}]});
        assert_eq!(sites(&report).unwrap(), ["0x10", "0xff"]);
        assert_eq!(sites(&serde_json::json!({"functions": []})), None);
    }
}
