//! Mounts that hold secrets, from /proc/PID/mountinfo (proc_pid_mountinfo(5)).

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    path::PathBuf,
};

use super::{list::is_secret_folder, marks::Mark};

/// Bytes of a mount table that are looked at.
const MAX_BYTES: usize = 1 << 20;

/// A mount that holds secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecretMount {
    /// Its id, no other mount's while it is there.
    pub(super) id: u64,
    /// Where it is.
    pub(super) point: PathBuf,
    /// What to mark: all of a file system in memory, which holds nothing else; of others what is reached through
    /// the mount.
    pub(super) mark: Mark,
}

/// Those in the namespace that process `pid` is in at this moment: a process that enters a container changes it.
pub(super) fn secret_mounts(pid: u32) -> Vec<SecretMount> {
    let Ok(bytes) = std::fs::read(format!("/proc/{pid}/mountinfo")) else { return Vec::new() };
    let text = String::from_utf8_lossy(bytes.get(..MAX_BYTES).unwrap_or(&bytes)).into_owned();
    text.lines().filter_map(secret_mount).collect()
}

/// The id of the mount through which `file` was opened (fdinfo in proc(5)).
pub(super) fn mount_id(file: &impl AsFd) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| io::Error::other("no mount id in fdinfo"))
}

fn secret_mount(line: &str) -> Option<SecretMount> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    let id = fields.next()?.parse().ok()?;
    let point = PathBuf::from(unescaped(fields.nth(3)?));
    let in_memory = matches!(kind.split(' ').next()?, "tmpfs" | "ramfs");
    let mark = if in_memory { Mark::FileSystem } else { Mark::Mount };
    is_secret_folder(&point).then_some(SecretMount { id, point, mark })
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
            let found = found.map(|(path, mark)| SecretMount { id: 36, point: PathBuf::from(path), mark });
            assert_eq!(secret_mount(line), found, "{line}");
        }
    }

    #[test]
    fn a_file_tells_through_which_mount_it_was_opened() {
        let of = |path: &str| mount_id(&std::fs::File::open(path).unwrap()).unwrap();
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let at = |point: &str| {
            let line = table.lines().rev().find(|line| line.split(' ').nth(4) == Some(point)).unwrap();
            line.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        assert_eq!((of("/proc/self/stat"), of("/")), (at("/proc"), at("/")));
    }
}
