//! The life of a connection to a source: connect, ask, notice its end, wait longer each time, connect again.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
    path::Path,
    time::Duration,
};

use attribution::identity::answer::{About, Answer, Facts, Source, SourceState};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::sources::{Question, Said};

/// Time for one connect or one question.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// First wait after a connection was lost or refused.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait between two tries, and between two looks for a socket that is not there.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often an idle connection is tried.
const PING: Duration = Duration::from_secs(30);
/// When something unknown is asked about again: runtimes list some containers only after their start.
const AGAIN: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];
/// Questions kept while there is no connection; the oldest are dropped.
const MAX_PENDING: usize = 1024;
/// Longest text of a reason, bytes.
const MAX_REASON: usize = 300;

/// One who can be asked.
pub(super) trait Peer: Send + 'static {
    /// An open connection.
    type Connection: Send;

    /// Its socket, when a look at it tells whether there is anybody.
    fn socket(&self) -> Option<&Path>;

    /// Connects and says who is there.
    fn connect(&mut self) -> impl Future<Output = Result<(Self::Connection, String), String>> + Send;

    /// Whether the other side is still there.
    fn ping(connection: &mut Self::Connection) -> impl Future<Output = Result<(), String>> + Send;

    /// Asks; `None` when it is not known there. An error ends the connection.
    fn ask(
        &self,
        connection: &mut Self::Connection,
        question: &Question,
    ) -> impl Future<Output = Result<Option<Facts>, String>> + Send;
}

/// What a task tells the event loop with.
#[derive(Debug, Clone)]
pub(super) struct Mouth {
    source: Source,
    endpoint: usize,
    say: mpsc::Sender<Said>,
}

/// Waits that become longer, each a little different from what others wait.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    jitter: RandomState,
    count: u64,
}

/// Questions that are not answered yet, each with the time of its next try.
#[derive(Debug, Default)]
struct Pending(VecDeque<(Instant, Question, usize)>);

impl Mouth {
    pub(super) fn new(source: Source, endpoint: usize, say: mpsc::Sender<Said>) -> Self {
        Self { source, endpoint, say }
    }

    /// Tells a change of state; `detail` says who is there. When nobody listens any more the task is over.
    pub(super) async fn state(&self, state: SourceState, detail: &str) {
        let short = |text: &str| text.chars().take(MAX_REASON).collect::<String>();
        let state = match state {
            SourceState::Off(reason) => SourceState::Off(short(&reason)),
            SourceState::Waiting(reason) => SourceState::Waiting(short(&reason)),
            SourceState::Connected => SourceState::Connected,
        };
        match &state {
            SourceState::Connected => {
                tracing::info!(source = self.source.name(), detail, "identity source connected")
            }
            SourceState::Waiting(reason) => {
                tracing::info!(
                    source = self.source.name(),
                    reason,
                    "identity source not reachable; trying again"
                );
            }
            SourceState::Off(reason) => {
                tracing::debug!(source = self.source.name(), reason, "identity source is off")
            }
        }
        drop(self.say.send(Said::State { endpoint: self.endpoint, state, detail: short(detail) }).await);
    }

    pub(super) async fn answer(&self, about: About, facts: Option<Facts>) {
        let answer = Answer { source: self.source, about, facts };
        drop(self.say.send(Said::Answer(Box::new(answer))).await);
    }
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST_WAIT, jitter: RandomState::new(), count: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST_WAIT;
    }

    /// The next wait: between half of it and all.
    pub(super) fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST_WAIT);
        self.count += 1;
        let part = u32::try_from(self.jitter.hash_one(self.count) % 1024).unwrap_or_default();
        whole / 2 + whole / 2 * part / 1024
    }
}

impl Pending {
    fn add(&mut self, due: Instant, question: Question, tries: usize) {
        if self.0.iter().any(|(_, known, _)| *known == question) {
            return;
        }
        if self.0.len() >= MAX_PENDING {
            self.0.pop_front();
        }
        self.0.push_back((due, question, tries));
    }

    fn due(&mut self, now: Instant) -> Option<(Question, usize)> {
        let at = self.0.iter().position(|(due, ..)| *due <= now)?;
        self.0.remove(at).map(|(_, question, tries)| (question, tries))
    }

