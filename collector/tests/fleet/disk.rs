//! A full disk on either side. These need root for a file system of their own; `cargo xtask test` runs them with the
//! end-to-end tests, and `cargo test -p keywitness-collector --test fleet -- --ignored` alone.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Collector, Host, acknowledged, now, wait};

/// A file system that is soon full; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let disk = Self(at.to_owned());
        disk.run(&["-t", "tmpfs", "-o", "size=300k", "tmpfs"]);
        disk
    }

    fn grow(&self) {
        self.run(&["-o", "remount,size=100m"]);
    }

    fn run(&self, arguments: &[&str]) {
        let done = Command::new("mount").args(arguments).arg(&self.0).status().unwrap();
        assert!(done.success(), "mount {arguments:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still runs when a test fails may have files open.
        assert!(Command::new("umount").arg("--lazy").arg(&self.0).status().unwrap().success());
    }
}

#[test]
#[ignore = "needs root to mount a small file system"]
fn a_full_disk_of_the_collector_acknowledges_nothing_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    let disk = SmallDisk::mount(&folder.path().join("records"));
    collector.start();
    let mut host = Host::of(&collector, "web-1");
    let uplink = host.send();
    wait("the disk is full", || {
        host.write(2000, &format!("{}", now()));
        uplink.progress().error().contains("cannot store").then_some(())
    });
    assert!(acknowledged(&uplink) < host.written());
    assert!(collector.numbers("web-1").len() as u64 >= acknowledged(&uplink));
    disk.grow();
    wait("everything is stored", || {
        (collector.numbers("web-1").len() as u64 == host.written()).then_some(())
    });
    assert_eq!(collector.numbers("web-1"), (1..=host.written()).collect());
    uplink.stop();
    collector.kill();
}

#[test]
#[ignore = "needs root to mount a small file system"]
fn a_full_disk_of_a_sensor_stops_its_log_and_nothing_that_is_in_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    let disk = SmallDisk::mount(&folder.path().join("hosts/web-1"));
    collector.start();
    let mut host = Host::of(&collector, "web-1");
    let uplink = host.send();
    wait("the disk is full", || {
        host.write(2000, &format!("{}", now()));
        host.failure()
    });
    let durable = host.numbers();
    wait("what is in the log is stored", || {
        (collector.numbers("web-1").len() >= durable.len()).then_some(())
    });
    assert_eq!(collector.numbers("web-1"), durable);
    assert!((durable.len() as u64) < host.written());
    disk.grow();
    wait("the log goes on", || {
        host.write(1, "a");
        host.failure().is_none().then_some(())
    });
    let durable = host.numbers();
    wait("what is in the log is stored", || {
        (collector.numbers("web-1").len() >= durable.len()).then_some(())
    });
    assert_eq!(collector.numbers("web-1"), durable);
    assert!(durable.contains(&host.written()));
    uplink.stop();
}
