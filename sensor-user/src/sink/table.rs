//! Records as rows: every kind in the same columns.

use std::io::{self, BufWriter, Write};

use jiff::tz::TimeZone;
use proto::v1::{CredentialAccess, Finding, Flow, ModelCall, Record, Session, Status, Tokens, record::Body};

use super::{
    Sink,
    compact::{line::Line, text},
};
use crate::term::{Style, Term, cut, cut_start};

/// Titles and least columns.
const COLUMNS: [(&str, usize); 8] = [
    ("TIME", 19),
    ("KIND", 17),
    ("WORKLOAD", 26),
    ("PROCESS", 18),
    ("KEY", 23),
    ("WHAT", 44),
    ("TOKENS", 11),
    ("COST", 8),
];

/// Writes rows.
#[derive(Debug)]
pub struct Table<W: Write> {
    out: BufWriter<W>,
    term: Term,
    zone: TimeZone,
    titled: bool,
}

impl<W: Write> Table<W> {
    /// A sink on `out` with times of `zone`.
    pub fn new(out: W, term: Term, zone: TimeZone) -> Self {
        Self { out: BufWriter::new(out), term, zone, titled: false }
    }

    fn row(&mut self, styles: [Style; COLUMNS.len()], cells: &[String; COLUMNS.len()]) -> io::Result<()> {
        let mut line = Line::default();
        for (index, ((text, style), (_, columns))) in cells.iter().zip(styles).zip(COLUMNS).enumerate() {
            // In a pipe nothing is cut.
            let limit = self.term.width.map_or(usize::MAX, |_| columns);
            // Of a workload the end tells most, and the last column may run on.
            let text = match index {
                2 => cut_start(text, limit),
                _ => cut(text, limit),
            };
            line.cell(style, text, columns);
        }
        writeln!(self.out, "{}", line.render(&self.term))
    }
}

impl<W: Write> Sink for Table<W> {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        if !self.titled {
            self.titled = true;
            self.row([Style::Dim; COLUMNS.len()], &COLUMNS.map(|(title, _)| title.to_owned()))?;
        }
        let key = match record.credential() {
            None => String::new(),
            credential => text::key(credential),
        };
        let process = record.process().map(|_| text::process(record.process(), usize::MAX));
        let workload = record.process().map(|process| text::workload(record.workload(), Some(process)));
        let what = record.body.as_ref().map(what).unwrap_or_default();
        let cost = record.cost().map(|cost| text::field(&cost.amount)).unwrap_or_default();
        let cells = [
            text::day(record.time, &self.zone),
            text::known(&record.kind),
            workload.unwrap_or_default(),
            process.unwrap_or_default(),
            key,
            what,
            record.tokens().map(tokens).unwrap_or_default(),
            cost,
        ];
        let kind = if record.finding().is_some() { Style::Alarm } else { Style::Plain };
        let styles = [
            Style::Dim,
            kind,
            Style::Plain,
            Style::Bold,
            Style::Name,
            Style::Plain,
            Style::Plain,
            Style::Plain,
        ];
        self.row(styles, &cells)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.term.refresh();
        self.out.flush()
    }
}

fn what(body: &Body) -> String {
    match body {
        Body::ModelCall(call) => call_text(call),
        Body::Flow(flow) => flow_text(flow),
        Body::CredentialAccess(access) => access_text(access),
        Body::Session(session) => session_text(session),
        Body::Finding(finding) => finding_text(finding),
        Body::Status(status) => status_text(status),
    }
}

