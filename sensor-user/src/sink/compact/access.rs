//! The line of an opened credential file: only where another program than expected opened it.

use jiff::tz::TimeZone;
use proto::v1::CredentialAccess;

use super::{call::Columns, line::Line, text};
use crate::term::{Style, cut, cut_start};

/// A line when the program is not one to open the file, else nothing.
pub(super) fn line(time: u64, access: &CredentialAccess, columns: &Columns, zone: &TimeZone) -> Option<Line> {
    if access.expectation != "unexpected" {
        return None;
    }
    let file = access.file.as_ref()?;
    let process = access.process.as_ref();
    let workload = text::workload(access.workload.as_ref(), process);
    let times = if access.count > 1 { format!(", {} times", access.count) } else { String::new() };
    let mut line = Line::default();
    line.cell(Style::Dim, text::clock(time, zone), 0)
        .cell(Style::Bold, text::process(process, columns.limit(columns.process)), columns.process)
        .cell(Style::Plain, cut(&workload, columns.limit(columns.workload)), columns.workload)
        .word(Style::Warn, format!("opened a credential file of {}{times}:", text::known(&file.client)))
        .word(Style::Warn, cut_start(&text::known(&file.path), columns.limit(60)));
    if !access.unread_reason.is_empty() {
        line.word(Style::Dim, format!("(not read: {})", text::field(&access.unread_reason)));
    }
    Some(line)
}
