//! An nginx TLS server with one worker, and the load on it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::procfs;
use super::rows::Scratch;
use crate::shell::{find, run};
use crate::stop::{Group, Interrupt};

/// How long nginx may take to answer at first.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long one answer of its status page may take.
const STATUS_LIMIT: Duration = Duration::from_secs(5);
/// The largest status page that is read, in bytes.
const STATUS_SIZE: u64 = 4096;
/// The body of every answer: 38 bytes of JSON with the outer brackets.
const BODY: &str = r#"{"ok":true,"pad":"0123456789abcdef01"}"#;

/// The server. Its folder goes last, after the processes.
pub(super) struct Nginx {
    _master: Group,
    worker: u32,
    port: u16,
    status: PathBuf,
    folder: Scratch,
}

/// What the worker has done so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Requests answered.
    pub(super) requests: u64,
    /// CPU time in nanoseconds.
    pub(super) cpu_ns: u64,
    /// When it was taken.
    pub(super) at: Instant,
}

/// What the worker did between two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    /// CPU microseconds per request.
    pub(super) us_per_request: f64,
    /// Requests per second.
    pub(super) rate: f64,
}

impl Nginx {
    /// Starts the server on a free loopback port, on the first CPU.
    pub(super) fn start(interrupt: &Interrupt) -> Result<Self> {
        let folder = Scratch::new()?;
        let dir = folder.path();
        certificate(dir)?;
        let port = free_port()?;
        let status = dir.join("status.sock");
        let config = dir.join("nginx.conf");
        fs::write(&config, configuration(dir, port))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let log = File::create(dir.join("stderr.log")).context("cannot write nginx's log")?;
        let mut command = pinned(0, "nginx")?;
        command.arg("-c").arg(&config).arg("-e").arg(dir.join("error.log"));
        let mut master =
            Group::start("nginx", command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log))?;
        let started = interrupt.wait_until(START_LIMIT, || {
            if master.ended()?.is_some() {
                let log = fs::read_to_string(dir.join("error.log")).unwrap_or_default();
                bail!("nginx ended at once: {}", log.trim());
            }
            Ok(requests(&status).is_ok())
        })?;
        let worker = procfs::children(master.id())?.first().copied();
        let (true, Some(worker)) = (started, worker) else {
            bail!("nginx does not answer within {START_LIMIT:?}")
        };
        Ok(Self { _master: master, worker, port, status, folder })
    }

    /// Starts load on the server for at most the given time, on the last CPU.
    pub(super) fn load(&self, at_most: Duration) -> Result<Group> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut wrk = pinned(cpus - 1, "wrk")?;
        wrk.args([
            "-t1",
            "-c8",
            &format!("-d{}s", at_most.as_secs()),
            &format!("https://127.0.0.1:{}/", self.port),
        ]);
        Group::start("wrk", wrk.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// What the worker has done so far.
    pub(super) fn sample(&self) -> Result<Sample> {
        let cpu_ns = procfs::cpu_ns(self.worker)?;
        Ok(Sample { requests: requests(&self.status)?, cpu_ns, at: Instant::now() })
    }

    /// The TLS library that the worker has loaded.
    pub(super) fn tls_library(&self) -> Result<String> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.worker))
            .context("cannot read the maps of nginx")?;
        library(&maps).map(str::to_owned).context("nginx has no libssl loaded")
    }

    /// Its folder, for the logs of observers.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Sample {
    /// From this sample to a later one; an error when nothing was answered between them.
    pub(super) fn until(&self, later: &Self) -> Result<Window> {
        let requests = later.requests.saturating_sub(self.requests);
        if requests == 0 {
            bail!("nginx answered nothing: does wrk run?");
        }
        let cpu_us = later.cpu_ns.saturating_sub(self.cpu_ns) as f64 / 1000.0;
        let seconds = later.at.duration_since(self.at).as_secs_f64();
        Ok(Window { us_per_request: cpu_us / requests as f64, rate: requests as f64 / seconds })
    }
}

/// A system program that stays on one CPU.
fn pinned(cpu: usize, program: &str) -> Result<Command> {
    let path =
        find(program).with_context(|| format!("{program} is missing: run `cargo xtask setup --bench`"))?;
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string()]).arg(path);
    Ok(command)
}

fn certificate(dir: &Path) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-days",
        "2",
        "-nodes",
    ]);
    openssl
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(dir.join("key.pem"))
        .arg("-out")
        .arg(dir.join("cert.pem"));
    run(openssl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
        .context("cannot make a certificate")
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free loopback port")?;
    Ok(listener.local_addr().context("no free loopback port")?.port())
}

fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "worker_processes 1; daemon off; user root; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
    location / {{ return 200 '{BODY}'; }}
  }}
  server {{ listen unix:{dir}/status.sock; location / {{ stub_status; }} }}
}}
"
    )
}

/// Asks nginx over its unix socket: nothing of that is seen on the network.
fn requests(status: &Path) -> Result<u64> {
    let mut stream = UnixStream::connect(status).context("cannot reach nginx's status page")?;
    stream.set_read_timeout(Some(STATUS_LIMIT)).context("cannot set a time limit")?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").context("cannot ask nginx for its status")?;
    let mut page = String::new();
    stream.take(STATUS_SIZE).read_to_string(&mut page).context("cannot read nginx's status")?;
    requests_of(&page).context("nginx's status page has an unexpected form")
}

fn requests_of(page: &str) -> Option<u64> {
    let mut lines = page.lines().skip_while(|line| !line.starts_with("server accepts handled requests"));
    lines.nth(1)?.split_whitespace().nth(2)?.parse().ok()
}

fn library(maps: &str) -> Option<&str> {
    maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libssl.so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_third_number_of_the_status_page() {
        let page = "HTTP/1.1 200 OK\r\n\r\nActive connections: 9 \nserver accepts handled requests\n 5 6 1234 \nReading: 0\n";
        assert_eq!(requests_of(page), Some(1234));
        assert_eq!(requests_of("HTTP/1.1 404 Not Found\r\n\r\n"), None);
    }

    #[test]
    fn loaded_tls_library_is_found_in_the_maps() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 12 /usr/lib/libc.so.6\n7f02-7f03 r-xp 00000000 08:01 13 /usr/lib/libssl.so.3\n7f04-7f05 rw-p 00000000 00:00 0\n";
        assert_eq!(library(maps), Some("/usr/lib/libssl.so.3"));
        assert_eq!(library("7f04-7f05 rw-p 00000000 00:00 0\n"), None);
    }

    #[test]
    fn window_is_cpu_per_request_and_requests_per_second() {
        let at = Instant::now();
        let first = Sample { requests: 100, cpu_ns: 1_000_000, at };
        let later = Sample { requests: 300, cpu_ns: 3_000_000, at: at + Duration::from_secs(2) };
        assert_eq!(first.until(&later).unwrap(), Window { us_per_request: 10.0, rate: 100.0 });
        assert!(first.until(&first).is_err());
    }

    #[test]
    fn body_has_the_size_it_says() {
        assert_eq!(BODY.len(), 38);
    }
}
