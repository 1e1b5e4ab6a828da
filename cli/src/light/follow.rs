//! Brings a chain of headers up to what others have, who are not trusted.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use chain::Hash;
use chain::header::Header;
use chain::light::{LightChain, More, Source};
use chain::rules::RuleError;
use serde::Deserialize;

use super::proof::HexHeader;
use super::{PATIENCE, begin, now_s};
use crate::client::{Client, ClientError};
use crate::command::{Line, MAX_PAGE_HEADERS, headers_after};
use crate::folder::{self, FolderError};

/// How long a node is listened to before others are asked again. An honest one that gives ten pages
/// a second has told of eleven years of blocks a minute by then.
const TURN: Duration = Duration::from_secs(600);

/// Longest answer with headers, in bytes: a page has 164 kB.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Why somebody's headers were not taken.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// It could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its name has no address.
    #[error("{name} has no address: {why}")]
    Name {
        /// As it was typed.
        name: String,
        /// What the system said.
        why: String,
    },
    /// It has had its turn.
    #[error("the node was not done after {} s: others are asked before it goes on", TURN.as_secs())]
    Slow,
    /// A header was refused.
    #[error("a header was refused: {0}")]
    Refused(#[from] RuleError),
    /// The system has no randomness.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Headers as they were given.
pub struct Page {
    /// Linked and ascending, if whoever gave them is honest.
    pub headers: Vec<Header>,
    /// Whether more may follow.
    pub is_full: bool,
}

/// Gives headers from the main chain after the first hash that is on it.
pub type Give<'a> = dyn FnMut(&[Hash]) -> Result<Page, FollowError> + 'a;

/// Asks until there is no more. `progress` sees the chain after each page.
///
/// # Errors
/// Of `give`, what is wrong with the first header that is refused, and of `progress`.
pub fn catch_up<E: From<FollowError>>(
    chain: &mut LightChain,
    give: &mut Give<'_>,
    progress: &mut dyn FnMut(&LightChain) -> Result<(), E>,
) -> Result<(), E> {
    let mut source = Source::new(*folder::random().map_err(FollowError::from)?);
    loop {
        let Page { headers, is_full } = give(&chain.locator(&source))?;
        let more = chain.take(&mut source, now_s(), &headers, is_full);
        // Those before one that is refused are good all the same.
        progress(chain)?;
        if more.map_err(FollowError::from)? == More::No {
            return Ok(());
        }
    }
}

/// Connects to a node by its address or name: the first of its addresses that answers.
///
/// # Errors
/// When nobody answers there.
pub fn connect(name: &str) -> Result<Client, FollowError> {
    let fail = |why: String| FollowError::Name { name: name.to_string(), why };
    let addresses = name.to_socket_addrs().map_err(|error| fail(error.to_string()))?;
    let client = connect_to_any(addresses)?;
    client.ok_or_else(|| fail("none was given".to_string()))
}

/// Connects to the first address that answers; `None` when there are none.
///
/// # Errors
/// What is wrong with the last one, when nobody answers.
pub fn connect_to_any(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<Option<Client>, ClientError> {
    let mut last = Ok(None);
    for address in addresses {
        last = Client::connect(address, None).map(Some);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// A node's page of headers. Its turn began at `began`.
///
/// # Errors
/// When the node does not answer in time, or not with headers.
pub fn ask(client: &mut Client, began: Instant, locator: &[Hash]) -> Result<Page, FollowError> {
    client.be_patient(begin(), patience(began)?);
    let headers = ask_for(client, &headers_after(locator))?;
    let is_full = headers.len() >= MAX_PAGE_HEADERS;
    Ok(Page { headers, is_full })
}

/// How long the next answer may take of a node whose turn began then.
fn patience(began: Instant) -> Result<Duration, FollowError> {
    let left = TURN.saturating_sub(began.elapsed());
    if left.is_zero() { Err(FollowError::Slow) } else { Ok(left.min(PATIENCE)) }
}

/// A node's answer to a request for headers.
///
/// # Errors
/// When it does not answer, or not with headers, or with more than there can be.
pub fn ask_for(client: &mut Client, request: &Line) -> Result<Vec<Header>, ClientError> {
    let Answer { headers } = client.request_as(request, MAX_ANSWER_BYTES)?;
    if headers.len() > MAX_PAGE_HEADERS {
        let what = format!("more than {MAX_PAGE_HEADERS} headers");
        return Err(ClientError::Unexpected(what));
    }
    Ok(headers.into_iter().map(|HexHeader(header)| header).collect())
}

/// What of an answer with headers is of use to who believes nothing.
#[derive(Deserialize)]
#[serde(expecting = "a page of headers")]
struct Answer {
    headers: Vec<HexHeader>,
}

/// A chain's page, as a node that has it would give it.
pub fn page_of(chain: &LightChain, locator: &[Hash]) -> Page {
    let on_best = |hash: &&Hash| chain.hash(chain.common_height(hash)) == Some(**hash);
    let from = locator.iter().find(on_best).map_or(1, |hash| chain.common_height(hash) + 1);
    let heights = (from..=chain.tip().height).take(MAX_PAGE_HEADERS);
    let headers: Vec<Header> = heights.filter_map(|height| chain.header(height)).copied().collect();
    let is_full = headers.len() == MAX_PAGE_HEADERS;
    Page { headers, is_full }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_goes_on_and_on_gets_no_more_than_its_turn() {
        let ago = |time: Duration| patience(begin().checked_sub(time).unwrap());
        assert_eq!(ago(Duration::ZERO).unwrap(), PATIENCE);
        let left = ago(TURN - Duration::from_secs(2)).unwrap();
        assert!(left <= Duration::from_secs(2));
        assert!(matches!(ago(TURN), Err(FollowError::Slow)));
    }
}
