//! The line of a model call.

use jiff::tz::TimeZone;
use proto::v1::{ModelCall, Tokens};

use super::{
    line::Line,
    text::{self, UNKNOWN},
};
use crate::term::{Style, cut, cut_start};

const TIME: usize = 12;
const OPERATION: usize = 11;
const STATUS: usize = 3;
const TOKENS: usize = 11;
const KEY: usize = 23;
const DURATION: usize = 6;
/// The columns above with the spaces around all, and one for a mark.
const FIXED: usize = TIME + OPERATION + STATUS + TOKENS + KEY + DURATION + 8 + 1;

/// Columns of the parts that give way on a narrow terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) process: usize,
    pub(super) workload: usize,
    pub(super) model: usize,
    /// Nothing is cut: the output is no terminal.
    pub(super) open: bool,
}

impl Columns {
    /// The columns for a terminal of `width`.
    pub(super) fn fitting(width: Option<usize>) -> Self {
        let mut columns = Self { process: 18, workload: 22, model: 28, open: width.is_none() };
        let wanted = FIXED + columns.process + columns.workload + columns.model;
        let mut excess = wanted.saturating_sub(width.unwrap_or(wanted));
        for (column, least) in
            [(&mut columns.workload, 12), (&mut columns.model, 18), (&mut columns.process, 12)]
        {
            let less = excess.min(*column - least);
            *column -= less;
            excess -= less;
        }
        columns
    }

    /// The most that a cell of `columns` may take.
    pub(super) fn limit(&self, columns: usize) -> usize {
        if self.open { usize::MAX } else { columns }
    }
}

/// The names of the columns.
pub(super) fn titles(columns: &Columns) -> Line {
    let mut line = Line::default();
    line.cell(Style::Dim, "TIME", TIME)
        .cell(Style::Dim, "PROCESS", columns.process)
        .cell(Style::Dim, "WORKLOAD", columns.workload)
        .cell(Style::Dim, "MODEL", columns.model)
        .cell(Style::Dim, "OPERATION", OPERATION)
        .cell(Style::Dim, "ST", STATUS)
        .cell(Style::Dim, "TOKENS", TOKENS)
        .cell(Style::Dim, "KEY", KEY)
        .word(Style::Dim, "TIME");
    line
}

/// The line of `call`, which was written at `time`.
pub(super) fn line(time: u64, call: &ModelCall, columns: &Columns, zone: &TimeZone) -> Line {
    let process = text::process(call.process.as_ref(), columns.limit(columns.process));
    let workload = text::workload(call.workload.as_ref(), call.process.as_ref());
    let model = model(call);
    let operation = text::known(&call.operation);
    let (status, status_style) = status(call.status);
    let key_style = if call.credential.is_some() { Style::Name } else { Style::Dim };
    let mut line = Line::default();
    line.cell(Style::Dim, text::clock(time, zone), TIME)
        .cell(Style::Bold, process, columns.process)
        .cell(Style::Plain, cut_start(&workload, columns.limit(columns.workload)), columns.workload)
        .cell(Style::Plain, cut(&model, columns.limit(columns.model)), columns.model)
        .cell(Style::Dim, cut(&operation, columns.limit(OPERATION)), OPERATION)
        .cell(status_style, status, STATUS)
        .cell(Style::Bold, tokens(call.tokens.as_ref()), TOKENS)
        .cell(key_style, text::key(call.credential.as_ref()), KEY)
        .cell(Style::Dim, call.duration_ms.map_or(UNKNOWN.to_owned(), text::duration), DURATION);
    let reason = |what: &str, why: &str| match why {
        "" => what.to_owned(),
        why => format!("{what}: {}", text::field(why)),
    };
    if call.binding == "unbound" {
        line.word(Style::Warn, reason("unbound", &call.binding_reason));
    }
    if !call.incomplete_reason.is_empty() {
        line.word(Style::Warn, reason("incomplete", &call.incomplete_reason));
    }
    line
}

/// `provider/model`; the model that answered, else the one asked for.
fn model(call: &ModelCall) -> String {
    let endpoint = call.endpoint.as_ref();
    let provider = endpoint.map(|endpoint| {
        [&endpoint.provider, &endpoint.host, &endpoint.address].into_iter().find(|name| !name.is_empty())
    });
    let provider = text::known(provider.flatten().map(String::as_str).unwrap_or_default());
    let served = [&call.model_served, &call.model_requested].into_iter().find(|name| !name.is_empty());
    format!("{provider}/{}", text::known(served.map(String::as_str).unwrap_or_default()))
}

fn status(status: Option<u32>) -> (String, Style) {
    let Some(status) = status else { return (UNKNOWN.to_owned(), Style::Dim) };
    let style = match status {
        100..400 => Style::Good,
        400..500 => Style::Warn,
        _ => Style::Bad,
    };
    (status.to_string(), style)
}

/// `input→output`, each with the mark of its quality.
fn tokens(tokens: Option<&Tokens>) -> String {
    let Some(tokens) = tokens else { return UNKNOWN.to_owned() };
    let mark = match tokens.quality.as_str() {
        "header" => "~",
        "truncated" => "≥",
        _ => "",
    };
    let count = |count: Option<u64>| count.map_or(UNKNOWN.to_owned(), |count| format!("{mark}{count}"));
    if tokens.input.or(tokens.output).is_none() {
        return UNKNOWN.to_owned();
    }
    format!("{}→{}", count(tokens.input), count(tokens.output))
}