    fn next(&self, or: Instant) -> Instant {
        self.0.iter().map(|(due, ..)| *due).min().unwrap_or(or).min(or)
    }
}

/// Serves one peer until nobody asks any more.
pub(super) async fn run<P: Peer>(mut peer: P, mouth: Mouth, mut questions: mpsc::Receiver<Question>) {
    let mut pending = Pending::default();
    let mut backoff = Backoff::new();
    let mut told = None;
    loop {
        let state = match peer.socket().filter(|socket| !socket.exists()) {
            Some(socket) => SourceState::Off(format!("no socket at {}", socket.display())),
            None => match timeout(PATIENCE, peer.connect()).await.unwrap_or_else(|_| Err(too_slow())) {
                Ok((connection, detail)) => {
                    mouth.state(SourceState::Connected, &detail).await;
                    backoff.reset();
                    told = None;
                    match talk(&peer, connection, &mouth, &mut questions, &mut pending).await {
                        Some(reason) => SourceState::Waiting(reason),
                        None => return,
                    }
                }
                Err(reason) => SourceState::Waiting(reason),
            },
        };
        if told.as_ref() != Some(&state) {
            mouth.state(state.clone(), "").await;
            told = Some(state);
        }
        let until = Instant::now() + backoff.wait();
        loop {
            tokio::select! {
                () = sleep_until(until) => break,
                question = questions.recv() => match question {
                    Some(question) => pending.add(Instant::now(), question, 0),
                    None => return,
                },
            }
        }
    }
}

/// Asks until the connection breaks, whose reason it returns; nothing when nobody asks any more.
async fn talk<P: Peer>(
    peer: &P,
    mut connection: P::Connection,
    mouth: &Mouth,
    questions: &mut mpsc::Receiver<Question>,
    pending: &mut Pending,
) -> Option<String> {
    loop {
        while let Some((question, tries)) = pending.due(Instant::now()) {
            let asked = timeout(PATIENCE, peer.ask(&mut connection, &question)).await;
            match asked.unwrap_or_else(|_| Err(too_slow())) {
                Ok(None) if tries < AGAIN.len() => {
                    let wait = AGAIN.get(tries).copied().unwrap_or_default();
                    pending.add(Instant::now() + wait, question, tries + 1);
                }
                Ok(facts) => mouth.answer(about(question), facts).await,
                Err(reason) => {
                    pending.add(Instant::now(), question, tries);
                    return Some(reason);
                }
            }
        }
        let ping = Instant::now() + PING;
        let next = pending.next(ping);
        tokio::select! {
            question = questions.recv() => pending.add(Instant::now(), question?, 0),
            () = sleep_until(next) => {
                if next == ping
                    && let Err(reason) =
                        timeout(PATIENCE, P::ping(&mut connection)).await.unwrap_or_else(|_| Err(too_slow()))
                {
                    return Some(reason);
                }
            }
        }
    }
}

fn about(question: Question) -> About {
    match question {
        Question::Container(id) => About::Container(id),
        Question::Unit { cgroup, .. } => About::Cgroup(cgroup),
        Question::Process(process) => About::Process(process),
    }
}

fn too_slow() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_become_longer_within_their_limit_and_begin_again() {
        let mut backoff = Backoff::new();
        let mut whole = FIRST_WAIT;
        for _ in 0..20 {
            let wait = backoff.wait();
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(LONGEST_WAIT);
        }
        backoff.reset();
        assert!(backoff.wait() <= FIRST_WAIT);
    }

    #[test]
    fn pending_questions_are_bounded_and_asked_once() {
        let now = Instant::now();
        let mut pending = Pending::default();
        for id in (0..MAX_PENDING + 3).chain([7, 7]) {
            pending.add(now, Question::Container(id.to_string()), 0);
        }
        assert_eq!(pending.0.len(), MAX_PENDING);
        let later = now + AGAIN[0];
        let mut one = Pending::default();
        one.add(later, Question::Container("x".into()), 1);
        assert_eq!(one.due(now), None);
        assert_eq!(one.next(now + LONGEST_WAIT), later);
        assert_eq!(one.due(later), Some((Question::Container("x".into()), 1)));
    }
}
