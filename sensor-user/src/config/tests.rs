//! The default file, and every kind of mistake with its place.

use attribution::detect::NotifyLimits;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/kw.toml"), text)
}

fn mistake(text: &str) -> String {
    parse(text).and_then(|config| config.catalogue().map(drop)).unwrap_err().to_string()
}

/// The names after "expected" in the error for an unknown field.
fn fields_of(section: &str) -> Vec<String> {
    let text = if section.is_empty() { "x_x = 1".to_owned() } else { format!("[{section}]\nx_x = 1") };
    let error = mistake(&text);
    let expected = error.split_once("expected").unwrap().1.split(" (line").next().unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_default_file_says_what_the_defaults_are_and_names_every_field() {
    let parsed = Config { additions: Additions::default(), ..parse(DEFAULT_TEXT).unwrap() };
    assert_eq!(parsed, Config::default());
    let top = fields_of("");
    assert!(top.len() >= 12, "{top:?}");
    for name in &top {
        assert!(DEFAULT_TEXT.contains(name), "{name} is not in the default file");
    }
    for section in top.iter().take(8) {
        assert!(DEFAULT_TEXT.contains(&format!("\n[{section}]\n")), "[{section}] is not in the default file");
        for field in fields_of(section) {
            assert!(
                DEFAULT_TEXT.contains(&format!("\n{field} = "))
                    || DEFAULT_TEXT.contains(&format!("\n# {field} = ")),
                "{section}.{field} is not in the default file"
            );
        }
    }
}

#[test]
fn the_examples_of_the_default_file_work() {
    let text: String = DEFAULT_TEXT
        .lines()
        .filter_map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with('[')
                    || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) =>
            {
                Some(rest)
            }
            Some(_) => None,
            None => Some(line).filter(|line| !line.starts_with('#')),
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = parse(&text).unwrap();
    assert_eq!(config.identity.host.as_ref().map(HostName::as_str), Some("db-1.example.net"));
    assert!(config.catalogue().unwrap().provider("our-vllm").is_some());
    let collector = &config.export["collector"];
    assert_eq!((collector.filter.terms.len(), collector.limits), (2, None));
    // What the file says of it is what holds without it.
    let pager = &config.export["pager"];
    assert_eq!((pager.filter.terms.len(), pager.limits), (1, Some(NotifyLimits::default())));
}

#[test]
fn mistakes_are_named_with_file_line_and_column() {
    for (text, starts) in [
        (
            "\n[output]\ncolour = 1\n",
            "/etc/kw.toml:3:1: unknown field `colour`, expected `format` or `status_interval_s`",
        ),
        (
            "[export.a]\nform = 'syslog'\nurl = 'unix:///dev/log'\nbody = 'ocsf'",
            "/etc/kw.toml:1:1: `body` is for the form \"webhook\" only",
        ),
        (
            "[export.a]\nform = 'otlp_http'\nurl = 'http://[::1]'\nupdate_every_s = 5",
            "/etc/kw.toml:1:1: `least_severity`, `update_every_s` and `most_per_minute` are for",
        ),
        (
            "[export.a]\nform = 'webhook'\nurl = 'http://[::1]'\nleast_severity = 'bad'",
            "/etc/kw.toml:1:1: `least_severity` is one of info, low,",
        ),
        ("no_such = 1", "/etc/kw.toml:1:1: unknown field `no_such`, expected one of `output`, `kernel`"),
        ("[tls]\nenabled = 'yes'", "/etc/kw.toml:2:11: invalid type: string \"yes\", expected a boolean"),
        ("output = 7", "/etc/kw.toml:1:10: invalid type: integer `7`"),
        ("[kernel]\nring_bytes = 1000000", "/etc/kw.toml:2:14: must be a power of two"),
        ("[output]\nstatus_interval_s = 0", "/etc/kw.toml:2:21: must be from 1 to 86400"),
        (
            "[output]\nformat = \"table\"",
            "/etc/kw.toml:2:10: unknown variant `table`, expected one of `compact`, `json`, `none`",
        ),
        ("[credentials]\nhint = 'all'", "/etc/kw.toml:2:8: unknown variant `all`"),
        ("[identity]\nhost = 'a b'", "/etc/kw.toml:2:8: must be a host name"),
        (
            "[tls]\nknown_executables = ['node', 'bin/x']",
            "/etc/kw.toml:2:21: `bin/x` is neither file name nor absolute path",
        ),
        ("[output]\n[output]\n", "/etc/kw.toml:2:2: duplicate key"),
        ("[output]\n\n[[provider]]\nid = 'a'\nhost = ['x']", "/etc/kw.toml:5:1: unknown field `host`"),
        ("[output]\n[[provider]]\nid = 'A B'", "/etc/kw.toml:3:1: provider `A B`: the id may hold only"),
        ("disable = ['no-such']\n[output]\n", "/etc/kw.toml:1:1: disable `no-such`: there is no built-in"),
    ] {
        let error = mistake(text);
        assert!(error.starts_with(starts), "{text:?} gives {error}");
    }
    let error = mistake("output = [\n");
    assert!(error.starts_with("/etc/kw.toml:") && error.contains("line 1: `output = [`"), "{error}");
}

