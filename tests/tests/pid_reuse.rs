//! Process ids that come back a hundred thousand times give no call another process' origin.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, ensure};
use keywitness_tests::{
    keys,
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::Server,
};

/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(30);
/// Calls made while process ids come back; each with a key and a file of its own.
const CALLS: usize = 40;

/// In a pid namespace of 400 ids: processes that come and go, and in between shells that read their key from
/// the file of their number and have curl make the call. Every second file is opened by an unrelated process
/// as well, which ends at once, so that its id comes back soon.
const SCRIPT: &str = r#"
echo 400 >/proc/sys/kernel/pid_max || exit 3
perl -e 'for (1 .. 100000) { my $p = fork; exit 0 if defined $p && !$p; waitpid $p, 0 if $p } exit 0' &
churn=$!
i=0
while [ $i -lt "$1" ]; do
  sh -c 'read -r key <"$0/h$1/.cache/huggingface/token"
    curl --silent --show-error --output /dev/null -H "content-type: application/json" \
      -H "authorization: Bearer $key" -d "{\"model\":\"reuse-$1\",\"messages\":[]}" \
      https://api.openai.com/v1/chat/completions; :' "$0" $i || exit 4
  j=$(( (i + 1) % $1 ))
  (read -r other <"$0/h$j/.cache/huggingface/token")
  i=$((i + 1))
done
wait $churn
"#;

#[test]
fn no_call_gets_the_origin_of_another_process_with_its_pid() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut files = HashMap::new();
    for number in 0..CALLS {
        let file = sandbox.dir().join(format!("h{number}/.cache/huggingface/token"));
        std::fs::create_dir_all(file.parent().unwrap_or(sandbox.dir()))?;
        std::fs::write(&file, format!("{}\n", keys::openai(&format!("reuse {number}"))))?;
        files.insert(format!("reuse-{number}"), file.display().to_string());
    }
    let config = sandbox.dir().join("config.toml");
    let pattern = sandbox.dir().join("h*/.cache/huggingface/token");
    std::fs::write(&config, format!("[credentials]\nwatch = ['{}']\n", pattern.display()))?;
    let mut sensor = Sensor::start(&["--config", &config.display().to_string()])?;
    // A home folder that no process had before is learned when the first one starts.
    ensure!(sandbox.command("sleep").arg("1").status()?.success());
    let mut command = sandbox.command("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "/bin/sh", "-c", SCRIPT]).arg(sandbox.dir());
    let output = command.arg(CALLS.to_string()).output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let all = |records: &[_]| {
        calls(records).filter(|call| files.contains_key(&call.model_requested)).count() >= CALLS
    };
    sensor.wait_for("every call", SETTLE, all)?;
    let stopped = sensor.stop()?;
    let (mut known, mut wrong) = (0, Vec::new());
    for call in stopped.calls() {
        let Some(file) = files.get(&call.model_requested) else { continue };
        let origin = call.credential.clone().and_then(|credential| credential.origin).unwrap_or_default();
        match origin.r#type.as_str() {
            "file" if origin.path == *file => known += 1,
            "unknown" => {}
            _ => wrong.push(format!("{}: {origin:?}", call.model_requested)),
        }
    }
    eprintln!("{known} of {CALLS} origins known, {} wrong", wrong.len());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(known > CALLS / 2, "only {known} of {CALLS} origins are known");
    Ok(())
}
