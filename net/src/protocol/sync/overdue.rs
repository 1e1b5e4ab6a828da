//! What peers owe us for too long.

use chain::ledger::PeerId;

use super::{Sync, spans};
use crate::protocol::outbox::Outbox;
use crate::protocol::port::{Millis, Reason};

impl Sync {
    /// Gives up on what is overdue; returns the peers to drop.
    pub(crate) fn tick(&mut self, now: Millis, out: &mut Outbox) -> Vec<(PeerId, Reason)> {
        let mut gone = Vec::new();
        if self.alarm.is_due(now) {
            for (peer, source) in &mut self.sources {
                gone.extend(source.answer_by.take_if(|by| now >= *by).map(|_| *peer));
            }
            self.alarm.reset(self.answers_due_at());
        }
        if self.downloads.is_due(now) {
            let spans = spans(&self.sources);
            gone.extend(self.downloads.expire(now, &spans));
            self.downloads.assign(now, &spans, out);
        }
        gone.into_iter().map(|peer| (peer, Reason::Stalled)).collect()
    }

    fn answers_due_at(&self) -> Option<Millis> {
        self.sources.values().filter_map(|source| source.answer_by).min()
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        self.alarm.wake_at().into_iter().chain(self.downloads.wake_at()).min()
    }

    /// For each alarm what it is set to, and what a look at everything gives.
    #[cfg(test)]
    pub(crate) fn alarms(&self) -> [(&'static str, Option<Millis>, Option<Millis>); 2] {
        let (alarm, downloads) = (self.alarm.wake_at(), &self.downloads);
        [
            ("answers", alarm, self.answers_due_at()),
            ("downloads", downloads.wake_at(), downloads.due_at()),
        ]
    }
}
