//! The one clock of the networking thread.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::Millis;

/// Unix time that never goes back: the wall clock at the start plus the time since then.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_at: Millis,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the reactor is a driver: it reads the clock")]
    pub(crate) fn start() -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: Instant::now(), started_at: Millis(millis(unix)) }
    }

    pub(crate) fn now(&self) -> Millis {
        self.started_at + millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long to wait for `at`, at most `max_ms`.
pub(crate) fn wait(now: Millis, at: Option<Millis>, max_ms: u64) -> Duration {
    let ms = at.map_or(max_ms, |at| (at - now).min(max_ms));
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_at_the_time_or_the_limit() {
        let ms = |now, at| wait(Millis(now), at, 100).as_millis();
        assert_eq!(ms(50, Some(Millis(60))), 10);
        assert_eq!(ms(50, Some(Millis(40))), 0);
        assert_eq!(ms(50, Some(Millis(500))), 100);
        assert_eq!(ms(50, None), 100);
    }
}