/// The words that are there.
fn words<const N: usize>(words: [String; N]) -> String {
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn call_text(call: &ModelCall) -> String {
    let model = if call.model_served.is_empty() { &call.model_requested } else { &call.model_served };
    let provider = call.endpoint.as_ref().map(|endpoint| endpoint.provider.as_str()).unwrap_or_default();
    words([
        format!("{}/{}", text::known(provider), text::known(model)),
        text::field(&call.operation),
        call.status.map(|status| status.to_string()).unwrap_or_default(),
        call.duration_ms.map(text::duration).unwrap_or_default(),
        if call.binding == "unbound" { "unbound".to_owned() } else { String::new() },
        if call.orphaned { "orphaned".to_owned() } else { String::new() },
    ])
}

fn flow_text(flow: &Flow) -> String {
    let endpoint = flow.endpoint.as_ref().map(|endpoint| {
        let host = if endpoint.host.is_empty() { &endpoint.address } else { &endpoint.host };
        format!("{}:{}", text::known(host), endpoint.port)
    });
    let bytes = flow.bytes_sent.zip(flow.bytes_received).map(|(sent, got)| format!("{sent}→{got} bytes"));
    let unread =
        flow.tls.as_ref().filter(|tls| tls.coverage == "none").map(|tls| text::field(&tls.coverage_reason));
    words([endpoint.unwrap_or_default(), bytes.unwrap_or_default(), unread.unwrap_or_default()])
}

fn access_text(access: &CredentialAccess) -> String {
    let path = access.file.as_ref().map(|file| text::known(&file.path)).unwrap_or_default();
    words([text::known(&access.mode), path, text::field(&access.expectation)])
}

fn session_text(session: &Session) -> String {
    let calls = if session.calls == 0 { String::new() } else { format!("{} calls", session.calls) };
    words([text::known(&session.agent), text::field(&session.state), calls, text::field(&session.end_reason)])
}

fn finding_text(finding: &Finding) -> String {
    words([
        text::known(&finding.severity).to_uppercase(),
        text::known(&finding.rule),
        text::sentence(&finding.title),
    ])
}

fn status_text(status: &Status) -> String {
    let lost = status.lost.iter().fold(0u64, |sum, loss| sum.saturating_add(loss.count));
    let missing = status.hooks.iter().filter(|hook| hook.state != "attached").count();
    words([
        format!("{} events, {lost} lost", status.produced),
        if missing == 0 { String::new() } else { format!("{missing} hooks missing") },
    ])
}

fn tokens(tokens: &Tokens) -> String {
    let count = |count: Option<u64>| count.map_or(text::UNKNOWN.to_owned(), |count| count.to_string());
    match tokens.input.or(tokens.output) {
        None => text::UNKNOWN.to_owned(),
        Some(_) => format!("{}→{}", count(tokens.input), count(tokens.output)),
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{Credential, Endpoint, Process, Workload};

    use super::*;

    fn printed(records: &[Record], width: Option<usize>) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, Term { color: false, width }, TimeZone::UTC);
        records.iter().for_each(|record| table.write(record).unwrap());
        table.flush().unwrap();
        drop(table);
        String::from_utf8(out).unwrap()
    }

    fn call() -> Record {
        let call = ModelCall {
            model_served: "gpt-5".into(),
            operation: "chat".into(),
            status: Some(200),
            binding: "unbound".into(),
            tokens: Some(Tokens { input: Some(12), ..Default::default() }),
            process: Some(Process { pid: 7, exe: "/usr/bin/agent".into(), ..Default::default() }),
            workload: Some(Workload {
                id: "systemd://h/a.service".into(),
                kind: "systemd".into(),
                name: "a.service".into(),
                ..Default::default()
            }),
            credential: Some(Credential { fingerprint: "kw1-abcd-q7k3xyzabc".into(), ..Default::default() }),
            endpoint: Some(Endpoint { provider: "openai".into(), ..Default::default() }),
            ..Default::default()
        };
        Record::new(1_700_000_000_000_000_000, Body::ModelCall(Box::new(call)))
    }

    #[test]
    fn every_kind_is_a_row_below_one_title() {
        let finding = Finding {
            rule: "r".into(),
            severity: "high".into(),
            title: "T\x1b[2J".into(),
            ..Default::default()
        };
        let records = [
            call(),
            Record::new(1, Body::Flow(Box::default())),
            Record::new(
                1,
                Body::Session(Box::new(Session {
                    agent: "codex".into(),
                    state: "ended".into(),
                    calls: 3,
                    ..Default::default()
                })),
            ),
            Record::new(1, Body::CredentialAccess(Box::default())),
            Record::new(1, Body::Finding(finding)),
            Record::new(1, Body::Status(Status::default())),
        ];
        let text = printed(&records, None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 7, "{text}");
        assert!(lines[0].starts_with("TIME                KIND"));
        assert_eq!(
            lines[1],
            "2023-11-14 22:13:20 model_call        systemd/a.service          agent[7]           #q7k3xyza               openai/gpt-5 chat 200 unbound                12→?"
        );
        assert!(lines[3].contains("codex ended 3 calls") && lines[5].contains("HIGH r T\\u{1b}[2J"));
        assert!(lines[6].ends_with("0 events, 0 lost"));
    }

    #[test]
    fn rows_fit_a_terminal() {
        for line in printed(&[call()], Some(60)).lines() {
            assert!(crate::term::columns_of(line) <= 60, "{line}");
        }
    }
}
