//! Arguments of a process as they may stand in a record.

use zeroize::Zeroize;

/// Arguments kept of one process.
pub const MAX_ARGUMENTS: usize = 64;
/// Longest argument kept, in bytes, its mark of a cut included.
pub const MAX_ARGUMENT: usize = 256;
/// From this many words on an argument is taken for text that somebody wrote.
const TEXT_WORDS: usize = 4;
/// End of an argument that was cut.
const CUT: char = '…';
/// Options that are followed by one HTTP header, as the next argument or after `=`.
const HEADER_OPTIONS: [&str; 2] = ["-H", "--header"];

/// The arguments of a process, without what may be a prompt or a request body.
///
/// Command line clients take prompts and bodies as arguments (`curl -d`, `ollama run`, `sh -c`). A record
/// says how a program was started, never what was said to a model, so an argument becomes
/// `[text, N bytes]` when a JSON object or array begins in it, at its start or after the `=` of an
/// option, or when it has four or more words. A header after `-H` or `--header` stays: agents are told
/// apart by it. Prompts of up to three words, and prompts that the shell cut into words, look like any
/// other argument and stay.
///
/// At most [`MAX_ARGUMENTS`] are kept, each of at most [`MAX_ARGUMENT`] bytes; one that was cut ends in
/// `…`. Control characters are removed. Keys have to be redacted before. The originals are wiped.
pub fn presentable(args: Vec<String>) -> Vec<String> {
    let mut shown = Vec::with_capacity(args.len().min(MAX_ARGUMENTS));
    let mut header_next = false;
    for mut arg in args {
        if shown.len() < MAX_ARGUMENTS {
            shown.push(match is_text(&arg, header_next) {
                true => format!("[text, {} bytes]", arg.len()),
                false => clean(&arg),
            });
        }
        header_next = HEADER_OPTIONS.contains(&arg.as_str());
        arg.zeroize();
    }
    shown
}

fn is_text(arg: &str, header_next: bool) -> bool {
    let value = match arg.split_once('=') {
        Some((name, value)) if !name.contains(char::is_whitespace) => value,
        _ => arg,
    };
    if is_json(arg) || is_json(value) {
        return true;
    }
    let with_name = arg.split_once('=').is_some_and(|(name, _)| HEADER_OPTIONS.contains(&name));
    let header = match (header_next, with_name, arg.strip_prefix("-H")) {
        (true, ..) => Some(arg),
        (_, true, _) => Some(value),
        (.., joined) => joined,
    };
    !header.is_some_and(is_header) && arg.split_whitespace().nth(TEXT_WORDS - 1).is_some()
}

/// Whether a JSON object or array begins `text`. Its end is not asked for: the kernel may have cut it.
fn is_json(text: &str) -> bool {
    let mut text = text.chars().filter(|c| !c.is_whitespace());
    match (text.next(), text.next()) {
        (Some('{'), Some('"' | '\'' | '\\' | '}')) => true,
        (Some('['), Some(next)) => matches!(next, '"' | '\'' | '\\' | '{' | '[' | ']' | '-' | '0'..='9'),
        _ => false,
    }
}

/// Whether `text` is one `Name: value` (RFC 9110 section 5).
fn is_header(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    text.split_once(':').is_some_and(|(name, value)| {
        !name.is_empty() && name.bytes().all(token) && !value.contains(['\r', '\n'])
    })
}

/// `text` without control characters, cut to the limit between two characters.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_ARGUMENT));
    for c in text.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > MAX_ARGUMENT {
            while out.len() + CUT.len_utf8() > MAX_ARGUMENT {
                out.pop();
            }
            out.push(CUT);
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(args: &[&str]) -> Vec<String> {
        presentable(args.iter().map(|arg| (*arg).to_owned()).collect())
    }

    #[test]
    fn prompts_and_bodies_are_hidden_and_the_rest_stays() {
        for text in [
            "tell me a story",
            "--prompt=why is the sky blue",
            "-d{\"model\": \"gpt\"} a b c",
            "Question: what is in this file?",
            "{\"messages\":[]}",
            " [ {\"role\": \"user\"",
            "--data={\"a\":1}",
            "input=[\"secret\"]",
            "[12, 7, 99]",
            "line one\nline\ttwo",
        ] {
            assert_eq!(shown(&["tool", text]), ["tool", &format!("[text, {} bytes]", text.len())], "{text}");
        }
        for plain in
            ["-v", "https://api.openai.com/v1/models", "[::1]:80", "[", "a b c", "--model=gpt-4o", "{a,b}"]
        {
            assert_eq!(shown(&[plain]), [plain]);
        }
    }

    #[test]
    fn headers_stay_only_where_an_option_says_so() {
        let agent = "User-Agent: my agent of many words";
        assert_eq!(shown(&["-H", agent]), ["-H", agent]);
        let joined = format!("--header={agent}");
        assert_eq!(shown(&[&joined]), [joined]);
        assert_eq!(shown(&[agent])[0], format!("[text, {} bytes]", agent.len()));
        assert!(shown(&["-H", "X: a\r\nplease sum this up"])[1].starts_with("[text"));
        assert!(shown(&["-H", "{\"a\": \"b c d e\"}"])[1].starts_with("[text"));
    }

    #[test]
    fn number_and_size_are_bounded_and_control_characters_go() {
        let many = vec!["x"; MAX_ARGUMENTS + 9];
        assert_eq!(shown(&many).len(), MAX_ARGUMENTS);
        let fits = "é".repeat(MAX_ARGUMENT / 2);
        assert_eq!(shown(&[&fits]), [fits.as_str()]);
        let cut = &shown(&[&format!("{fits}é")])[0];
        assert!(
            cut.ends_with(CUT) && cut.len() <= MAX_ARGUMENT && cut.len() > MAX_ARGUMENT - 4,
            "{}",
            cut.len()
        );
        assert_eq!(shown(&["a\u{1b}[31mb\u{7f}\u{9b}c\0"]), ["a[31mbc"]);
        assert_eq!(shown(&["", "-x"]), ["", "-x"]);
    }
}
