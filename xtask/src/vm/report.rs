//! The rows of a run, and the report made of all of them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::say;
use crate::workspace;

/// The report, below the repository's root.
const REPORT: &str = "docs/kernels.md";

/// What one kernel reported, a JSON object a line.
#[derive(Debug)]
pub(super) struct Rows(Vec<Value>);

impl Rows {
    /// Reads a report; an error when it is not whole.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let rows: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        if rows.last().and_then(Value::as_str) != Some("done") {
            bail!("the report ends before the run did");
        }
        Ok(Self(rows))
    }

    fn row(&self, name: &str) -> &Value {
        self.0.iter().find_map(|row| row.get(name)).unwrap_or(&Value::Null)
    }

    fn tiers(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter_map(|row| row.get("tier"))
    }

    fn hooks(&self) -> impl Iterator<Item = &Value> {
        self.row("doctor")["hooks"].as_array().into_iter().flatten()
    }

    /// Release of the kernel.
    pub(super) fn release(&self) -> &str {
        self.row("kernel")["release"].as_str().unwrap_or("unknown")
    }

    /// The counts in one line.
    pub(super) fn summary(&self) -> String {
        let hooks = self.hooks().count();
        let works = self.hooks().filter(|hook| hook["state"] == "ok").count();
        let tiers: Vec<_> =
            self.tiers().map(|tier| format!("{}: {}", word(&tier["tier"]), counts(tier))).collect();
        format!("{works} of {hooks} hooks; {}", tiers.join("; "))
    }

    /// Fails unless the sensor ran in every tier and said nothing wrong.
    pub(super) fn require(&self, name: &str) -> Result<()> {
        let mut complaints = Vec::new();
        if self.row("doctor")["state"] == "unusable" {
            complaints.push(format!("the sensor does not start: {}", word(&self.row("doctor")["error"])));
        } else if self.tiers().next().is_none() {
            complaints.push("nothing was run".to_owned());
        }
        for tier in self.tiers() {
            let told = tier["wrong"].as_array().into_iter().flatten().chain([&tier["error"]]);
            let told = told.filter_map(Value::as_str);
            complaints.extend(told.map(|line| format!("{}: {line}", word(&tier["tier"]))));
        }
        if !complaints.is_empty() {
            bail!("{name}: {}", complaints.join("\n"));
        }
        Ok(())
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The calls of a tier, as far as its hooks tell of them.
fn counts(tier: &Value) -> String {
    if let Some(error) = tier["error"].as_str() {
        return format!("not run: {error}");
    }
    let flows = format!("{} of {} flows right", tier["flows_right"], tier["clients"]);
    let mut missing = tier["missing_hooks"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let read = !missing.any(|hook| hook.starts_with("kw_tls_"));
    match read {
        true => format!("{} of {} calls right, {flows}", tier["calls_right"], tier["calls"]),
        false => format!("{flows}, no plaintext"),
    }
}

/// Writes the report about `kernels`, each with its name; `missing` have not run yet.
pub(super) fn write(kernels: &[(String, Rows)], missing: &[&str]) -> Result<()> {
    let path = workspace::root().join(REPORT);
    fs::write(&path, text(kernels, missing)?).with_context(|| format!("cannot write {}", path.display()))?;
    say(format_args!("wrote {}", path.display()));
    Ok(())
}

fn text(kernels: &[(String, Rows)], missing: &[&str]) -> Result<String> {
    let mut out = String::from(HEAD);
    if !missing.is_empty() {
        writeln!(out, "\nNot run yet: {}.", missing.join(", "))?;
    }
    writeln!(
        out,
        "\n## What works\n\n| kernel | hooks | cgroup | calls and flows, as the endpoint saw them |\n|---|---|---|---|"
    )?;
    for (name, rows) in kernels {
        let (hooks, works) =
            (rows.hooks().count(), rows.hooks().filter(|hook| hook["state"] == "ok").count());
        let tiers: Vec<_> =
            rows.tiers().map(|tier| format!("{}: {}", word(&tier["tier"]), counts(tier))).collect();
        let cgroup = if rows.row("kernel")["cgroup1"] == 0 { "v2" } else { "hybrid" };
        writeln!(
            out,
            "| {name}, {} | {works} of {hooks} | {cgroup} | {} |",
            rows.release(),
            tiers.join("<br>")
        )?;
    }
    writeln!(
        out,
        "\n## What else the kernel offers\n\n{OTHER_POINTS}\n| kernel | LSM | fentry | kprobe |\n|---|---|---|---|"
    )?;
    for (name, rows) in kernels {
        let has = |point: &str| match rows.row("doctor")["unused_points"][point].as_bool() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not tried",
        };
        writeln!(out, "| {name} | {} | {} | {} |", has("lsm"), has("fentry"), has("kprobe"))?;
    }
    writeln!(
        out,
        "\n## What is missing, and what that costs\n\n| kernel | hook | reason | lost |\n|---|---|---|---|"
    )?;
    for (name, rows) in kernels {
        let missing: Vec<&Value> = rows.hooks().filter(|hook| hook["state"] != "ok").collect();
        if missing.is_empty() {
            writeln!(out, "| {name} | none | | |")?;
        }
        for hook in missing {
            let reason = word(&hook["reason"]).replace('|', "/");
            writeln!(out, "| {name} | `{}` | {reason} | {} |", word(&hook["program"]), word(&hook["lost"]))?;
        }
    }
    let names: Vec<_> = kernels.iter().map(|(name, rows)| format!("{name}, {}", rows.release())).collect();
    writeln!(
        out,
        "\n## What the verifier does\n\nInstructions that it went through, and milliseconds until the program was attached.\n"
    )?;
    writeln!(out, "| hook | where | {} |\n|---|---|{}", names.join(" | "), "---|".repeat(names.len()))?;
    for hook in kernels.first().context("no kernel has run")?.1.hooks() {
        let cells = kernels.iter().map(|(_, rows)| {
            let same = rows.hooks().find(|other| other["program"] == hook["program"]);
            same.map(cost).unwrap_or_default()
        });
        let cells: Vec<_> = cells.collect();
        writeln!(out, "| `{}` | {} | {} |", word(&hook["program"]), word(&hook["point"]), cells.join(" | "))?;
    }
    Ok(out)
}

/// What loading a hook cost: instructions, milliseconds.
fn cost(hook: &Value) -> String {
    if hook["state"] != "ok" {
        return "missing".to_owned();
    }
    let Some(time) = hook["load_us"].as_u64() else { return "no program".to_owned() };
    let time = format!("{}.{} ms", time / 1000, time / 100 % 10);
    match hook["verified_instructions"].as_u64() {
        Some(count) => format!("{count}, {time}"),
        None => time,
    }
}

/// What stands above the tables.
const HEAD: &str = "\
# Kernels

Made by `cargo xtask vm`; do not edit. It boots the kernels of [`vagrant/kernels.toml`](../vagrant/kernels.toml) in QEMU,
with cgroup v2 alone, starts the sensor with every hook and again with some of them left out, has real clients call a
local endpoint, and holds every record against what the endpoint received. A call is right when its record has the
process, flow, key, provider, model and tokens that the endpoint saw; a flow when it has process, executable, cgroup and
provider. Raw rows are kept in `target/vm/rows`. Machines are emulated without hardware help, so times there are some ten
to thirty times those of real ones; the host's own row is real.
";

/// What stands above the table of other points.
const OTHER_POINTS: &str = "\
The sensor has one attach point for each hook and no second choice: raw tracepoints, cgroup programs, uprobes and fanotify
exist on every kernel here. It does without the following, which some kernels lack or refuse.
";

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = r#"{"kernel":{"release":"6.1.0-1","cgroup1":0}}
{"doctor":{"state":"degraded","hooks":[
{"program":"kw_a","point":"x","state":"ok","load_us":1234,"verified_instructions":77,"lost":"all"},
{"program":"kw_tls_return","point":"y","state":"missing","reason":"a|b","lost":"much"}]}}
{"tier":{"tier":"every hook","missing_hooks":["kw_tls_return"],"calls":3,"calls_right":0,"flows_right":3,"clients":3,"wrong":[],"error":null}}
"done"
"#;

    fn rows(text: &str) -> Rows {
        Rows::parse(&text.replace(",\"hooks\":[\n", ",\"hooks\":[").replace("},\n{", "},{")).unwrap()
    }

    #[test]
    fn the_report_names_what_is_missing_and_what_each_hook_cost() {
        let text = text(&[("debian-12".into(), rows(ROWS))], &["debian-13"]).unwrap();
        assert!(text.contains("Not run yet: debian-13."), "{text}");
        assert!(
            text.contains(
                "| debian-12, 6.1.0-1 | 1 of 2 | v2 | every hook: 3 of 3 flows right, no plaintext |"
            ),
            "{text}"
        );
        assert!(text.contains("| debian-12 | `kw_tls_return` | a/b | much |"), "{text}");
        assert!(text.contains("| `kw_a` | x | 77, 1.2 ms |"), "{text}");
    }

    #[test]
    fn a_run_that_ended_early_or_says_something_wrong_fails() {
        assert!(Rows::parse(&ROWS.replace("\"done\"", "").replace('\n', " ")).is_err());
        rows(ROWS).require("x").unwrap();
        let wrong = rows(&ROWS.replace("\"wrong\":[]", "\"wrong\":[\"no flow\"]"));
        assert!(wrong.require("x").unwrap_err().to_string().contains("every hook: no flow"));
        assert!(rows(&ROWS.replace("degraded", "unusable")).require("x").is_err());
    }
}
