use super::*;

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text, &mut |path| match path {
        "/keys/bot" => Ok("kw1-x-file".into()),
        _ => Err(format!("cannot read {path}")),
    })
}

fn wrong(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

const WHOLE: &str = r#"
[[environment]]
name = "production"
hosts = ["p*"]
labels = { env = "prod*" }

[[entitlement]]
label = "bot"
fingerprint = "@/keys/bot"
fingerprints = ["kw1-x-old"]
owner = "finance"
steward = "alice"
workloads = ["k8s://c/shop/**"]
providers = ["openai"]
models = ["gpt-5*"]
environment = "production"
lifetime = "short_lived"
renew_by = 2026-06-01
review_by = 2026-07-01
expires = 2027-01-01T12:00:00Z
budget = [{ per = "month", usd = 12.5 }, { per = "session", tokens = 1000 }]

[[budget]]
label = "everybody"
workloads = ["**"]
per = "day"
calls = 100000

[[exception]]
rule = "shared-credential"
reason = "migration"
subject = "kw1-x-old"
until = 2026-12-31

[[suppress]]
rule = "new-endpoint"
reason = "plays with models"
workloads = ["user://**"]

[gateway]
workloads = ["systemd://*/litellm.service"]
hosts = ["llm.corp.test"]

[rules.shared-credential]
window_days = 3
[rules.token-burn]
enabled = false
severity = "critical"
"#;

#[test]
fn everything_that_can_be_written_is_understood() {
    let policy = parse(WHOLE).unwrap();
    let bot = policy.entitlement("kw1-x-file").unwrap();
    assert_eq!(policy.entitlement("kw1-x-old"), Some(bot));
    assert_eq!((bot.label.as_str(), bot.lifetime), ("bot", Some(Lifetime::ShortLived)));
    assert_eq!(bot.budget[0].nanos, Some(12_500_000_000));
    assert_eq!(date::day_text(bot.expires.unwrap()), "2027-01-01");
    assert!(policy.is_gateway("systemd://h1/litellm.service"));
    let settings = |name: &str| {
        let index = crate::detect::RULES.iter().position(|rule| rule.name == name).unwrap();
        policy.settings.of(index).unwrap().clone()
    };
    assert_eq!(settings("shared-credential").values, [3]);
    assert_eq!((settings("token-burn").enabled, settings("budget").enabled), (false, true));
    let labels = BTreeMap::from([("env".to_owned(), "prod-eu".to_owned())]);
    let place = Place { id: "x", host: "h", namespace: "", labels: &labels };
    assert_eq!(policy.environment(place), Some("production"));
    assert_eq!(policy.environment(Place { labels: &BTreeMap::new(), ..place }), None);
}

#[test]
fn silence_is_for_what_it_names_and_until_it_ends() {
    let policy = parse(WHOLE).unwrap();
    let end = policy.exceptions[0].until;
    assert!(policy.is_silenced("shared-credential", "kw1-x-old", &["a"], end - 1));
    assert!(!policy.is_silenced("shared-credential", "kw1-x-old", &["a"], end));
    assert!(!policy.is_silenced("shared-credential", "kw1-x-new", &["a"], 0));
    assert!(policy.is_silenced("new-endpoint", "x", &["user://h/1/a", "user://h/1/b"], 0));
    assert!(!policy.is_silenced("new-endpoint", "x", &["user://h/1/a", "systemd://h/b"], 0));
    assert!(!policy.is_silenced("new-endpoint", "x", &[], 0));
}

#[test]
fn every_mistake_is_named_with_its_place() {
    for (text, expected) in [
        ("[[entitlement]]\nlabel = 'a'\nfingerprint = 'sk-123'", "3:15: a fingerprint begins with kw1-"),
        ("[[entitlement]]\nlabel = 'a'\nfingerprint = '@/no'", "3:15: cannot read /no"),
        ("[[entitlement]]\nlabel = 'a'", "2:9: `a` has no fingerprint"),
        ("[[entitlement]]\nlabel = 'a'\nfingerprint = 'kw1-1'\nownr = 'x'", "4:1: unknown field `ownr`"),
        (
            "[[entitlement]]\nlabel = 'a'\nfingerprint = 'kw1-1'\nmodels = ['']",
            "4:10: a pattern cannot be empty",
        ),
        (
            "[[entitlement]]\nlabel = 'a'\nfingerprint = 'kw1-1'\nenvironment = 'x'",
            "4:15: there is no [[environment]]",
        ),
        ("[[entitlement]]\nlabel = 'a'\nfingerprint = 'kw1-1'\nexpires = 10:00:00", "4:11: a date such as"),
        (
            "[[entitlement]]\nlabel = 'a'\nfingerprint = 'kw1-1'\nbudget = [{ per = 'day' }]",
            "4:11: a budget needs",
        ),
        (
            "[[entitlement]]\nlabel = 'a'\nfingerprint = 'kw1-1'\nbudget = [{ per = 'day', usd = -1 }]",
            "4:11: usd is more",
        ),
        (
            "[[entitlement]]\nlabel = 'a'\nfingerprint = 'kw1-1'\n[[entitlement]]\nlabel = 'b'\nfingerprint = 'kw1-1'",
            "6:15: another",
        ),
        (
            "[[suppress]]\nrule = 'no'\nreason = 'x'",
            "2:8: unknown rule `no`; expected one of shared-credential",
        ),
        ("[[suppress]]\nrule = 'budget'\nreason = ' '", "3:10: a reason is needed"),
        ("[[exception]]\nrule = 'budget'\nreason = 'x'", "1:1: missing field `until`"),
        ("[rules.no]", "1:8: unknown rule `no`"),
        (
            "[rules.budget]\nwarn = 1",
            "2:1: unknown setting `warn`; expected one of enabled, severity, warn_percent",
        ),
        ("[rules.budget]\nwarn_percent = 'x'", "2:16: warn_percent is a whole number"),
        ("[rules.budget]\nseverity = 'bad'", "2:12: severity is one of info, low, medium, high, critical"),
        ("[rules.budget]\nenabled = 1", "2:11: enabled is true or false"),
        ("x = ", "1:5: "),
        ("[[budget]]\nlabel = 'a'\nworkloads = []\nper = 'day'\ncalls = 1", "1:1: a budget needs workloads"),
    ] {
        let message = wrong(text);
        // Of values inside others the column is that of the outer one.
        let (place, what) = expected.split_once(": ").unwrap();
        let line = place.split(':').next().unwrap();
        let (told, told_what) = message.split_once(": ").unwrap();
        assert!(
            told.starts_with(&format!("{line}:")) && told_what.starts_with(what),
            "{text}\n  {message}\n  {expected}"
        );
    }
}

#[test]
fn what_is_suggested_is_a_policy_that_allows_what_was_seen() {
    use crate::detect::{Consumption, CredentialReport, UserReport};
    let user = |principal: &str| UserReport {
        principal: principal.into(),
        name: principal.into(),
        first: 1,
        last: 2,
        usage: Default::default(),
        destinations: vec![["openai".into(), "api.openai.com".into(), "weird\"*model".into()]],
        alternatives: Vec::new(),
    };
    let one = |fingerprint: &str, users| CredentialReport {
        fingerprint: fingerprint.into(),
        provider: "openai".into(),
        hint: "sk-…abcd\n[evil]".into(),
        first: 1,
        last: 2,
        users,
    };
    let seen = Consumption {
        credentials: vec![
            one("kw1-x-1", vec![user("systemd://h/bot.service"), user("systemd://h/b.service")]),
            one("kw1-x-file", vec![user("k8s://c/n/deployment/d")]),
        ],
        since: 1,
        until: 2,
    };
    let text = suggest(&seen, &parse(WHOLE).unwrap());
    let policy = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(policy.entitlements.len(), 1);
    let entitlement = policy.entitlement("kw1-x-1").unwrap();
    assert!(any(&entitlement.workloads, "systemd://h/bot.service"));
    assert!(any(&entitlement.models, "weird\"*model"));
    assert!(text.contains("# Shared by 2 principals"));
}
