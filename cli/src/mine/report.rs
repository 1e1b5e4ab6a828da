//! What a miner shows: JSON lines for programs, a live line on a terminal, a log elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use miner::stratum::client::{Event, Verdict};
use serde_json::{Value, json};

use super::tally::{Tally, rate};

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A program: an object a line on standard output.
    Json,
    /// A person: standard error, with a live line where that is a terminal.
    Person,
}

/// Shows what happens. Fails when standard output does.
pub(super) struct Report {
    sink: Sink,
    /// When the next status is due.
    due: Duration,
}

enum Sink {
    Json,
    Live(ProgressBar),
    Log,
}

impl Sink {
    /// How often the status is shown.
    fn period(&self) -> Duration {
        match self {
            Sink::Json => Duration::from_secs(5),
            Sink::Live(_) => Duration::from_millis(500),
            Sink::Log => Duration::from_secs(10),
        }
    }
}

impl Report {
    pub(super) fn new(style: Style) -> Report {
        let bar = ProgressBar::new_spinner();
        let sink = match style {
            Style::Json => Sink::Json,
            Style::Person if bar.is_hidden() => Sink::Log,
            Style::Person => {
                let style = ProgressStyle::with_template("{wide_msg}");
                bar.set_style(style.expect("the template is well formed"));
                Sink::Live(bar)
            }
        };
        let due = sink.period();
        Report { sink, due }
    }

    pub(super) fn wake_at(&self) -> Duration {
        self.due
    }

    /// Shows the status if it is due.
    pub(super) fn tick(&mut self, tally: &mut Tally, now: Duration, hashes: u64) -> io::Result<()> {
        tally.sample(now, hashes);
        if now < self.due {
            return Ok(());
        }
        self.due = now + self.sink.period();
        match &self.sink {
            Sink::Json => print(&json!({
                "event": "status",
                "state": tally.state.words(),
                "hashes": hashes,
                "hashes_per_second": tally.rate(),
                "accepted": tally.accepted,
                "rejected": tally.rejected,
                "stale": tally.stale,
                "lost": tally.lost,
                "difficulty": tally.difficulty,
                "uptime_s": now.as_secs(),
            })),
            Sink::Live(bar) => {
                bar.set_message(status(tally, now, hashes));
                Ok(())
            }
            Sink::Log => {
                tracing::info!(target: "mine", "{}", status(tally, now, hashes));
                Ok(())
            }
        }
    }

    pub(super) fn connected(&self, server: &str) -> io::Result<()> {
        let value = json!({"event": "connected", "server": server});
        self.say(&value, || format!("connected to {server}"))
    }

    pub(super) fn disconnected(&self, server: &str, why: &str, wait: Duration) -> io::Result<()> {
        let seconds = wait.as_secs_f64();
        let value = json!({
            "event": "disconnected",
            "server": server,
            "reason": why,
            "retry_in_s": seconds,
        });
        self.say(&value, || format!("not connected to {server}: {why}; again in {seconds:.1} s"))
    }

    pub(super) fn share(&self, verdict: &Verdict) -> io::Result<()> {
        let share = |accepted, stale, code: Option<i64>, message: &str| {
            json!({
                "event": "share",
                "accepted": accepted,
                "stale": stale,
                "code": code,
                "message": message,
            })
        };
        match verdict {
            Verdict::Accepted => {
                // The live line counts them.
                if matches!(self.sink, Sink::Live(_)) {
                    return Ok(());
                }
                self.say(&json!({"event": "share", "accepted": true}), || "share accepted".into())
            }
            Verdict::Stale(refusal) => {
                let value = share(false, true, refusal.code, &refusal.message);
                self.say(&value, || format!("share came too late: {}", refusal.message))
            }
            Verdict::Rejected(refusal) => {
                let value = share(false, false, refusal.code, &refusal.message);
                let code = refusal.code.map_or(String::new(), |code| format!(" ({code})"));
                self.say(&value, || format!("share rejected: {}{code}", refusal.message))
            }
            Verdict::Lost => {
                let message = "the share was not sent, or there was no answer";
                self.say(&share(false, false, None, message), || message.into())
            }
        }
    }

    pub(super) fn event(&self, event: &Event) -> io::Result<()> {
        let (value, text) = match event {
            Event::Authorised => (json!({"event": "authorised"}), "authorised".to_string()),
            Event::VersionMask(mask) => {
                let digits = mask.map(|mask| format!("{mask:08x}"));
                let text = digits.as_ref().map_or_else(
                    || "version bits stay as they are".to_string(),
                    |digits| format!("version bits {digits} are rolled"),
                );
                (json!({"event": "version_mask", "mask": digits}), text)
            }
            Event::Difficulty(difficulty) => (
                json!({"event": "difficulty", "difficulty": difficulty}),
                format!("difficulty {difficulty} from the next job on"),
            ),
            Event::Job { id, difficulty } => (
                json!({"event": "job", "job": id, "difficulty": difficulty}),
                format!("job {id}, difficulty {difficulty}"),
            ),
            Event::JobGone => (
                json!({"event": "job", "job": null}),
                "the server has dropped the job; waiting for the next".to_string(),
            ),
            Event::Message(text) => {
                (json!({"event": "message", "text": text}), format!("the server says: {text}"))
            }
            Event::ForeignReconnect(server) => (
                json!({"event": "foreign_reconnect", "server": server}),
                format!("the server names another to connect to, which is ignored: {server}"),
            ),
        };
        self.say(&value, || text)
    }

    /// The last words.
    pub(super) fn stopped(&self, tally: &Tally, now: Duration, hashes: u64) -> io::Result<()> {
        if let Sink::Live(bar) = &self.sink {
            bar.finish_and_clear();
        }
        let value = json!({
            "event": "stopped",
            "accepted": tally.accepted,
            "rejected": tally.rejected,
            "stale": tally.stale,
            "lost": tally.lost,
            "hashes": hashes,
            "hashes_per_second": rate(hashes, now),
            "uptime_s": now.as_secs(),
        });
        self.say(&value, || {
            let speed = mega(rate(hashes, now));
            format!("stopped after {}, {speed} on average, {}", duration(now), shares(tally))
        })
    }

    fn say(&self, value: &Value, text: impl FnOnce() -> String) -> io::Result<()> {
        match &self.sink {
            Sink::Json => return print(value),
            Sink::Live(bar) => bar.suspend(|| tracing::info!(target: "mine", "{}", text())),
            Sink::Log => tracing::info!(target: "mine", "{}", text()),
        }
        Ok(())
    }
}

fn print(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush())
}

fn status(tally: &Tally, now: Duration, hashes: u64) -> String {
    let (speed, average) = (mega(tally.rate()), mega(rate(hashes, now)));
    let difficulty = tally.difficulty.map_or(String::new(), |d| format!(", difficulty {d}"));
    let job = tally.job.as_ref().map_or(String::new(), |job| format!(", job {job}"));
    format!(
        "{speed} ({average} on average), {}{difficulty}{job}, up {}, {}",
        shares(tally),
        duration(now),
        tally.state.words(),
    )
}

fn shares(tally: &Tally) -> String {
    let Tally { accepted, stale, rejected, lost, .. } = tally;
    let lost = if *lost > 0 { format!(", {lost} lost") } else { String::new() };
    format!("shares {accepted} accepted, {stale} stale, {rejected} rejected{lost}")
}

fn mega(hashes_per_second: f64) -> String {
    format!("{:.2} MH/s", hashes_per_second / 1e6)
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