#[test]
fn additions_stand_beside_the_other_sections() {
    let config = parse(
        "[tls]\nenabled = false\n[[provider]]\nid = 'ours'\nhosts = ['llm.example.net']\n[kernel]\nlog = true\n",
    );
    let config = config.unwrap();
    assert!(!config.tls.enabled && config.kernel.log);
    let catalogue = config.catalogue().unwrap();
    assert_eq!(catalogue.provider("ours").unwrap().entry.hosts, ["llm.example.net"]);
    assert!(catalogue.providers().len() > 1, "the built-in providers are gone");
}

#[test]
fn only_a_file_that_was_asked_for_must_exist() {
    let scratch = tempfile::tempdir().unwrap();
    let absent = scratch.path().join("config.toml");
    let error = Config::load(Some(&absent)).unwrap_err().to_string();
    assert!(error.contains("config.toml") && error.contains("No such file"), "{error}");
    std::fs::write(&absent, "[tls]\nhit_budget_per_s = 7\n").unwrap();
    assert_eq!(Config::load(Some(&absent)).unwrap().tls.hit_budget_per_s, 7);
    std::fs::write(&absent, vec![b' '; MAX_BYTES as usize + 1]).unwrap();
    assert!(Config::load(Some(&absent)).unwrap_err().to_string().contains("larger than"));
}

#[test]
fn known_executables_are_names_or_paths() {
    let tls = Tls {
        known_executables: ["node", "python3*", "/opt/agent/*"].map(KnownExecutable::built_in).into(),
        ..Tls::default()
    };
    for path in ["/usr/bin/node", "node", "/usr/bin/python3.11", "/opt/agent/bin/x"] {
        assert!(tls.knows(path), "{path}");
    }
    for path in ["/usr/bin/nodejs", "/usr/bin/xpython3", "/home/opt/agent/x", ""] {
        assert!(!tls.knows(path), "{path}");
    }
}

#[test]
fn prices_of_the_users_own_are_read_and_a_mistake_in_them_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let prices = folder.path().join("prices.json");
    let config = parse(&format!("[cost]\nprices = {prices:?}")).unwrap();
    let error = config.prices().unwrap_err().to_string();
    assert!(error.contains("prices.json") && error.contains("No such file"), "{error}");
    for (text, part) in [
        ("{\"m\": 1}", "`m` is not an object"),
        ("{\"m\": {\"input_cost_per_token\": -1}}", "`input_cost_per_token` is not a price"),
    ] {
        std::fs::write(&prices, text).unwrap();
        let error = config.prices().unwrap_err().to_string();
        assert!(error.contains("prices.json: ") && error.contains(part), "{error}");
    }
    std::fs::write(&prices, "{\"m\": {\"input_cost_per_token\": 1e-6}}").unwrap();
    let (listed, own) = config.prices().unwrap().len();
    assert_eq!((listed > 200, own), (true, 1));
    assert_eq!(parse("").unwrap().prices().unwrap().len(), (listed, 0));
}

#[test]
fn an_agent_of_the_users_own_is_known_by_its_process() {
    let text = "[[client]]\nid = 'our-bot'\nprograms = [{ exe = 'python3*', script = 'bot/main.py' }]";
    let catalogue = parse(text).unwrap().catalogue().unwrap();
    let args = ["python3", "-u", "/srv/bot/main.py"].map(str::to_owned);
    let agent = catalogue.agents().find("/usr/bin/python3.13", &args);
    assert_eq!(agent.as_deref(), Some("our-bot"));
    assert!(catalogue.agents().find("/usr/bin/python3.13", &args[..2]).is_none());
}

#[test]
fn a_watch_pattern_that_cannot_be_is_named() {
    for (pattern, good) in [
        ("/srv/*/key", true),
        ("~/.my/key", true),
        ("key", false),
        ("/a/**/b", false),
        ("/a/../b", false),
        ("", false),
    ] {
        let text = format!("[credentials]\nwatch = ['{pattern}']\n");
        match parse(&text) {
            Ok(config) => assert!(good && config.credentials.watch[0].as_str() == pattern, "{pattern}"),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    !good && error.contains(&format!("`{pattern}`")) && error.contains("line 2"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn only_hooks_that_it_can_do_without_are_left_out() {
    let config = parse("[kernel]\ndisabled_hooks = ['kw_ingress']\n").unwrap();
    assert_eq!(config.kernel.disabled_hooks[0].as_str(), "kw_ingress");
    for (name, part) in [("kw_exec", "cannot do without `kw_exec`"), ("kw_x", "no hook `kw_x`")] {
        let error = parse(&format!("[kernel]\ndisabled_hooks = ['{name}']\n")).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("line 2"), "{error}");
    }
}

#[test]
fn a_cgroup_is_a_path_below_the_root() {
    let config = parse("[kernel]\ncgroup = '/machine.slice'\n").unwrap();
    assert_eq!(config.kernel.cgroup.unwrap().as_str(), "/machine.slice");
    for path in ["", "/", "machine.slice", "/a/../b", "/a//b"] {
        assert!(parse(&format!("[kernel]\ncgroup = '{path}'\n")).is_err(), "{path}");
    }
}
