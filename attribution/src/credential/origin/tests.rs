use super::*;
use crate::credential::{FleetKey, Secret};

fn found(secret: &str, place: &str) -> Found {
    Found {
        fingerprint: FleetKey::new(&mut [1; 32]).fingerprint(&Secret::new(secret.into())),
        provider: "openai".into(),
        kind: Kind::ApiKey,
        lifetime: Lifetime::Static,
        hint: String::new(),
        carrier: place.into(),
        presented_to: String::new(),
    }
}

fn key(pid: u32) -> ProcessKey {
    ProcessKey { pid, start_ns: u64::from(pid) }
}

fn file(time_ns: u64, inode: u64, secret: &str) -> Source {
    let id = FileId { device: 1, inode };
    let path = format!("/f{inode}");
    Source::file(
        time_ns,
        time_ns,
        OpenedFile { id, path, found: vec![found(secret, "/k")], ..OpenedFile::default() },
    )
}

fn environment(time_ns: u64, secret: &str) -> Source {
    Source::environment(time_ns, vec![found(secret, "OPENAI_API_KEY")], String::new())
}

/// What is told of the secret `s` that process `pid` used at `before_ns`.
fn told(origins: &Origins, pid: u32, before_ns: u64) -> String {
    let fingerprint = found("s", "").fingerprint;
    match origins.origin(key(pid), &fingerprint, (Kind::ApiKey, Lifetime::Static), before_ns) {
        Answer::Known { source, holder, place, also } => {
            let what = match &source.what {
                What::File { path, .. } => path.clone(),
                What::Environment => "env".to_owned(),
                What::Metadata { address } => address.clone(),
            };
            format!(
                "{what} {place} of {}{}",
                holder.pid,
                also.map(|also| format!(" also {also}")).unwrap_or_default()
            )
        }
        Answer::Unknown(reason) => format!("unknown: {reason}"),
    }
}

#[test]
fn a_file_counts_for_its_opener_from_then_on() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    origins.add(key(2), file(20, 7, "s"));
    assert_eq!(told(&origins, 2, 20), "/f7 /k of 2");
    assert!(told(&origins, 2, 19).starts_with("unknown"));
    assert!(told(&origins, 1, 99).starts_with("unknown"));
}

#[test]
fn a_child_has_what_its_parent_had_before_it_was_made() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    origins.fork(key(2), key(3), 30);
    origins.fork(key(2), key(4), 50);
    origins.add(key(2), file(40, 7, "s"));
    assert!(told(&origins, 3, 99).starts_with("unknown"), "opened after the fork");
    assert_eq!(told(&origins, 4, 99), "/f7 /k of 2");
}

#[test]
fn an_open_of_uncertain_time_counts_for_what_is_seen_and_not_for_what_is_inferred() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    origins.fork(key(2), key(3), 30);
    origins.add(key(2), Source { after_ns: 25, ..file(40, 7, "s") });
    assert_eq!(told(&origins, 3, 99), "/f7 /k of 2");
    assert_eq!(origins.only(key(3), 99, |_| true), None);
    assert!(origins.only(key(2), 99, |_| true).is_some());
}

#[test]
fn a_sibling_proves_nothing() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    origins.fork(key(1), key(3), 10);
    origins.add(key(2), file(20, 7, "s"));
    assert!(told(&origins, 3, 99).starts_with("unknown"));
}

#[test]
fn the_nearest_wins_and_an_own_file_before_the_own_environment() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    origins.add(key(2), file(12, 7, "s"));
    origins.fork(key(2), key(3), 20);
    assert_eq!(told(&origins, 3, 99), "/f7 /k of 2");
    origins.add(key(3), environment(30, "s"));
    assert_eq!(told(&origins, 3, 99), "env OPENAI_API_KEY of 3 also /f7");
    origins.add(key(3), file(40, 8, "s"));
    assert_eq!(told(&origins, 3, 99), "/f8 /k of 3");
    origins.add(key(3), file(50, 9, "s"));
    assert_eq!(told(&origins, 3, 99), "/f9 /k of 3 also /f8");
}

#[test]
fn an_inherited_variable_leads_to_who_held_it_first() {
    let mut origins = Origins::default();
    for pid in 2..5 {
        origins.fork(key(pid - 1), key(pid), u64::from(pid) * 10);
        origins.add(key(pid), environment(u64::from(pid) * 10 + 1, if pid == 2 { "other" } else { "s" }));
    }
    assert_eq!(told(&origins, 4, 99), "env OPENAI_API_KEY of 3");
}

