//! Filesystems of the kernel that a container or minimal system leaves out.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{run, say};

/// Filesystems that the sensor uses: type, usual place.
const FILESYSTEMS: [(&str, &str); 2] = [("bpf", "/sys/fs/bpf"), ("tracefs", "/sys/kernel/tracing")];

/// Mounts what is missing.
pub(crate) fn add_missing() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    for (kind, place) in FILESYSTEMS {
        if is_mounted(&mounts, kind, place) {
            continue;
        }
        if !Path::new(place).is_dir() {
            say(format_args!("{place} does not exist: the kernel may lack {kind}"));
            continue;
        }
        say(format_args!("mounting {kind} at {place}"));
        // Not fatal: the sensor says itself what it loses.
        if let Err(error) = run(Command::new("mount").args(["-t", kind, kind, place])) {
            say(format_args!("{error:#}"));
        }
    }
    Ok(())
}

fn is_mounted(mounts: &str, kind: &str, place: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(place) && words.next() == Some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_needs_the_right_type_at_the_right_place() {
        let mounts = "sysfs /sys sysfs rw 0 0\nnone /sys/fs/bpf bpf rw,mode=700 0 0\ntmpfs /sys/kernel/tracing tmpfs rw 0 0\n";
        assert!(is_mounted(mounts, "bpf", "/sys/fs/bpf"));
        assert!(!is_mounted(mounts, "tracefs", "/sys/kernel/tracing"));
        assert!(!is_mounted("", "bpf", "/sys/fs/bpf"));
    }
}
