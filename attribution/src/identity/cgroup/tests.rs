use super::*;

/// One row: path, what it says, where such a path was seen.
fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    include_str!("paths.tsv").lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut columns = line.split('\t');
        let row = (columns.next().unwrap(), columns.next().unwrap(), columns.next().unwrap());
        assert_eq!(columns.next(), None, "{line}");
        row
    })
}

/// What a scope says, as the table writes it.
fn told(scope: &Scope) -> String {
    let user = scope.user.map(|user| user.to_string()).unwrap_or_default();
    let words = [
        ("runtime", scope.runtime),
        ("container", &scope.container),
        ("pod", &scope.pod_uid),
        ("unit", &scope.unit),
        ("user", &user),
        ("task", &scope.task),
    ];
    let told: Vec<String> = words
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", if is_id(value) { &value[..12] } else { value }))
        .collect();
    if told.is_empty() { "-".into() } else { told.join(" ") }
}

#[test]
fn every_known_layout_is_read() {
    assert!(rows().count() >= 60, "{} rows", rows().count());
    let mut wrong = Vec::new();
    for (path, expected, source) in rows() {
        let found = told(&Scope::of(path));
        if found != expected {
            wrong.push(format!("{path}\n  expected {expected}\n  found    {found}\n  ({source})"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_path_seen_from_another_cgroup_namespace_says_the_same() {
    for (path, expected, _) in rows() {
        for seen in [format!("/../..{path}"), format!("{path} (deleted)")] {
            assert_eq!(told(&Scope::of(&seen)), expected, "{seen}");
        }
    }
}

#[test]
fn short_and_long_hexadecimal_names_are_no_containers() {
    let id = "4a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef";
    for path in ["/docker/abc123".to_owned(), format!("/docker/{id}0"), format!("/docker/{}g", &id[..63])] {
        assert_eq!(Scope::of(&path).container, "", "{path}");
    }
    assert_eq!(Scope::of("/system.slice/docker-abc123.scope").unit, "docker-abc123.scope");
}

#[test]
fn the_units_of_two_users_are_two() {
    let unit = |user| {
        Scope::of(&format!("/user.slice/user-{user}.slice/user@{user}.service/app.slice/bot.service")).unit
    };
    assert_ne!(unit(1000), unit(1001));
}

#[test]
fn no_path_makes_it_panic() {
    for (path, ..) in rows() {
        for end in (0..path.len()).filter(|end| path.is_char_boundary(*end)) {
            Scope::of(&path[..end]);
            Scope::of(&path[end..]);
        }
    }
    for path in
        ["\\x", "/machine.slice/machine-\\x2", "/machine.slice/machine-\\xé.scope", "////..//", "/a.slice:b:"]
    {
        Scope::of(path);
    }
}
