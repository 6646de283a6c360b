//! What people may see of a credential to recognize it.

use super::class::Kind;
use super::secret::Secret;
use super::shape::Shape;

/// Shortest secret of which the last characters are shown, in bytes.
const MIN_BYTES_FOR_TAIL: usize = 20;
/// How many of the last characters are shown.
const TAIL: usize = 4;

/// How much of a credential may be shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hint {
    /// The public prefix and the last four characters.
    #[default]
    Full,
    /// The public prefix.
    Prefix,
    /// Nothing.
    None,
}

impl Hint {
    /// The text to show for `secret`; empty when there is nothing to show.
    pub(super) fn of(self, secret: &Secret, shape: Option<&Shape>, kind: Kind) -> String {
        let text = secret.expose_text();
        let prefix = match shape {
            Some(shape) if !shape.prefix.is_empty() => shape.prefix.as_str(),
            _ if kind == Kind::Jwt => "eyJ",
            _ => "",
        };
        // The end of a token that is renewed all the time helps nobody.
        let stable = !matches!(kind, Kind::Jwt | Kind::SessionToken);
        let tail = text.get(text.len().saturating_sub(TAIL)..).unwrap_or_default();
        let shown = stable && text.len() >= MIN_BYTES_FOR_TAIL && text.is_ascii();
        match self {
            Self::None => String::new(),
            Self::Full if shown => format!("{prefix}…{tail}"),
            _ if prefix.is_empty() => String::new(),
            _ => format!("{prefix}…"),
        }
    }
}
