//! Keys on one side, workloads on the other, a line for each pair, as wide as it has calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Pair, Use, html::escape};
use crate::term::{cut, cut_start};

/// Most names on a side; the ones with the fewest calls are left out and told.
const MAX_NAMES: usize = 24;
const WIDTH: usize = 960;
const ROW: usize = 34;
const BOX_HEIGHT: usize = 24;
const BOX_WIDTH: usize = 330;
/// Characters that fit into a box.
const BOX_CHARS: usize = 48;
/// Widest line.
const WIDEST: u64 = 14;

/// The picture as an SVG element.
pub(super) fn svg(uses: &BTreeMap<Pair, Use>) -> String {
    let (keys, more_keys) = names(uses, |pair| &pair.key);
    let (workloads, more_workloads) = names(uses, |pair| &pair.workload);
    let rows = keys.len().max(workloads.len());
    let height = rows * ROW + ROW;
    let most = uses.values().map(|used| used.calls).max().unwrap_or(1).max(1);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n");
    let left = |index: usize, of: usize| (rows - of) * ROW / 2 + index * ROW + ROW / 2 + BOX_HEIGHT / 2;
    for (pair, used) in uses {
        let from = keys.iter().position(|key| *key == pair.key);
        let to = workloads.iter().position(|workload| *workload == pair.workload);
        let (Some(from), Some(to)) = (from, to) else { continue };
        let (y1, y2) = (left(from, keys.len()), left(to, workloads.len()));
        let (x1, x2) = (BOX_WIDTH, WIDTH - BOX_WIDTH);
        let middle = WIDTH / 2;
        let wide = 1 + used.calls.saturating_mul(WIDEST - 1) / most;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "<path d=\"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}\" stroke-width=\"{wide}\"><title>{} → {}: {} calls, {} tokens</title></path>",
            escape(&pair.key),
            escape(&pair.workload),
            used.calls,
            used.tokens
        );
    }
    for (index, key) in keys.iter().enumerate() {
        name(&mut out, 0, left(index, keys.len()), &cut(key, BOX_CHARS), key);
    }
    for (index, workload) in workloads.iter().enumerate() {
        let x = WIDTH - BOX_WIDTH;
        name(&mut out, x, left(index, workloads.len()), &cut_start(workload, BOX_CHARS), workload);
    }
    out.push_str("</svg>");
    if more_keys + more_workloads > 0 {
        let _ = write!(
            out,
            "\n<p>{more_keys} keys and {more_workloads} workloads with fewer calls are not drawn.</p>"
        );
    }
    out
}

/// The names with the most calls in alphabetical order, and how many others there are.
fn names(uses: &BTreeMap<Pair, Use>, of: impl Fn(&Pair) -> &String) -> (Vec<String>, usize) {
    let mut calls: BTreeMap<&String, u64> = BTreeMap::new();
    for (pair, used) in uses {
        let sum = calls.entry(of(pair)).or_default();
        *sum = sum.saturating_add(used.calls);
    }
    let mut sorted: Vec<(&String, u64)> = calls.into_iter().collect();
    sorted.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    let more = sorted.len().saturating_sub(MAX_NAMES);
    let kept: BTreeSet<String> = sorted.into_iter().take(MAX_NAMES).map(|(name, _)| name.clone()).collect();
    (kept.into_iter().collect(), more)
}

fn name(out: &mut String, x: usize, middle: usize, shown: &str, whole: &str) {
    let top = middle - BOX_HEIGHT / 2;
    let _ = writeln!(
        out,
        "<g><title>{}</title><rect x=\"{x}\" y=\"{top}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"4\"/><text x=\"{}\" y=\"{}\">{}</text></g>",
        escape(whole),
        x + 8,
        middle + 4,
        escape(shown)
    );
}
