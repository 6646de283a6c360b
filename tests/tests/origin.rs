//! Where the credential of a call came from: exactly the right file or variable, or `unknown`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    client::{Runtime, finish, script},
    keys,
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::Server,
    setup,
    wait::until,
};
use proto::v1::{CredentialAccess, Origin, Record};

/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(20);

/// Server and sensor of one test, and the clients in between.
struct Scene<'a> {
    sandbox: &'a Sandbox,
    sensor: Sensor,
}

impl<'a> Scene<'a> {
    fn new(sandbox: &'a Sandbox) -> Result<Self> {
        Ok(Self { sandbox, sensor: Sensor::start(&[])? })
    }

    /// A file below the home folder of the clients.
    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        write(&self.sandbox.dir().join(name), text)
    }

    /// Has the home folder known, of which `file` is one: a home that no process had before is learned from the
    /// first ones that start.
    fn known_home(&self, file: &Path) -> Result<()> {
        until("an open of the file to be told", SETTLE, || {
            ensure!(self.sandbox.command("cat").arg(file).stdout(Stdio::null()).status()?.success());
            Ok((!accesses(&self.sensor.records(), file).is_empty()).then_some(()))
        })
    }

    /// A client that takes its key from `how`.
    fn client(&self, how: &str, model: &str) -> Result<Command> {
        let mut command = script(Runtime::Python, "origin_call.py", self.sandbox, None)?;
        command.args([how, model]);
        Ok(command)
    }

    /// The origin told of the one call that asked for `model`.
    fn origin(&mut self, model: &str) -> Result<Origin> {
        let of = |records: &[Record]| {
            let call = calls(records).find(|call| call.model_requested == model)?;
            call.credential.clone()?.origin
        };
        let mut found = None;
        let seen = std::cell::RefCell::new(&mut found);
        self.sensor.wait_for("the call with an origin", SETTLE, |records| {
            **seen.borrow_mut() = of(records);
            seen.borrow().is_some()
        })?;
        found.context("no origin")
    }

    /// The accesses told of `path`.
    fn accesses(&mut self, path: &Path) -> Result<Vec<CredentialAccess>> {
        let mut found = Vec::new();
        let seen = std::cell::RefCell::new(&mut found);
        self.sensor.wait_for("the access", SETTLE, |records| {
            **seen.borrow_mut() = accesses(records, path);
            !seen.borrow().is_empty()
        })?;
        Ok(found)
    }
}

fn accesses(records: &[Record], path: &Path) -> Vec<CredentialAccess> {
    let fits =
        |access: &&CredentialAccess| access.file.as_ref().is_some_and(|file| Path::new(&file.path) == path);
    records.iter().filter_map(Record::credential_access).filter(fits).cloned().collect()
}

fn write(path: &Path, text: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(path.parent().context("no folder")?)?;
    std::fs::write(path, text)?;
    Ok(path.to_owned())
}

