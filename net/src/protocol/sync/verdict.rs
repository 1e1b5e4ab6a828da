//! What the ledger makes of a peer's headers, and what to ask the peer next.

use chain::ledger::{HeadersVerdict, PeerId};

use super::{Batch, News, Sync};
use crate::protocol::outbox::Outbox;
use crate::protocol::port::{Millis, Reason};
use crate::wire::message::MAX_HEADERS;

/// Batches in a row that do not connect to anything, although a locator with genesis was sent.
pub(super) const MAX_UNCONNECTED: u32 = 10;

impl Sync {
    /// Takes the ledger's verdict on the oldest batch of the peer, and says what it means for the
    /// peer's news.
    pub(crate) fn judged(
        &mut self,
        peer: PeerId,
        verdict: &HeadersVerdict,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<Option<News>, Reason> {
        let Some(source) = self.sources.get_mut(&peer) else { return Ok(None) };
        let nothing = Batch { count: 0, vouched: true, news: Vec::new() };
        let batch = source.unjudged.pop_front().unwrap_or(nothing);
        let is_full = batch.count >= MAX_HEADERS;
        let mut news = News { headers: batch.news, accepted: None };
        match verdict {
            HeadersVerdict::Accepted { last, new, .. } => {
                source.followed = None;
                news.accepted = Some(*new > 0);
                if batch.vouched {
                    source.unconnected = 0;
                    source.height = source.height.max(last.height);
                }
                if is_full && source.continued != Some(last.hash) {
                    self.ask_headers(peer, Some(last.hash), now, out);
                }
            }
            HeadersVerdict::LowWork { next } => {
                source.followed = *next;
                if is_full && next.is_some() {
                    self.ask_headers(peer, *next, now, out);
                }
            }
            HeadersVerdict::Again { after } => {
                source.followed = Some(*after);
                self.ask_headers(peer, Some(*after), now, out);
            }
            // The second answer to one question. The next question is out, as a rule.
            HeadersVerdict::Unconnected if is_full && source.followed.is_some() => {
                if source.continued != source.followed {
                    self.ask_headers(peer, None, now, out);
                }
            }
            HeadersVerdict::OtherChain => return Err(Reason::OtherChain),
            HeadersVerdict::Unconnected => {
                source.unconnected += u32::from(batch.vouched && source.followed.is_none());
                if source.unconnected > MAX_UNCONNECTED {
                    // No proof of a fault: these can be announcements, while our questions are
                    // held up on the way.
                    return Err(Reason::Stalled);
                }
                self.ask_headers(peer, None, now, out);
            }
            HeadersVerdict::TooNew | HeadersVerdict::TooMany | HeadersVerdict::Invalid => {}
        }
        let source = self.sources.get_mut(&peer).expect("looked up above");
        if source.ask_again && source.unjudged.is_empty() {
            source.ask_again = false;
            self.ask_headers(peer, None, now, out);
        }
        self.assign(now, out);
        Ok(Some(news).filter(|news| !news.headers.is_empty()))
    }
}

#[cfg(test)]
mod tests;
