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

/// The ancestors of `of`, nearest first.
fn lineage(table: &ProcessTable, of: ProcessKey) -> Vec<u32> {
    table.ancestors(of).map(|ancestor| ancestor.key.pid).collect()
}

#[test]
fn a_daemon_by_double_fork_keeps_its_maker_long_after_the_middle_ended() {
    let mut table = ProcessTable::default();
    table.exec(&task(key(2, 1)), key(1, 0), image("/agent"));
    table.fork(key(2, 1), key(3, 2));
    table.fork(key(3, 2), key(4, 3));
    table.exit(key(3, 2), 4);
    // The kernel names init or a subreaper as parent from here on.
    table.exec(&task(key(4, 3)), key(1, 0), image("/daemon"));
    assert_eq!(lineage(&table, key(4, 3)), [3, 2]);
    table.exit(key(2, 1), 5);
    for round in 1..5 {
        table.expire(round * (GRACE_NS + 1) + 5);
    }
    assert_eq!(lineage(&table, key(4, 3)), [3, 2]);
    assert_eq!(exe(&table, key(2, 1)).as_deref(), Some("/agent"));
    table.fork(key(4, 3), key(5, 9 * GRACE_NS));
    table.exec(&task(key(5, 9 * GRACE_NS)), key(7, 7), image("/tool"));
    assert_eq!(lineage(&table, key(5, 9 * GRACE_NS)), [4, 3, 2]);
}

#[test]
fn ancestors_go_when_the_last_descendant_is_gone() {
    let mut table = ProcessTable::default();
    table.exec(&task(key(2, 1)), key(1, 0), image("/agent"));
    table.fork(key(2, 1), key(3, 2));
    table.fork(key(3, 2), key(4, 3));
    for (pid, start) in [(2, 1), (3, 2), (4, 3)] {
        table.exit(key(pid, start), 10);
    }
    for round in 1..5 {
        table.expire(round * (GRACE_NS + 10));
    }
    assert!(table.is_empty() && table.ended.is_empty() && table.pids.is_empty());
}

#[test]
fn a_program_that_goes_on_by_forking_itself_keeps_no_endless_chain() {
    let mut table = ProcessTable::default();
    table.exec(&task(key(1, 1)), key(0, 0), image("/chain"));
    let mut now = 1;
    for pid in 1..300u32 {
        now += GRACE_NS / 2;
        table.fork(key(pid, u64::from(pid)), key(pid + 1, u64::from(pid) + 1));
        table.exit(key(pid, u64::from(pid)), now);
        table.expire(now);
    }
    for _ in 0..40 {
        now += GRACE_NS + 1;
        table.expire(now);
    }
    assert_eq!(lineage(&table, key(300, 300)).len(), MAX_ANCESTORS);
    assert!(table.len() <= MAX_ANCESTORS + 4, "{}", table.len());
}

#[test]
fn a_run_is_rooted_where_its_agent_begins_and_survivors_stay_in_it() {
    let mut table = ProcessTable::default();
    let agent = |name: &str| Some(Arc::<str>::from(name));
    let root = |table: &ProcessTable, of| table.get(of).and_then(|process| process.root);
    table.exec(&task(key(2, 1)), key(1, 0), image("/sh"));
    assert!(!table.label(key(2, 1), None));
    table.fork(key(2, 1), key(3, 2));
    table.exec(&task(key(3, 2)), key(2, 1), image("/claude"));
    assert!(table.label(key(3, 2), agent("claude")));
    assert!(!table.label(key(3, 2), agent("claude")), "a second exec of the same root begins nothing");
    // Its shell, and another copy of itself below that, are parts of it.
    table.fork(key(3, 2), key(4, 3));
    table.exec(&task(key(4, 3)), key(3, 2), image("/sh"));
    assert!(!table.label(key(4, 3), None));
    table.fork(key(4, 3), key(5, 4));
    table.exec(&task(key(5, 4)), key(4, 3), image("/claude"));
    assert!(!table.label(key(5, 4), agent("claude")));
    // Another agent is a run of its own.
    table.fork(key(4, 3), key(6, 5));
    table.exec(&task(key(6, 5)), key(4, 3), image("/codex"));
    assert!(table.label(key(6, 5), agent("codex")));
    let roots = [(2, 1), (4, 3), (5, 4), (6, 5)].map(|(pid, start)| root(&table, key(pid, start)));
    assert_eq!(roots, [None, Some(key(3, 2)), Some(key(3, 2)), Some(key(6, 5))]);
    // What survives stays in it, whoever adopts it and whatever it runs.
    table.exit(key(3, 2), 9);
    table.exec(&task(key(5, 4)), key(1, 0), image("/curl"));
    table.label(key(5, 4), None);
    assert_eq!((root(&table, key(5, 4)), table.ended(key(3, 2))), (Some(key(3, 2)), Some(9)));
    assert_eq!(root(&table, key(2, 1)), None);
}

#[test]
fn a_root_found_in_proc_is_renamed_with_its_descendants() {
    let mut table = ProcessTable::default();
    table.running(key(5, 40), 10, 1, 0, image("/codex"), "/a");
    assert!(table.label(key(5, 40), Some("codex".into())));
    table.running(key(6, 50), 10, 5, 0, image("/sh"), "/a");
    table.label(key(6, 50), None);
    assert_eq!(table.get(key(6, 50)).unwrap().root, None, "it is older than the label of its parent");
    table.fork(key(5, 47), key(7, 60));
    assert_eq!(table.get(key(7, 60)).unwrap().root, Some(key(5, 47)));
    assert_eq!(table.renamed(), [(key(5, 40), key(5, 47))]);
    assert_eq!(table.renamed(), []);
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
