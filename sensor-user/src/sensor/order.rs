//! Events of the kernel and of what was found in files and environments, put in order.

use attribution::event::Event;
use tokio::sync::mpsc::Receiver;

/// What waits in `events`, at most so many.
pub(super) fn waiting(events: &mut Receiver<Event>, most: usize) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).take(most).collect()
}

/// Kernel events and what was found meanwhile: starts of processes first, then what was found, then what the
/// processes did.
pub(super) fn in_order(mut events: Vec<Event>, found: Vec<Event>) -> impl Iterator<Item = Event> {
    let is_start = |event: &Event| matches!(event, Event::Fork { .. } | Event::Exec { .. });
    let did = events.split_off(events.iter().rposition(is_start).map_or(0, |at| at + 1));
    events.into_iter().chain(found).chain(did)
}

#[cfg(test)]
mod tests {
    use attribution::event::ProcessKey;

    use super::*;

    const ONE: ProcessKey = ProcessKey { pid: 1, start_ns: 0 };

    fn start() -> Event {
        Event::Fork { time_ns: 0, parent: ONE, child: ProcessKey { pid: 2, start_ns: 1 } }
    }

    fn act() -> Event {
        Event::Exit { time_ns: 0, process: ONE }
    }

    #[test]
    fn what_was_found_comes_between_the_starts_and_the_acts() {
        let kinds = |events: Vec<Event>, found: Vec<Event>| {
            let letter = |event: Event| match event {
                Event::Fork { .. } => 'f',
                Event::Exit { .. } => 'x',
                _ => 'w',
            };
            in_order(events, found).map(letter).collect::<String>()
        };
        assert_eq!(kinds(vec![act(), start(), act()], vec![Event::Watching]), "xfwx");
        assert_eq!(kinds(vec![act(), act()], vec![Event::Watching]), "wxx");
        assert_eq!(kinds(vec![start()], vec![Event::Watching]), "fw");
        assert_eq!(kinds(vec![start(), act()], Vec::new()), "fx");
    }
}
