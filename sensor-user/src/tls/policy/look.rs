//! Looking at processes, folders and files for TLS functions.

use std::path::Path;

use super::{Coverage, Policy, REASON_WAITING};
use crate::{
    bpf::Ebpf,
    tls::{
        files::{Examined, FileKey, Known},
        installed::installed,
        mapping::Mapping,
    },
};

/// Executable mappings looked at in one process.
const MAX_MAPPINGS: usize = 512;
/// Root directories (mount namespaces) whose library folders were looked at.
const MAX_ROOTS: usize = 4096;
/// Where distributions keep shared libraries.
const LIBRARY_DIRECTORIES: [&str; 8] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "lib",
    "usr/local/lib",
];
/// How the names of TLS libraries begin that many programs share: probed before one of them calls.
const LIBRARIES: [&str; 3] = ["libssl", "libgnutls", "libmbedtls"];

/// Name of the library that every Java program has.
const JAVA: &str = "libjvm.so";
/// Why plaintext is not read: Java's own TLS is compiled at run time.
const REASON_JAVA: &str = "jsse";
/// The same: the process was gone, or it is not allowed to be looked at.
const REASON_GONE: &str = "the process could not be looked at";

impl Policy {
    /// Looks at the files a process has mapped as code: its first TLS library, or why there is none.
    pub(super) fn look_at(&mut self, ebpf: &mut Ebpf, pid: u32, now_ns: u64) -> Coverage {
        let gone = || Coverage { reason: REASON_GONE.to_owned(), ..Coverage::default() };
        let Ok(maps) = std::fs::read_to_string(format!("/proc/{pid}/maps")) else { return gone() };
        let mut found = None;
        let mut reason = None;
        let mut last = "";
        for line in maps.lines().take(MAX_MAPPINGS * 4) {
            let Some(mapping) = Mapping::parse(line).filter(|mapping| mapping.path != last) else { continue };
            last = mapping.path;
            let name = mapping.name();
            match self.add(ebpf, &mapping.file(pid), now_ns) {
                Some((key, Known::Tls)) => {
                    self.restore(ebpf, key, &mapping, pid, now_ns);
                    let method = self.targets.get(&key).map(|target| target.library.method());
                    found.get_or_insert((name.to_owned(), method.unwrap_or_default()));
                }
                Some((_, Known::Waiting)) => reason = Some(REASON_WAITING.to_owned()),
                _ if name == JAVA => reason = Some(REASON_JAVA.to_owned()),
                // The first mapped file is the executable.
                Some((_, Known::Nothing { build_id })) => {
                    reason.get_or_insert_with(|| unrecognised(name, &build_id));
                }
                None => {}
            }
        }
        match (found, reason) {
            (Some((library, method)), _) => Coverage { library, method, reason: String::new() },
            (None, Some(reason)) => Coverage { reason, ..Coverage::default() },
            (None, None) => gone(),
        }
    }

    /// Looks at the host's executables that are known to call models, so that even their first process
    /// finds its probes in place.
    pub(super) fn look_for_known(&mut self, ebpf: &mut Ebpf, now_ns: u64) {
        self.looked_ns = now_ns;
        for path in installed(&self.known) {
            self.add(ebpf, &path, now_ns);
        }
    }

    /// Looks for TLS libraries in the library folders below a root directory that was not seen before.
    pub(super) fn look_in_root(&mut self, ebpf: &mut Ebpf, root: &Path, now_ns: u64) {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(metadata) = std::fs::metadata(root) else { return };
        if self.roots.len() >= MAX_ROOTS {
            self.roots.clear();
        }
        if !self.roots.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        for directory in LIBRARY_DIRECTORIES {
            let Ok(entries) = std::fs::read_dir(root.join(directory)) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                if LIBRARIES.iter().any(|library| name.as_encoded_bytes().starts_with(library.as_bytes())) {
                    self.add(ebpf, &entry.path(), now_ns);
                }
            }
        }
    }

    /// Looks at a file, and probes it when it is new and has TLS functions.
    pub(super) fn add(&mut self, ebpf: &mut Ebpf, path: &Path, now_ns: u64) -> Option<(FileKey, Known)> {
        let (key, examined) = self.files.examine(path)?;
        let known = match examined {
            Examined::Before(known) => known,
            Examined::New(library) => {
                self.probe(ebpf, library, now_ns);
                Known::Tls
            }
        };
        (known != Known::Tls || self.targets.contains_key(&key)).then_some((key, known))
    }
}

/// Why nothing is read of a process whose executable is `name`.
fn unrecognised(name: &str, build_id: &str) -> String {
    let build_id = if build_id.is_empty() { "none" } else { build_id };
    format!("no TLS library with known functions in the process; executable {name}, build id {build_id}")
}
