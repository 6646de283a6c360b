//! The catalogue's part of a configuration file, with every byte where it stands in the file.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue, Error},
};

/// Top-level keys that belong to the provider catalogue.
const KEYS: [&str; 5] = ["provider", "family", "credential_file", "client", "disable"];

/// `text` with spaces in place of all other settings; nothing when there are no additions.
pub(super) fn text(text: &str) -> Result<Option<String>, Error> {
    let table = DeTable::parse(text)?;
    let (ours, others): (Vec<_>, Vec<_>) =
        table.get_ref().iter().partition(|(key, _)| KEYS.contains(&key.get_ref().as_ref()));
    if ours.is_empty() {
        return Ok(None);
    }
    let mut bytes = text.as_bytes().to_vec();
    for (key, value) in others {
        blank_setting(&mut bytes, key, value);
    }
    // Whole settings were replaced, so no character was torn apart.
    Ok(String::from_utf8(bytes).ok())
}

/// Blanks `key = value`, or the header of a table and all that is in it.
fn blank_setting(bytes: &mut [u8], key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) {
    // A setting and a header each begin their line, be it with brackets or the rest of a dotted key.
    let start = bytes.iter().take(key.span().start).rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    // The span of a table is that of its header.
    blank(bytes, start..value.span().end.max(key.span().end));
    if let DeValue::Table(table) = value.get_ref() {
        for (key, value) in table {
            blank_setting(bytes, key, value);
        }
    }
}

fn blank(bytes: &mut [u8], range: Range<usize>) {
    for byte in bytes.get_mut(range).into_iter().flatten() {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn additions_keep_their_lines_and_nothing_else_is_left() {
        let file = "disable = ['xai'] # kept\n\
            tls.enabled = false\n\
            [output]\n\
            format = 'json' # a remark\n\
            [[provider]]\n\
            id = 'a'\n\
            [tls.more]\n\
            known = [\n 'x',\n]\n\
            [[provider]]\n\
            id = '''\n[output]\n'''\n\
            [identity]\n\
            a = { b = 'ü', c = 1 }\n";
        let text = super::text(file).unwrap().unwrap();
        assert_eq!(text.len(), file.len());
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "disable = ['xai'] # kept",
                "",
                "",
                "# a remark",
                "[[provider]]",
                "id = 'a'",
                "",
                "",
                "",
                "",
                "[[provider]]",
                "id = '''",
                "[output]",
                "'''",
                "",
                "",
            ]
        );
        assert!(super::text("[output]\n").unwrap().is_none());
    }
}
