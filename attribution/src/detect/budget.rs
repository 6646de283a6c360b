//! `budget`: more tokens, money or calls than a limit allows, or soon.

use super::check::{At, Check, Cx, Draft, dollars, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::buckets::{Amount, DAY_NS, period};
use super::state::credential::{Cred, Use};
use super::state::principal::Principal;
use super::state::session::Session;
use super::state::span::Span;
use crate::policy::{Limit, Period, any, date};

pub(super) const RULE: Rule = Rule {
    name: "budget",
    severity: Severity::Low,
    meaning: "An entitlement, principal or session used more tokens, money or calls than its budget (high), nearly \
              so (medium), or will have by the end of the day or month if it goes on like this (low).",
    silent: "Without budgets in the policy, and for use that reports neither tokens nor cost.",
    next_step: "find out what the use is for; raise the budget, or stop the caller",
    params: &[
        Param {
            name: "warn_percent",
            default: 80,
            meaning: "part of a budget from which on it is nearly used up",
        },
        Param {
            name: "forecast_percent",
            default: 25,
            meaning: "part of the period before which nothing is forecast",
        },
    ],
    checks: &[Check::All(entitlements), Check::Principal(principal), Check::Session(session)],
};

/// How much of a limit is used.
struct Part {
    used: f64,
    text: String,
}

fn entitlements(cx: &Cx<'_>, at: At<'_>, out: &mut Vec<Draft>) {
    for one in &cx.policy.entitlements {
        for limit in one.budget.iter().filter(|limit| limit.per != Period::Session) {
            let keys: Vec<(&str, &Cred)> = one
                .fingerprints
                .iter()
                .filter_map(|name| cx.state.credentials.get(name).map(|known| (name.as_str(), known)))
                .collect();
            let uses = || keys.iter().flat_map(|(_, known)| known.uses.values());
            let (from, name) = start(cx.now, limit.per);
            let used = Amount::sum(uses().map(|one| one.days.since(from)));
            let Some((severity, text)) = judge(cx.now, at, limit, used) else { continue };
            let users: Vec<&Use> = uses().filter(|one| one.days.since(from) != Amount::default()).collect();
            let Some(key) = keys.first() else { continue };
            let mut draft = cx.about_key(at, format!("{} {name}", one.label), *key, &users);
            (draft.severity, draft.title) = (severity, format!("Key `{}`: {text}", one.label));
            draft.span.first = draft.span.first.max(u64::from(from) * DAY_NS);
            draft.span.count = used.calls;
            out.push(draft);
        }
    }
}

fn principal(cx: &Cx<'_>, at: At<'_>, place: &str, known: &Principal, out: &mut Vec<Draft>) {
    for budget in cx.policy.budgets.iter().filter(|one| one.limit.per != Period::Session) {
        if !any(&budget.workloads, place) {
            continue;
        }
        let (from, name) = start(cx.now, budget.limit.per);
        let used = known.days.since(from);
        let Some((severity, text)) = judge(cx.now, at, &budget.limit, used) else { continue };
        out.push(Draft {
            subject: format!("{} {place} {name}", budget.label),
            severity,
            title: format!("{}: {text} (budget `{}`)", who_name(place, &known.sample), budget.label),
            credential: None,
            participants: vec![cx.itself(place, known)],
            span: Span {
                first: known.span.first.max(u64::from(from) * DAY_NS),
                last: known.span.last,
                count: used.calls,
            },
        });
    }
}

fn session(cx: &Cx<'_>, at: At<'_>, name: &str, known: &Session, out: &mut Vec<Draft>) {
    // A process tree is no session: it may live for months.
    if !known.told || !cx.is_recent(known.span.last, DAY_NS) {
        return;
    }
    let by_key = known.keys.values().filter_map(|key| cx.policy.entitlement(key));
    let limits = by_key.flat_map(|one| one.budget.iter().map(|limit| (one.label.as_str(), limit)));
    let by_place = cx.policy.budgets.iter().filter(|one| any(&one.workloads, &known.place));
    for (label, limit) in limits.chain(by_place.map(|one| (one.label.as_str(), &one.limit))) {
        if limit.per != Period::Session {
            continue;
        }
        let Some((severity, text)) = judge(cx.now, at, limit, known.used) else { continue };
        let who = who_name(&known.place, &known.sample);
        out.push(Draft {
            subject: format!("{label} {name}"),
            severity,
            title: format!("Session {name} of {who}: {text} (budget `{label}`)"),
            credential: None,
            participants: vec![cx.named(&known.place, &known.sample, &known.evidence, &known.span)],
            span: known.span,
        });
    }
}

/// Severity and sentence; nothing while all is well.
fn judge(now: u64, at: At<'_>, limit: &Limit, used: Amount) -> Option<(Severity, String)> {
    let parts = [
        limit.tokens.map(|most| Part {
            used: used.tokens as f64 / most as f64,
            text: format!("{} of {most} tokens", used.tokens),
        }),
        limit.nanos.map(|most| Part {
            used: used.nanos as f64 / most as f64,
            text: format!("{} of {}", dollars(used.nanos), dollars(most)),
        }),
        limit.calls.map(|most| Part {
            used: used.calls as f64 / most as f64,
            text: format!("{} of {most} calls", used.calls),
        }),
    ];
    let worst = parts.into_iter().flatten().max_by(|one, other| one.used.total_cmp(&other.used))?;
    let passed = passed(now, limit.per);
    let forecast = passed.filter(|part| *part * 100.0 >= at.get("forecast_percent") as f64);
    let forecast = forecast.map(|part| worst.used / part);
    let per = match limit.per {
        Period::Session => "in the session",
        Period::Day => "today",
        Period::Month => "this month",
    };
    let ahead = match forecast {
        Some(end) if end >= 1.0 => format!("; at this rate {:.0} % by the end", end * 100.0),
        _ => String::new(),
    };
    let severity = match worst.used {
        used if used >= 1.0 => Severity::High,
        used if used * 100.0 >= at.get("warn_percent") as f64 => Severity::Medium,
        _ if !ahead.is_empty() => Severity::Low,
        _ => return None,
    };
    let percent = worst.used * 100.0;
    let ahead = if severity == Severity::High { "" } else { ahead.as_str() };
    Some((severity, format!("{} {per} used ({percent:.0} %){ahead}", worst.text)))
}

/// First day of the period that `now` lies in, and its name.
fn start(now: u64, per: Period) -> (u32, String) {
    let day = period(now, DAY_NS);
    let (year, month, _) = date::civil(i64::from(day));
    match per {
        Period::Month => {
            let first = u32::try_from(date::days(year, month, 1)).unwrap_or(0);
            (first, format!("{year:04}-{month:02}"))
        }
        _ => (day, date::day_text(now)),
    }
}

/// How much of the period has passed, 0 to 1.
fn passed(now: u64, per: Period) -> Option<f64> {
    let (first, _) = start(now, per);
    let days = match per {
        Period::Session => return None,
        Period::Day => 1,
        Period::Month => {
            let (year, month, _) = date::civil(i64::from(first));
            let next = if month == 12 { date::days(year + 1, 1, 1) } else { date::days(year, month + 1, 1) };
            u64::try_from(next - i64::from(first)).unwrap_or(31)
        }
    };
    let into = now.saturating_sub(u64::from(first) * DAY_NS);
    Some(into as f64 / (days * DAY_NS) as f64)
}
