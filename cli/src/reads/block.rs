//! What `BLOCK` shows, and what it says of a block whose body is gone.

use chain::Hash;
use chain::block::Block;
use chain::store::{Archive, Body, StoreError};
use serde_json::json;

use super::{Reader, Shown};
use crate::reply::{Code, Failure};
use crate::request::BlockName;

impl Reader<'_> {
    pub(super) fn block(&self, name: BlockName) -> Shown {
        let hash = match name {
            BlockName::Hash(hash) => Some(hash),
            BlockName::Height(height) => self.archive.main_hash(height)?,
        };
        let genesis = self.network.genesis();
        let block = match hash {
            Some(hash) if hash == genesis.header.hash() => genesis,
            Some(hash) => match self.archive.body(&hash)? {
                Body::Here(bytes) => {
                    Block::decode(&bytes).expect("the log's checksums vouch for blocks")
                }
                Body::Unknown => return Ok(Err(self.no_block(name))),
                body => return self.gone(&hash, &body).map(Err),
            },
            None => return Ok(Err(self.no_block(name))),
        };
        let hash = block.header.hash();
        let on_main = self.archive.main_hash(block.coinbase.height)? == Some(hash);
        let txids: Vec<String> =
            block.transactions.iter().map(|transaction| transaction.txid().to_string()).collect();
        Ok(Ok(json!({
            "hash": hash.to_string(),
            "height": block.coinbase.height,
            "main_chain": on_main,
            "confirmations": if on_main { self.confirmations(block.coinbase.height) } else { 0 },
            "version": format!("{:08x}", block.header.version),
            "previous": block.header.prev.to_string(),
            "merkle_root": block.header.merkle_root.to_string(),
            "time": block.header.time,
            "bits": block.header.bits.to_string(),
            "nonce": block.header.nonce,
            "bytes": block.encode().len(),
            "payee": block.coinbase.payee.to_string(),
            "reward": block.coinbase.value,
            "transactions": txids,
        })))
    }

    fn no_block(&self, name: BlockName) -> Failure {
        let what = match name {
            BlockName::Hash(hash) => format!("no block {hash} is stored here"),
            BlockName::Height(height) => {
                format!("no block of height {height}; the tip has {}", self.tip)
            }
        };
        Failure::new(Code::NotFound, what)
    }

    /// What to say of a block whose body is not here.
    fn gone(&self, hash: &Hash, body: &Body) -> Result<Failure, StoreError> {
        if let Body::Damaged(_) = body {
            self.unreadable.set(Some(*hash));
        }
        if let Body::Pruned = body {
            let from = self.archive.pruned()? + 1;
            let what = format!(
                "the body of block {hash} was removed here: this node keeps those from height \
                 {from} on (HEADERS has its header)"
            );
            return Ok(Failure::new(Code::Pruned, what));
        }
        let what = format!(
            "the body of block {hash} is damaged here and is fetched from peers again: ask later"
        );
        Ok(Failure::new(Code::Missing, what))
    }
}
