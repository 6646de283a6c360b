//! kill -9 under load, of either side.

use std::{
    path::Path,
    process::{Child, Command},
    sync::atomic::Ordering,
};

use flow_log::{Range, Reader};

use crate::support::{Collector, Host, acknowledged, wait};

#[test]
fn whatever_is_acknowledged_survives_kills_and_is_there_once() {
    const KILLS: u64 = 6;
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    collector.start();
    let mut host = Host::of(&collector, "web-1");
    for kill in 1..=KILLS {
        let uplink = host.send();
        let mut acked = 0;
        wait("records are acknowledged", || {
            host.write(100, "a");
            acked = acknowledged(&uplink);
            // Somewhere in a stream of batches, each time elsewhere.
            (acked >= 200 + 37 * kill).then_some(())
        });
        host.write(1500, "a");
        collector.kill();
        // An uplink sends each record once, but for those that nobody acknowledged.
        let stored = collector.numbers("web-1");
        assert!(stored.len() as u64 >= acked, "kill {kill}: {} of {acked}", stored.len());
        if kill % 3 == 0 {
            // A sensor that forgot how far it was sends everything again.
            uplink.stop();
            host.forget_place();
        }
        collector.start();
    }
    let uplink = host.send();
    wait("everything is stored", || {
        (collector.numbers("web-1").len() as u64 >= host.written()).then_some(())
    });
    assert_eq!(collector.numbers("web-1"), (1..=host.written()).collect());
    uplink.stop();
    assert!(collector.findings("suspect-sensor").is_empty(), "{:?}", collector.findings("suspect-sensor"));
}

/// Folder of the fleet, for the sensor that this program becomes when it is started by the test below.
const FOLDER: &str = "KEYWITNESS_TEST_SENSOR";
const SENSOR: &str = "kills::a_sensor_that_writes_until_it_is_killed";
/// Records that wait for the collector before the sensor writes more.
const BACKLOG: u64 = 500;

/// The sensor of the next test; alone it does nothing.
#[test]
#[ignore = "another test starts it"]
fn a_sensor_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let collector = Collector::at(Path::new(&folder));
    let mut host = Host::of(&collector, "web-1");
    let uplink = host.send();
    let mut written = 0;
    loop {
        host.write(50, "a");
        written += 50;
        wait("the collector", || {
            let known = uplink.progress().acknowledged.load(Ordering::Relaxed);
            (written < known + BACKLOG).then_some(())
        });
    }
}

struct Sensor(Child);

impl Sensor {
    fn start(collector: &Collector) -> Self {
        collector.note_address();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", SENSOR, "--nocapture"]).env(FOLDER, &collector.folder);
        Self(command.stdout(std::process::Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn with_kills_of_both_sides_under_load_each_record_of_the_log_is_stored_once() {
    const ROUNDS: usize = 9;
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    collector.start();
    let mut sensor = Some(Sensor::start(&collector));
    let mut before = 0;
    for round in 1..=ROUNDS {
        // Each time elsewhere in the stream.
        let more = 200 + 61 * round;
        before = wait("more is stored", || {
            let stored = collector.numbers("web-1").len();
            (stored >= before + more).then_some(stored)
        });
        if round % 3 != 1 {
            drop(sensor.take());
        }
        if round % 3 != 2 {
            collector.kill();
            let stored = collector.numbers("web-1").len();
            assert!(stored >= before, "round {round}: {stored} of {before} are left");
            collector.start();
        }
        if sensor.is_none() {
            sensor = Some(Sensor::start(&collector));
        }
    }
    drop(sensor.take());
    // The last sensor only sends what is left.
    let host = Host::of(&collector, "web-1");
    let uplink = host.send();
    let written = host.numbers();
    assert!(written.len() >= before);
    wait("everything is stored", || (collector.numbers("web-1").len() >= written.len()).then_some(()));
    assert_eq!(collector.numbers("web-1"), written);
    uplink.stop();
    let log = Reader::open(&folder.path().join("records/default")).unwrap();
    assert!(log.lines(Range::default()).unwrap().all(|line| line.is_ok()));
}
