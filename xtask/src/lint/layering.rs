//! The direction of dependencies between the crates.

use anyhow::Result;
use serde_json::Value;

use super::targets::{metadata, name, packages};
use crate::shell::text;
use crate::workspace;

/// Which crates of the workspace each crate may build on (tests apart); a crate that is not here may build on none.
const ALLOWED: [(&str, &[&str]); 16] = [
    ("sensor-common", &[]),
    ("sensor-ebpf", &["sensor-common"]),
    ("keywitness-proto", &[]),
    ("keywitness-peer-api", &[]),
    ("keywitness-locate", &[]),
    ("keywitness-service", &[]),
    ("keywitness-attribution", &["keywitness-proto"]),
    ("keywitness-flow-log", &["keywitness-proto"]),
    ("keywitness-metrics", &["keywitness-proto", "keywitness-attribution"]),
    ("keywitness-uplink", &["keywitness-proto", "keywitness-flow-log"]),
    (
        "keywitness-collector",
        &[
            "keywitness-proto",
            "keywitness-attribution",
            "keywitness-flow-log",
            "keywitness-metrics",
            "keywitness-service",
        ],
    ),
    (
        "sensor-user",
        &[
            "sensor-common",
            "keywitness-proto",
            "keywitness-attribution",
            "keywitness-flow-log",
            "keywitness-locate",
            "keywitness-metrics",
            "keywitness-peer-api",
            "keywitness-service",
            "keywitness-uplink",
        ],
    ),
    (
        "keywitness-tests",
        &[
            "sensor-common",
            "keywitness-proto",
            "keywitness-attribution",
            "keywitness-flow-log",
            "keywitness-peer-api",
            "sensor-user",
        ],
    ),
    ("bench-collector", &["keywitness-proto", "keywitness-collector"]),
    ("bench-flow-log", &["keywitness-proto", "keywitness-flow-log"]),
    ("xtask", &[]),
];
/// The crate that knows neither kernel nor network, and what it must not reach even through others.
const PURE: &str = "keywitness-attribution";
const IMPURE: [&str; 2] = ["aya", "tokio"];
/// The only crates that may name aya (or a crate of its family) as a dependency.
const AYA_CRATES: [&str; 2] = ["sensor-user", "sensor-ebpf"];

/// One line for each dependency that points the wrong way.
pub(super) fn broken() -> Result<Vec<String>> {
    let mut lines = wrong_way(&metadata()?)?;
    let tree =
        text(workspace::cargo("tree").args(["--package", PURE, "--edges", "normal", "--prefix", "none"]))?;
    lines.extend(impure(&tree).map(|line| format!("{PURE} depends on {line}")));
    Ok(lines)
}

fn wrong_way(metadata: &Value) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let all = packages(metadata)?;
    let members: Vec<&str> = all.iter().map(name).collect::<Result<_>>()?;
    for package in all {
        let package_name = name(package)?;
        let allowed = ALLOWED.iter().find(|(one, _)| *one == package_name).map_or(&[][..], |(_, list)| list);
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = name(dependency)?;
            let inside = members.contains(&on) && dependency["kind"].is_null();
            if (inside && !allowed.contains(&on)) || (is_of(on, "aya") && !AYA_CRATES.contains(&package_name))
            {
                lines.push(format!("{package_name} must not depend on {on}"));
            }
        }
    }
    Ok(lines)
}

fn impure(tree: &str) -> impl Iterator<Item = &str> {
    tree.lines().filter(|line| {
        let krate = line.split(' ').next().unwrap_or_default();
        IMPURE.iter().any(|family| is_of(krate, family))
    })
}

/// Whether a crate is `family` or one of its parts, such as `aya-obj`.
fn is_of(krate: &str, family: &str) -> bool {
    krate.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dependency_against_the_direction_is_found() {
        let metadata = json!({ "packages": [
            { "name": "sensor-user", "dependencies": [{ "name": "keywitness-attribution", "kind": null }] },
            { "name": "keywitness-attribution", "dependencies": [
                { "name": "sensor-user", "kind": null }, { "name": "aya-obj", "kind": null }, { "name": "serde", "kind": null },
            ]},
        ]});
        assert_eq!(
            wrong_way(&metadata).unwrap(),
            [
                "keywitness-attribution must not depend on sensor-user",
                "keywitness-attribution must not depend on aya-obj",
            ]
        );
    }

    #[test]
    fn test_dependencies_may_point_anywhere() {
        let metadata = json!({ "packages": [
            { "name": "sensor-user", "dependencies": [{ "name": "keywitness-tests", "kind": "dev" }] },
            { "name": "keywitness-tests", "dependencies": [] },
        ]});
        assert!(wrong_way(&metadata).unwrap().is_empty());
    }

    #[test]
    fn runtime_deep_in_the_tree_is_found_by_family() {
        let tree = "keywitness-attribution v0.1.0\ntokio-util v0.7.1\nayatana v1.0.0\naya v0.14.0 (*)\n";
        assert_eq!(impure(tree).collect::<Vec<_>>(), ["tokio-util v0.7.1", "aya v0.14.0 (*)"]);
    }
}
