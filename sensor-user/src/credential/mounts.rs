//! Mounts that hold secrets, from /proc/PID/mountinfo (proc_pid_mountinfo(5)).

use std::path::PathBuf;

use super::{list::is_secret_folder, marks::Mark};

/// Bytes of a mount table that are looked at.
const MAX_BYTES: usize = 1 << 20;

/// Where secrets are mounted in the namespace of process `pid`, and what to mark of each: all of a file system in
/// memory, which holds nothing else, and of others what is reached through the mount.
pub(super) fn secret_mounts(pid: u32) -> Vec<(PathBuf, Mark)> {
    let Ok(bytes) = std::fs::read(format!("/proc/{pid}/mountinfo")) else { return Vec::new() };
    let text = String::from_utf8_lossy(bytes.get(..MAX_BYTES).unwrap_or(&bytes)).into_owned();
    text.lines().filter_map(secret_mount).collect()
}

fn secret_mount(line: &str) -> Option<(PathBuf, Mark)> {
    let (mount, kind) = line.split_once(" - ")?;
    let point = PathBuf::from(unescaped(mount.split(' ').nth(4)?));
    let in_memory = matches!(kind.split(' ').next()?, "tmpfs" | "ramfs");
    is_secret_folder(&point).then_some((point, if in_memory { Mark::FileSystem } else { Mark::Mount }))
}

/// Octal escapes of spaces, tabs, line ends and backslashes.
fn unescaped(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_secret_mounts_count() {
        for (line, found) in [
            (
                "36 35 0:33 / /run/secrets rw,nosuid - tmpfs tmpfs rw",
                Some(("/run/secrets", Mark::FileSystem)),
            ),
            (
                "36 35 8:1 /x/key /run/secrets/key ro shared:1 - ext4 /dev/sda1 rw",
                Some(("/run/secrets/key", Mark::Mount)),
            ),
            (
                "36 35 0:3 / /var/lib/kubelet/pods/1/volumes/kubernetes.io~secret/my\\040key rw - tmpfs tmpfs rw",
                Some(("/var/lib/kubelet/pods/1/volumes/kubernetes.io~secret/my key", Mark::FileSystem)),
            ),
            ("36 35 0:33 / /run rw - tmpfs tmpfs rw", None),
            ("broken", None),
        ] {
            let found = found.map(|(path, mark)| (PathBuf::from(path), mark));
            assert_eq!(secret_mount(line), found, "{line}");
        }
    }
}
