//! What the running sensor says of itself when it is asked: for metrics, probes and the watchdog.

use std::time::Duration;

use proto::v1::Status;
use sensor_common::kind;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Sensor, SensorError, status};
use crate::bpf::{Losses, RunTime};

/// Questions that wait for the event loop; who asks more is told that it does not answer.
const MAX_QUESTIONS: usize = 16;
/// The event loop is taken for stuck when it takes longer to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The state of the sensor at one moment.
#[derive(Debug, Default)]
pub struct Health {
    /// As in a status record, without gaps and drops of exporters.
    pub status: Status,
    /// Events made and lost in the kernel.
    pub losses: Losses,
    /// Events taken, by kind.
    pub delivered: [u64; kind::COUNT as usize],
    /// Kernel programs, as far as the kernel measures them.
    pub programs: Vec<RunTime>,
}

impl Health {
    /// Events made that were not taken yet.
    pub fn in_flight(&self) -> u64 {
        self.status.tables.iter().find(|gauge| gauge.name == status::IN_FLIGHT).map_or(0, |gauge| gauge.value)
    }

    /// In a few words, for the service manager.
    pub fn summary(&self) -> String {
        let status = &self.status;
        let attached = status.hooks.iter().filter(|hook| hook.state != "missing").count();
        let lost = status.lost.iter().map(|loss| loss.count).sum::<u64>();
        format!(
            "{attached} of {} hooks; {} calls ({} unbound); {lost} of {} events lost",
            status.hooks.len(),
            status.calls,
            status.calls_unbound,
            status.produced,
        )
    }

    /// Name, value and limit of each table that is bounded by a number of entries.
    pub fn tables(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        let tables = self.status.tables.iter().filter(|gauge| gauge.name != status::IN_FLIGHT);
        tables.map(|gauge| (gauge.name.as_str(), gauge.value, gauge.limit))
    }
}

type Question = oneshot::Sender<Health>;

/// Asks the running sensor, from any thread.
#[derive(Debug, Clone)]
pub struct Probe(mpsc::Sender<Question>);

/// The sensor's end.
#[derive(Debug)]
pub struct Questions(mpsc::Receiver<Question>);

/// Both ends.
pub fn probe() -> (Probe, Questions) {
    let (questions, asked) = mpsc::channel(MAX_QUESTIONS);
    (Probe(questions), Questions(asked))
}

impl Probe {
    /// What the sensor says; nothing when its event loop does not answer within [`ANSWER_WITHIN`].
    pub async fn ask(&self) -> Option<Health> {
        let (question, answer) = oneshot::channel();
        self.0.try_send(question).ok()?;
        timeout(ANSWER_WITHIN, answer).await.ok()?.ok()
    }
}

/// The next question; waits for ever when nobody can ask.
pub(super) async fn next(questions: &mut Option<Questions>) -> Question {
    if let Some(Questions(asked)) = questions
        && let Some(question) = asked.recv().await
    {
        return question;
    }
    std::future::pending().await
}

#[cfg(test)]
impl Questions {
    pub(crate) fn blocking_next(&mut self) -> Option<Question> {
        self.0.blocking_recv()
    }
}

impl Sensor {
    /// Answers what is asked through the other end of `questions` while it runs.
    pub fn answer(&mut self, questions: Questions) {
        self.questions = Some(questions);
    }

    pub(super) fn tell_health(&self, question: Question) -> Result<(), SensorError> {
        let losses = self.tables.losses()?;
        let health = Health {
            status: self.status_of(&losses, false),
            losses,
            delivered: self.delivered,
            programs: self.loaded.run_times(),
        };
        // Who asked may have given up.
        let _ = question.send(health);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{HookState, Loss};

    use super::*;

    #[test]
    fn the_state_says_what_is_attached_seen_and_lost() {
        let hook = |state: &str| HookState { state: state.into(), ..Default::default() };
        let loss = |count| Loss { count, ..Default::default() };
        let status = Status {
            hooks: vec![hook("attached"), hook("missing")],
            calls: 5,
            calls_unbound: 1,
            produced: 100,
            lost: vec![loss(2), loss(3)],
            ..Default::default()
        };
        let health = Health { status, ..Default::default() };
        assert_eq!(health.summary(), "1 of 2 hooks; 5 calls (1 unbound); 5 of 100 events lost");
    }
}
