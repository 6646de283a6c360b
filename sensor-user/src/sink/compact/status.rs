//! The state of the sensor, told only when it changes for the worse, and at the end.

use jiff::tz::TimeZone;
use proto::v1::{HookState, Loss, Status};

use super::{line::Line, text};
use crate::term::Style;

/// Kinds of loss that are listed; the record has them all.
const MAX_CAUSES: usize = 6;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Health {
    lost: Vec<Loss>,
    hooks: Vec<HookState>,
}

/// A line when there is news, else nothing.
pub(super) fn line(time: u64, status: &Status, told: &mut Health, zone: &TimeZone) -> Option<Line> {
    let missing: Vec<HookState> =
        status.hooks.iter().filter(|hook| hook.state != "attached").cloned().collect();
    let worse = status.lost != told.lost && !status.lost.is_empty();
    let degraded = missing != told.hooks && !missing.is_empty();
    *told = Health { lost: status.lost.clone(), hooks: missing };
    if !(worse || degraded || status.last) {
        return None;
    }
    let mut parts = Vec::new();
    if status.last {
        parts.push(format!(
            "{} calls ({} unbound), {} flows ({} with plaintext)",
            status.calls, status.calls_unbound, status.flows, status.flows_plaintext
        ));
    }
    let lost = status.lost.iter().fold(0u64, |sum, loss| sum.saturating_add(loss.count));
    if status.last {
        parts.push(format!("events: {}{}", balance(status, lost), causes(&status.lost)));
    } else if worse {
        parts.push(format!("{lost} of {} events lost{}", status.produced, causes(&status.lost)));
    }
    if status.last && !status.skipped.is_empty() {
        parts.push(format!("skipped{}", causes(&status.skipped)));
    }
    if degraded || status.last {
        parts.extend(told.hooks.iter().map(|hook| {
            let why = if hook.reason.is_empty() {
                String::new()
            } else {
                format!(" ({})", text::field(&hook.reason))
            };
            format!(
                "{} is {}{why}: not seen are {}",
                text::field(&hook.name),
                text::known(&hook.state),
                text::field(&hook.lost)
            )
        }));
    }
    let style = if worse { Style::Warn } else { Style::Dim };
    let mut line = Line::default();
    line.word(Style::Dim, text::clock(time, zone)).word(style, parts.join("; "));
    Some(line)
}

/// What became of all events; while the sensor runs some are on their way, at the end none.
fn balance(status: &Status, lost: u64) -> String {
    let (produced, delivered) = (status.produced, status.delivered);
    let sign = if delivered.checked_add(lost) == Some(produced) { "=" } else { "≠" };
    format!("{produced} produced {sign} {delivered} delivered + {lost} lost")
}

/// ` (kind: cause 3, ...)`, the largest first.
fn causes(losses: &[Loss]) -> String {
    if losses.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<&Loss> = losses.iter().collect();
    sorted.sort_by_key(|loss| std::cmp::Reverse(loss.count));
    let mut parts: Vec<String> = sorted
        .iter()
        .take(MAX_CAUSES)
        .map(|loss| format!("{}: {} {}", text::known(&loss.kind), text::known(&loss.cause), loss.count))
        .collect();
    if sorted.len() > MAX_CAUSES {
        parts.push(format!("{} more causes", sorted.len() - MAX_CAUSES));
    }
    format!(" ({})", parts.join(", "))
}
