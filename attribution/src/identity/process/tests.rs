use super::*;

fn key(pid: u32, start_ns: u64) -> ProcessKey {
    ProcessKey { pid, start_ns }
}

fn image(exe: &str) -> ProcessImage {
    ProcessImage { exe: exe.to_owned(), ..Default::default() }
}

fn task(process: ProcessKey) -> Task {
    Task { process, cgroup_id: 7, uid: 1000, comm: "t".into() }
}

fn exe(table: &ProcessTable, key: ProcessKey) -> Option<String> {
    table.get(key).and_then(|p| p.image.as_ref()).map(|image| image.exe.clone())
}

#[test]
fn a_child_runs_its_parents_program_until_it_execs() {
    let mut table = ProcessTable::default();
    table.exec(&task(key(10, 100)), key(1, 0), image("/bin/sh"));
    table.fork(key(10, 100), key(11, 200));
    assert_eq!(exe(&table, key(11, 200)).as_deref(), Some("/bin/sh"));
    table.exec(&task(key(11, 200)), key(10, 100), image("/usr/bin/curl"));
    assert_eq!(exe(&table, key(11, 200)).as_deref(), Some("/usr/bin/curl"));
    assert_eq!(exe(&table, key(10, 100)).as_deref(), Some("/bin/sh"));
}

#[test]
fn a_pid_used_again_is_another_process() {
    let mut table = ProcessTable::default();
    table.exec(&task(key(10, 100)), key(1, 0), image("/bin/old"));
    table.exit(key(10, 100), 150);
    table.fork(key(9, 9), key(10, 160));
    assert_eq!(exe(&table, key(10, 160)), None);
    assert_eq!(exe(&table, key(10, 100)).as_deref(), Some("/bin/old"));
}

#[test]
fn a_process_found_in_proc_is_taken_over_by_its_exact_start() {
    let mut table = ProcessTable::default();
    table.running(key(1, 0), 10, 0, 0, image("/init"), "/");
    table.running(key(5, 40), 10, 1, 0, image("/bin/agent"), "/a");
    table.seen(&task(key(5, 47)));
    assert_eq!(exe(&table, key(5, 47)).as_deref(), Some("/bin/agent"));
    assert_eq!(table.ancestors(key(5, 47)).count(), 1);
}

#[test]
fn an_ended_or_different_proc_entry_is_never_taken_over() {
    let mut table = ProcessTable::default();
    table.running(key(5, 40), 10, 1, 0, image("/bin/agent"), "/a");
    table.seen(&task(key(5, 50)));
    assert_eq!(exe(&table, key(5, 50)), None);
    table.exit(key(5, 41), 60);
    table.seen(&task(key(5, 45)));
    assert_eq!(exe(&table, key(5, 45)), None);
}

#[test]
fn lineage_survives_re_parenting() {
    let mut table = ProcessTable::default();
    table.exec(&task(key(2, 1)), key(1, 0), image("/agent"));
    table.fork(key(2, 1), key(3, 2));
    table.exit(key(2, 1), 5);
    table.exec(&task(key(3, 2)), key(1, 0), image("/tool"));
    let ancestors: Vec<_> = table.ancestors(key(3, 2)).map(|p| p.key).collect();
    assert_eq!(ancestors, [key(2, 1)]);
}

#[test]
fn ended_processes_stay_for_the_grace_time_only() {
    let mut table = ProcessTable::default();
    table.exec(&task(key(2, 1)), key(1, 0), image("/agent"));
    table.exit(key(2, 1), 10);
    table.expire(10 + GRACE_NS - 1);
    assert!(table.get(key(2, 1)).is_some());
    table.expire(10 + GRACE_NS);
    assert!(table.get(key(2, 1)).is_none());
}

#[test]
fn the_table_is_bounded_and_counts_what_it_refuses() {
    let mut table = ProcessTable::default();
    for pid in 0..MAX_PROCESSES as u32 + 10 {
        table.fork(key(0, 0), key(pid + 1, 1));
    }
    assert_eq!(table.len(), MAX_PROCESSES);
    assert_eq!(table.dropped.evicted, 10);
    table.exit(key(1, 1), 5);
    table.fork(key(0, 0), key(900_000, 1));
    assert!(table.get(key(900_000, 1)).is_some());
}

#[test]
fn a_lost_exit_shows_when_the_pid_is_used_again() {
    let mut table = ProcessTable::default();
    table.exec(&task(key(10, 100)), key(1, 0), image("/bin/old"));
    table.fork(key(9, 9), key(10, 500));
    assert!(!table.is_alive(key(10, 100)) && table.is_alive(key(10, 500)));
    table.expire(500 + GRACE_NS);
    assert!(table.get(key(10, 100)).is_none());
    assert!(table.get(key(10, 500)).is_some());
}

#[test]
fn a_late_event_of_an_older_generation_does_not_end_the_newer() {
    let mut table = ProcessTable::default();
    table.fork(key(9, 9), key(10, 500));
    table.exec(&task(key(10, 100)), key(1, 0), image("/bin/old"));
    assert!(table.is_alive(key(10, 500)) && !table.is_alive(key(10, 100)));
}

#[test]
fn a_clock_step_does_not_rename_a_process() {
    let mut table = ProcessTable { clock_ns: 1000, ..Default::default() };
    table.fork(key(9, 9), key(10, 500));
    table.clock_ns = 5000;
    table.exec(&task(key(10, 500)), key(9, 9), image("/bin/tool"));
    assert_eq!(table.started(key(10, 500)), 1500);
    assert_eq!(table.started(key(11, 500)), 5500);
}

#[test]
fn who_acted_is_known_only_when_one_generation_of_the_pid_was_alive() {
    let mut table = ProcessTable::default();
    let (parent, tick) = (ProcessKey { pid: 1, start_ns: 1 }, 10);
    let key = |start_ns| ProcessKey { pid: 7, start_ns };
    table.fork(parent, key(100));
    let opener = |table: &ProcessTable, after, before, started| {
        table.opener(7, after, before, started).map(|process| process.key.start_ns)
    };
    assert_eq!(opener(&table, 150, 160, None), Some(100));
    assert_eq!(opener(&table, 150, 160, Some((100, tick))), Some(100));
    assert_eq!(opener(&table, 150, 160, Some((90, tick))), None, "another process has the pid");
    assert_eq!(opener(&table, 50, 90, None), None, "before it began");
    table.exit(key(100), 200);
    assert_eq!(opener(&table, 190, 210, None), Some(100));
    assert_eq!(opener(&table, 201, 210, None), None, "after it ended");
    table.fork(parent, key(205));
    assert_eq!(opener(&table, 190, 210, None), None, "either could be meant");
    assert_eq!(opener(&table, 201, 210, None), Some(205));
    assert_eq!(opener(&table, 150, 160, None), Some(100));
}