fn is_file(origin: &Origin, path: &Path) -> Result<()> {
    ensure!(origin.r#type == "file" && Path::new(&origin.path) == path, "{path:?}: {origin:?}");
    ensure!(origin.inode.is_some() && origin.first_seen > 0, "{origin:?}");
    Ok(())
}

/// Program and arguments of a command of the sandbox, without what enters the sandbox.
fn inner(command: &Command) -> impl Iterator<Item = std::ffi::OsString> {
    command.get_args().skip_while(|arg| *arg != "--").skip(1).map(ToOwned::to_owned)
}

fn is_unknown(origin: &Origin) -> Result<()> {
    ensure!(origin.r#type == "unknown" && !origin.reason.is_empty(), "{origin:?}");
    Ok(())
}

#[test]
fn each_call_has_the_file_or_variable_that_its_key_came_from() -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut scene = Scene::new(&sandbox)?;

    // The file of a known client, by its home folder.
    let key = keys::openai("codex");
    let auth = scene.file(".codex/auth.json", &format!(r#"{{"OPENAI_API_KEY":"{key}"}}"#))?;
    scene.known_home(&auth)?;
    let mut client = scene.client("json", "codex")?;
    finish(
        {
            client.arg(&auth);
            client
        },
        Runtime::Python,
    )?;
    is_file(&scene.origin("codex")?, &auth)?;
    let read = scene.accesses(&auth)?;
    let known = scene.sensor.fingerprints([&key])?;
    ensure!(read[0].credentials[0].fingerprint == known[&key], "{read:?}");
    ensure!(read[0].file.as_ref().is_some_and(|file| file.client == "codex"), "{read:?}");
    ensure!(read[0].mode == "read", "{read:?}");
    let mut append = sandbox.command("/bin/sh");
    ensure!(append.args(["-c", r#": >>"$0""#]).arg(&auth).status()?.success());
    scene.sensor.wait_for("the access for writing", SETTLE, |records| {
        accesses(records, &auth).iter().any(|access| ["write", "writable"].contains(&access.mode.as_str()))
    })?;

    // Replaced by rename: the next reader has the new file, and its key.
    let fresh =
        scene.file(".codex/new", &format!(r#"{{"OPENAI_API_KEY":"{}"}}"#, keys::openai("renamed")))?;
    std::fs::rename(&fresh, &auth)?;
    let mut client = scene.client("json", "renamed")?;
    finish(
        {
            client.arg(&auth);
            client
        },
        Runtime::Python,
    )?;
    let renamed = scene.origin("renamed")?;
    is_file(&renamed, &auth)?;
    ensure!(Some(std::os::unix::fs::MetadataExt::ino(&auth.metadata()?)) == renamed.inode, "{renamed:?}");

    // By a symbolic link of another name.
    let link = sandbox.dir().join("link");
    std::os::unix::fs::symlink(&auth, &link)?;
    let mut client = scene.client("json", "linked")?;
    finish(
        {
            client.arg(&link);
            client
        },
        Runtime::Python,
    )?;
    is_file(&scene.origin("linked")?, &auth)?;

    // python-dotenv, in the current folder.
    let env = scene.file("app/.env", &format!("OPENAI_API_KEY=\"{}\"\n", keys::openai("dotenv")))?;
    let client = scene.client("dotenv", "dotenv")?;
    let mut shell = sandbox.command("/bin/sh");
    // Entering the sandbox leaves the current folder.
    shell.args(["-c", r#"cd "$0" && exec "$@""#]).arg(env.parent().context("no folder")?);
    for (name, value) in client.get_envs() {
        value.map(|value| shell.env(name, value));
    }
    shell.args(inner(&client));
    finish(shell, Runtime::Python)?;
    is_file(&scene.origin("dotenv")?, &env)?;

    // An inherited variable.
    let mut client = scene.client("environment", "environment")?;
    client.env("OPENAI_API_KEY", keys::openai("environment"));
    finish(client, Runtime::Python)?;
    let origin = scene.origin("environment")?;
    ensure!(origin.r#type == "environment" && origin.variable == "OPENAI_API_KEY", "{origin:?}");

    // A file that a variable names.
    let named =
        scene.file("elsewhere/sa.json", &format!(r#"{{"OPENAI_API_KEY":"{}"}}"#, keys::openai("named")))?;
    let mut client = scene.client("json", "named")?;
    finish(
        {
            client.arg(&named).env("GOOGLE_APPLICATION_CREDENTIALS", &named);
            client
        },
        Runtime::Python,
    )?;
    is_file(&scene.origin("named")?, &named)?;

    // A key on the command line, which nothing was seen to hold.
    let other = scene.file("unwatched", &keys::openai("unwatched"))?;
    let mut client = scene.client("raw", "unwatched")?;
    finish(
        {
            client.arg(&other);
            client
        },
        Runtime::Python,
    )?;
    is_unknown(&scene.origin("unwatched")?)?;
    drop(scene.sensor.stop()?);
    Ok(())
}

#[test]
fn a_file_opened_before_the_sensor_is_unknown() -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let auth = write(&sandbox.dir().join(".cache/huggingface/token"), &keys::openai("early"))?;
    let opened = std::fs::File::open(&auth)?;
    let mut scene = Scene::new(&sandbox)?;
    let mut client = scene.client("descriptor", "early")?;
    client.stdin(Stdio::from(opened));
    finish(client, Runtime::Python)?;
    is_unknown(&scene.origin("early")?)?;
    drop(scene.sensor.stop()?);
    Ok(())
}

#[test]
fn a_wrapper_shell_is_named_as_the_one_that_opened_the_file() -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut scene = Scene::new(&sandbox)?;
    let auth = scene.file(".cache/huggingface/token", &format!("{}\n", keys::openai("wrapper")))?;
    scene.known_home(&auth)?;
    let mut shell = sandbox.command("/bin/sh");
    // The shell reads the key itself; its child gets it through a pipe.
    shell.args(["-c", r#"read -r key <"$0"; echo $$; printf %s "$key" | "$@""#]).arg(&auth);
    let client = scene.client("descriptor", "wrapper")?;
    shell.args(inner(&client));
    let finished = finish(shell, Runtime::Python)?;
    let origin = scene.origin("wrapper")?;
    is_file(&origin, &auth)?;
    let holder = origin.process.context("the shell is not named")?;
    let pid: u32 =
        String::from_utf8_lossy(&finished.output.stdout).lines().next().unwrap_or_default().parse()?;
    ensure!(holder.pid == pid, "{holder:?} is not {pid}");
    drop(scene.sensor.stop()?);
    Ok(())
}

#[test]
fn a_secret_mounted_in_a_container_and_two_readers_of_one_file() -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut scene = Scene::new(&sandbox)?;
    let run = |text: &str, arguments: &[&str]| -> Result<()> {
        let mut command = sandbox.command("/bin/sh");
        let output = command.args(["-c", text]).args(arguments).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    // In the sandbox's mount namespace only.
    let key = keys::openai("mounted");
    run(
        "mkdir -p /run/secrets && mount -t tmpfs none /run/secrets && printf %s \"$0\" >/run/secrets/any-name",
        &[&key],
    )?;
    for model in ["mounted", "mounted again"] {
        let mut client = scene.client("raw", model)?;
        finish(
            {
                client.arg("/run/secrets/any-name");
                client
            },
            Runtime::Python,
        )?;
        let origin = scene.origin(model)?;
        ensure!(origin.r#type == "docker_secret" && origin.path == "/run/secrets/any-name", "{origin:?}");
        ensure!(origin.process.is_none(), "the caller opened it itself: {origin:?}");
    }
    let readers = scene.accesses(Path::new("/run/secrets/any-name"))?;
    let pids: std::collections::BTreeSet<u32> =
        readers.iter().filter_map(|access| Some(access.process.as_ref()?.pid)).collect();
    ensure!(pids.len() >= 2, "{readers:?}");
    drop(scene.sensor.stop()?);
    Ok(())
}

#[test]
fn what_cannot_be_read_is_counted_and_skipped() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let mut scene = Scene::new(&sandbox)?;
    let huge = scene.file(".codex/auth.json", "")?;
    std::fs::File::options().write(true).open(&huge)?.set_len(64 << 20)?;
    let binary = scene.file(".gemini/oauth_creds.json", "\0\0\0")?;
    let pipe = sandbox.dir().join(".qwen/oauth_creds.json");
    std::fs::create_dir_all(pipe.parent().context("no folder")?)?;
    ensure!(Command::new("mkfifo").arg(&pipe).status()?.success());
    for path in [&huge, &binary] {
        // A first look makes the home folder known.
        for _ in 0..2 {
            ensure!(
                sandbox
                    .command("/bin/sh")
                    .args(["-c", "sleep 0.3; head -c 1 \"$0\" >/dev/null"])
                    .arg(path)
                    .status()?
                    .success()
            );
        }
        let accesses = scene.accesses(path)?;
        ensure!(!accesses[0].unread_reason.is_empty() && accesses[0].credentials.is_empty(), "{accesses:?}");
    }
    let mut through = sandbox.command("/bin/sh");
    through.args(["-c", "echo x >\"$0\" & read -r x <\"$0\"; wait"]).arg(&pipe);
    ensure!(through.status()?.success());
    let stopped = scene.sensor.stop()?;
    let skipped = &stopped.last_status()?.skipped;
    for cause in ["too_large", "binary"] {
        ensure!(
            skipped.iter().any(|loss| loss.kind == "credential" && loss.cause == cause),
            "{cause}: {skipped:?}"
        );
    }
    Ok(())
}
