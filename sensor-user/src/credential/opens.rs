//! Opens of marked files, as the kernel tells of them.

use std::{os::fd::AsFd as _, sync::atomic::Ordering};

use attribution::event::{Event, OpenedFile, Opener};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::fanotify::{FanotifyEvent, MaskFlags},
    time::{ClockId, clock_gettime},
};

use super::{Shared, Skip, content::Contents, environment, marks, root};
use crate::identity::executable::file_id;

/// How often it is looked whether to stop, milliseconds.
const STOP_MS: u16 = 200;

/// Takes opens until it is told to stop.
pub(super) fn run(shared: &Shared) {
    let mut contents = Contents::new(shared.at_rest.clone());
    let own = std::process::id();
    let mut after_ns = now(ClockId::CLOCK_BOOTTIME);
    while !shared.stop.load(Ordering::Relaxed) {
        let mut wait = [PollFd::new(shared.marks.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut wait, PollTimeout::from(STOP_MS));
        let events = match ready {
            Ok(0) | Err(_) => Vec::new(),
            Ok(_) => shared.marks.read().unwrap_or_default(),
        };
        let before_ns = now(ClockId::CLOCK_BOOTTIME);
        let empty = events.is_empty();
        for event in events {
            if event.mask().contains(MaskFlags::FAN_Q_OVERFLOW) {
                shared.skipped.count(Skip::Busy);
            } else if u32::try_from(event.pid()).is_ok_and(|pid| pid != own) {
                opened(shared, &mut contents, &event, (after_ns, before_ns));
            }
        }
        // Events wait in their queue only while others are read: the next ones are younger than an empty look.
        if empty {
            after_ns = before_ns;
        }
    }
}

fn opened(shared: &Shared, contents: &mut Contents, event: &FanotifyEvent, window: (u64, u64)) {
    let Some(file) = marks::file_of(event) else { return shared.skipped.count(Skip::Vanished) };
    let Ok(id) = file_id(&file) else { return shared.skipped.count(Skip::Vanished) };
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    let path = root::path_of(&file).unwrap_or_default();
    // Only what was marked for itself is told: its siblings in a marked folder are nobody's business.
    let Some(class) = shared.list().class(&path, id) else { return };
    let (after_ns, time_ns) = window;
    let Ok(pid) = u32::try_from(event.pid()) else { return };
    let started = environment::started(pid);
    let opened_ns = i64::try_from(now(ClockId::CLOCK_REALTIME)).unwrap_or(i64::MAX);
    let found = contents.read(&file, &class.owner, class.format, &class.secrets, opened_ns);
    if let Err(skip) = found {
        shared.skipped.count(skip);
    }
    let unread = found.as_ref().err().map(|skip| skip.reason().to_owned()).unwrap_or_default();
    let found = found.unwrap_or_default();
    let file = OpenedFile { id, path, store: class.store, owner: class.owner, found, unread };
    let opener = Opener::Pid { pid, after_ns, started };
    shared.send(Event::CredentialFile { time_ns, opener, access: None, file });
}

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map(std::time::Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
