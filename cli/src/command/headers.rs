//! `HEADERS`: headers of the main chain, for those who keep nothing else.

use chain::Hash;

use super::{Command, Line, UsageError, Words, unexpected};
use crate::request::{HeadersFrom, Read, Request};

pub(super) const HEADERS: Command = Command {
    name: "HEADERS",
    alias: None,
    usage: "height|hash[,hash..] [LIMIT n]",
    about: "Gives the main chain's headers from a height on, or after a block",
    needs_auth: false,
    parse,
};

/// Most headers in a page, whatever is asked for: an answer of 164 kB.
pub const MAX_PAGE_HEADERS: usize = 1_000;

/// Most hashes in a request. A locator doubles its steps after ten, so it never has more.
const MAX_HASHES: usize = 64;

fn parse(rest: &mut Words) -> Result<Request, UsageError> {
    let word = rest.required("the height or hash")?;
    let from = match word.parse() {
        Ok(height) => HeadersFrom::Height(height),
        Err(_) => HeadersFrom::After(hashes(&word)?),
    };
    let limit = match rest.next() {
        None => MAX_PAGE_HEADERS,
        Some(word) if word.eq_ignore_ascii_case("LIMIT") => rest.limit()?.min(MAX_PAGE_HEADERS),
        Some(word) => return Err(unexpected(&word)),
    };
    Ok(Request::Read(Read::Headers { from, limit }))
}

fn hashes(word: &str) -> Result<Vec<Hash>, UsageError> {
    let hash = |word: &str| {
        let what = format!("{word:?} is neither a height nor a hash of 64 hex digits");
        word.parse().map_err(|_| UsageError(what))
    };
    if word.split(',').count() > MAX_HASHES {
        return Err(UsageError(format!("more than {MAX_HASHES} hashes")));
    }
    word.split(',').map(hash).collect()
}

/// The words of the request for what comes after the first of these blocks that the node has on
/// its main chain.
pub fn headers_after(locator: &[Hash]) -> Line {
    let hashes: Vec<String> = locator.iter().map(ToString::to_string).collect();
    Line::new(HEADERS.name).word(hashes.join(","))
}

/// The words of the request for the headers from a height on.
pub fn headers_from(height: u32) -> Line {
    Line::new(HEADERS.name).word(height)
}
