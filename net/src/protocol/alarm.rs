//! When a part of the protocol has to look at its peers again.

use super::port::Millis;

/// A time before which nothing is due, so that not every message makes every part look through all
/// peers for what is.
///
/// Whoever makes something due sets the alarm. What is put off or falls away needs no word: then
/// the alarm rings too early, nothing is found due, and it is reset to when something is.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Millis>);

impl Alarm {
    /// Something, if anything, will be due then.
    pub(crate) fn set(&mut self, at: impl Into<Option<Millis>>) {
        self.0 = self.0.into_iter().chain(at.into()).min();
    }

    /// Takes the next time at which something is due, after a look at everything.
    pub(crate) fn reset(&mut self, due_at: Option<Millis>) {
        self.0 = due_at;
    }

    /// Whether it is time to look.
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        self.0.is_some_and(|at| now >= at)
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        self.0
    }
}

#[cfg(test)]
mod tests;