#[test]
fn a_reused_pid_has_nothing_of_its_predecessor() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    origins.add(key(2), file(20, 7, "s"));
    origins.exit(key(2), 30);
    let next = ProcessKey { pid: 2, start_ns: 40 };
    origins.fork(key(1), next, 40);
    let fingerprint = found("s", "").fingerprint;
    let answer = origins.origin(next, &fingerprint, (Kind::ApiKey, Lifetime::Static), 99);
    assert!(matches!(answer, Answer::Unknown(_)));
}

#[test]
fn an_ended_parent_stays_for_its_children_and_goes_with_the_last() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    origins.add(key(2), file(12, 7, "s"));
    origins.fork(key(2), key(3), 20);
    origins.exit(key(2), 30);
    origins.expire(31 + GRACE_NS);
    assert_eq!(told(&origins, 3, 99), "/f7 /k of 2");
    origins.exit(key(3), 40 + GRACE_NS);
    origins.expire(41 + 2 * GRACE_NS);
    assert!(origins.holders.is_empty() && origins.ended.is_empty());
}

#[test]
fn a_process_older_than_the_sensor_is_the_one_the_kernel_names_later() {
    let mut origins = Origins::default();
    let tick = 10;
    origins.running(ProcessKey { pid: 5, start_ns: 40 }, tick, 1);
    let exact = ProcessKey { pid: 5, start_ns: 47 };
    assert!(told(&origins, 9, 99).contains("not seen"));
    let fingerprint = found("s", "").fingerprint;
    let class = (Kind::ApiKey, Lifetime::Static);
    assert_eq!(origins.origin(exact, &fingerprint, class, 99), Answer::Unknown(OLDER.into()));
    origins.add(ProcessKey { pid: 5, start_ns: 40 }, environment(40, "s"));
    assert!(matches!(origins.origin(exact, &fingerprint, class, 99), Answer::Known { .. }));
    origins.exit(exact, 100);
    origins.expire(101 + GRACE_NS);
    assert!(origins.is_empty() && origins.coarse.is_empty());
}

#[test]
fn metadata_stands_behind_short_lived_credentials_only() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    origins.add(key(2), Source::metadata(20, "169.254.169.254".into()));
    let fingerprint = found("s", "").fingerprint;
    let origin = |class| origins.origin(key(2), &fingerprint, class, 99);
    assert!(matches!(origin((Kind::AwsSessionKey, Lifetime::ShortLived)), Answer::Known { .. }));
    assert!(matches!(origin((Kind::ApiKey, Lifetime::Static)), Answer::Unknown(_)));
}

#[test]
fn repeated_opens_are_one_source_and_told_once() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    for time in 20..30 {
        origins.add(key(2), file(time, 7, "s"));
    }
    let untold = origins.untold();
    assert_eq!(
        untold
            .iter()
            .map(|(process, source, opens)| (process.pid, source.time_ns, *opens))
            .collect::<Vec<_>>(),
        [(2, 20, 10)]
    );
    assert!(origins.untold().is_empty());
}

#[test]
fn sources_and_processes_are_limited() {
    let mut origins = Origins::default();
    for inode in 0..100 {
        origins.add(key(1), file(inode, inode, "s"));
    }
    assert_eq!(origins.holders[&key(1)].sources.len(), MAX_SOURCES);
    for pid in 0..MAX_HOLDERS as u32 + 10 {
        origins.fork(key(1), key(pid + 2), 5);
    }
    assert_eq!((origins.len(), origins.refused), (MAX_HOLDERS, 11));
}

#[test]
fn only_one_candidate_can_be_inferred() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    origins.add(key(2), file(20, 7, "s"));
    origins.add(key(2), environment(21, "s"));
    assert!(origins.only(key(2), 99, |found| found.provider == "openai").is_some());
    assert!(origins.only(key(2), 99, |found| found.provider == "xai").is_none());
    origins.add(key(2), file(22, 8, "t"));
    assert!(origins.only(key(2), 99, |_| true).is_none());
}

#[test]
fn an_unread_file_is_the_reason() {
    let mut origins = Origins::default();
    origins.fork(key(1), key(2), 10);
    let opened = OpenedFile { path: "/x".into(), unread: "too large".into(), ..OpenedFile::default() };
    origins.add(key(2), Source::file(20, 20, opened));
    assert_eq!(told(&origins, 2, 99), "unknown: /x could not be read: too large");
}
