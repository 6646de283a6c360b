//! Opens of marked files, as the kernel tells of them.

use std::{fs::File, os::fd::AsFd as _, sync::atomic::Ordering};

use attribution::event::{Event, FileId, OpenedFile, Opener};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::fanotify::{FanotifyEvent, MaskFlags},
    time::{ClockId, clock_gettime},
};

use super::{Shared, Skip, access::access, content::Contents, environment, marks, root};
use crate::identity::executable::file_id;

/// How often it is looked whether to stop, milliseconds.
const STOP_MS: u16 = 200;

/// One event of the kernel's.
struct Told {
    pid: u32,
    id: FileId,
    mask: MaskFlags,
    file: File,
}

/// Takes opens until it is told to stop.
pub(super) fn run(shared: &Shared) {
    let mut contents = Contents::new(shared.at_rest.clone());
    let mut after_ns = now(ClockId::CLOCK_BOOTTIME);
    while !shared.stop.load(Ordering::Relaxed) {
        let mut wait = [PollFd::new(shared.marks.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut wait, PollTimeout::from(STOP_MS));
        let mut events = match ready {
            Ok(0) | Err(_) => Vec::new(),
            Ok(_) => told(shared),
        };
        let empty = events.is_empty();
        // A descriptor that is closed by now has told so, perhaps behind what was just read.
        if events.iter().any(|event| event.mask.contains(MaskFlags::FAN_OPEN)) {
            events.extend(told(shared));
        }
        let before_ns = now(ClockId::CLOCK_BOOTTIME);
        for event in events.iter().filter(|event| event.mask.contains(MaskFlags::FAN_OPEN)) {
            let same = events.iter().filter(|other| other.pid == event.pid && other.id == event.id);
            let closed = same.fold(MaskFlags::empty(), |all, other| all | other.mask);
            opened(shared, &mut contents, event, closed, (after_ns, before_ns));
        }
        // Events wait in their queue only while others are read: the next ones are younger than an empty look.
        if empty {
            after_ns = before_ns;
        }
    }
}

/// What other processes opened and closed since the last look. What is lost is counted.
fn told(shared: &Shared) -> Vec<Told> {
    let own = std::process::id();
    let told = |event: FanotifyEvent| {
        if event.mask().contains(MaskFlags::FAN_Q_OVERFLOW) {
            shared.skipped.count(Skip::Busy);
            return None;
        }
        let pid = u32::try_from(event.pid()).ok().filter(|pid| *pid != own)?;
        let found = marks::file_of(&event).and_then(|file| Some((file_id(&file).ok()?, file)));
        if found.is_none() {
            shared.skipped.count(Skip::Vanished);
        }
        found.map(|(id, file)| Told { pid, id, mask: event.mask(), file })
    };
    shared.marks.read().unwrap_or_default().into_iter().filter_map(told).collect()
}

fn opened(shared: &Shared, contents: &mut Contents, event: &Told, closed: MaskFlags, window: (u64, u64)) {
    let Told { pid, id, file, .. } = event;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    let path = root::path_of(file).unwrap_or_default();
    // Only what was marked for itself is told: its siblings in a marked folder are nobody's business.
    let Some(class) = shared.list().class(&path, *id) else { return };
    let (after_ns, time_ns) = window;
    let started = environment::started(*pid);
    let access = access(*pid, *id, closed);
    let opened_ns = i64::try_from(now(ClockId::CLOCK_REALTIME)).unwrap_or(i64::MAX);
    let found = contents.read(file, &class.owner, class.format, &class.secrets, opened_ns);
    if let Err(skip) = found {
        shared.skipped.count(skip);
    }
    let unread = found.as_ref().err().map(|skip| skip.reason().to_owned()).unwrap_or_default();
    let found = found.unwrap_or_default();
    let file = OpenedFile { id: *id, path, store: class.store, owner: class.owner, found, unread };
    let opener = Opener::Pid { pid: *pid, after_ns, started };
    shared.send(Event::CredentialFile { time_ns, opener, access, file });
}

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map(std::time::Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
