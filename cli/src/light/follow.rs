//! Brings a chain of headers up to what others have, who are not trusted.

use std::net::{SocketAddr, ToSocketAddrs};

use chain::Hash;
use chain::header::Header;
use chain::light::{LightChain, More, Source};
use chain::rules::RuleError;
use serde_json::Value;

use super::proof::read_header;
use super::{PATIENCE, begin, now_s};
use crate::client::{Client, ClientError};
use crate::command::{MAX_PAGE_HEADERS, headers_after};
use crate::folder::{self, FolderError};

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
    /// What it sent is no page of headers.
    #[error("the node's answer is no page of headers: {0}")]
    Garbled(&'static str),
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

/// Connects to a node by its address or name.
///
/// # Errors
/// When nobody answers there.
pub fn connect(name: &str) -> Result<Client, FollowError> {
    let fail = |why: String| FollowError::Name { name: name.to_string(), why };
    let mut addresses = name.to_socket_addrs().map_err(|error| fail(error.to_string()))?;
    let address: SocketAddr = addresses.next().ok_or_else(|| fail("none was given".to_string()))?;
    Ok(Client::connect(address, None)?)
}

/// A node's page of headers.
///
/// # Errors
/// When the node does not answer, or not with headers.
pub fn ask(client: &mut Client, locator: &[Hash]) -> Result<Page, FollowError> {
    client.be_patient(begin(), PATIENCE);
    let answer = client.request(&headers_after(locator))?;
    let headers = read_headers(&answer["headers"])?;
    let is_full = headers.len() >= MAX_PAGE_HEADERS;
    Ok(Page { headers, is_full })
}

/// Headers of an answer.
///
/// # Errors
/// When it has none, or more than there can be.
pub fn read_headers(list: &Value) -> Result<Vec<Header>, FollowError> {
    let list = list.as_array().ok_or(FollowError::Garbled("there is no list of headers"))?;
    if list.len() > MAX_PAGE_HEADERS {
        return Err(FollowError::Garbled("the list is too long"));
    }
    let headers = list.iter().map(read_header).collect::<Option<Vec<Header>>>();
    headers.ok_or(FollowError::Garbled("a header is not 160 hex digits"))
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
