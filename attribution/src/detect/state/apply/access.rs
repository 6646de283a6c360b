//! An open of a credential file.

use proto::v1::CredentialAccess;

use super::super::buckets::Amount;
use super::super::span::Mark;
use super::super::{Look, State, Subject};
use super::{Act, Actor, Touch, sample};
use crate::detect::facts::who;

impl State {
    pub(super) fn access(&mut self, mark: Mark, host: &str, access: &CredentialAccess, touch: Touch<'_>) {
        let Some(file) = access.file.as_ref().filter(|_| access.expectation == "unexpected") else { return };
        let Some(who) = who(host, access.process.as_ref(), access.workload.as_ref()) else { return };
        let name = format!("{} {host}:{} {}", who.place, file.path, who.process.exe);
        let act = Act {
            mark,
            host,
            workload: access.workload.as_ref(),
            amount: Amount::default(),
            dest: [""; 3],
            dest_key: 0,
            process: who.process,
            actor: Actor::Told(who, 0),
        };
        let Some(added) = self.principal(&act, touch) else { return };
        let names = &mut self.names;
        let Some((name, known, news)) = self.accesses.entry(&name) else { return };
        known.span.add(mark.time);
        known.span.count += access.count.saturating_sub(1);
        if known.evidence.add(mark) {
            known.sample = sample(names, act.process);
            (known.place, known.path, known.client) =
                (added.place, names.share(&file.path), names.share(&file.client));
        }
        touch(&|| Subject::Access(name.clone()), &mut known.waits, Look::if_new(news));
    }
}
