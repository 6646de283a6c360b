//! Settings of the rules: the defaults of the RULES table, changed by the policy.

use toml::{Spanned, Value};

use super::form;
use crate::detect::{RULES, Rule, Severity};

/// Settings of every rule, in the order of [`RULES`].
#[derive(Debug, Clone, PartialEq)]
pub struct Settings(Vec<RuleSettings>);

/// Settings of one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSettings {
    /// Whether it runs.
    pub enabled: bool,
    /// A severity instead of what the rule finds.
    pub severity: Option<Severity>,
    /// Values of its parameters, in their order.
    pub values: Vec<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        let of = |rule: &Rule| RuleSettings {
            enabled: true,
            severity: None,
            values: rule.params.iter().map(|param| param.default).collect(),
        };
        Self(RULES.iter().map(of).collect())
    }
}

impl Settings {
    /// The settings of the rule at `index` of [`RULES`].
    pub fn of(&self, index: usize) -> Option<&RuleSettings> {
        self.0.get(index)
    }

    /// Takes over one setting; an error names what is wrong, and the place in the file.
    pub(super) fn set(
        &mut self,
        rule: &Spanned<String>,
        name: &Spanned<String>,
        value: &Spanned<Value>,
    ) -> Result<(), (usize, String)> {
        let known = RULES.iter().zip(&mut self.0).find(|(known, _)| known.name == rule.get_ref());
        let Some((known, settings)) = known else {
            return Err((rule.span().start, unknown_rule(rule.get_ref())));
        };
        let wrong = |message: String| (value.span().start, message);
        match (name.get_ref().as_str(), value.get_ref()) {
            ("enabled", Value::Boolean(enabled)) => settings.enabled = *enabled,
            ("enabled", _) => return Err(wrong("enabled is true or false".into())),
            ("severity", Value::String(text)) => {
                settings.severity = Some(form::severity(text).map_err(wrong)?);
            }
            ("severity", _) => return Err(wrong("severity is a word in quotes".into())),
            (name_text, value) => {
                let at = known.params.iter().position(|param| param.name == name_text).ok_or_else(|| {
                    let names: Vec<&str> = known.params.iter().map(|param| param.name).collect();
                    let known = [&["enabled", "severity"][..], &names].concat().join(", ");
                    (name.span().start, format!("unknown setting `{name_text}`; expected one of {known}"))
                })?;
                let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
                let number =
                    number.ok_or_else(|| wrong(format!("{name_text} is a whole number, 0 or more")))?;
                if let Some(place) = settings.values.get_mut(at) {
                    *place = number;
                }
            }
        }
        Ok(())
    }
}

/// What to say of a rule that there is not.
pub(super) fn unknown_rule(name: &str) -> String {
    let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    format!("unknown rule `{name}`; expected one of {}", names.join(", "))
}
