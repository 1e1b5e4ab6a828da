//! `BATCH`: many operations in one transaction.

use clap::Args;

use super::put::{Operands, WriteFlags, WriteWords};
use super::{Command, Line, UsageError, Words, unexpected};
use crate::request::Request;

pub(super) const BATCH: Command = Command {
    name: "BATCH",
    alias: None,
    usage: "operation.. [EXPIRES height] [WAIT confirmations] [TIMEOUT s]",
    about: "Does several PUT, DELETE, HANDOVER and SEND in one transaction: all or nothing",
    needs_auth: true,
    parse,
};

fn parse(rest: &mut Words) -> Result<Request, UsageError> {
    let (mut operations, mut current) = (Vec::new(), None::<Operands>);
    let mut write = WriteWords::default();
    while let Some(word) = rest.next() {
        let upper = word.to_ascii_uppercase();
        if let Some(next) = Operands::begin(&upper, rest)? {
            operations.extend(current.replace(next).map(|done| done.encode()));
            continue;
        }
        let is_of_current = match &mut current {
            Some(current) => current.take(&upper, rest)?,
            None => false,
        };
        if !is_of_current && !write.take(&upper, rest)? {
            return Err(unexpected(&word));
        }
    }
    let Some(last) = current else {
        let what = "the operations are missing: PUT key value, DELETE key, ..";
        return Err(UsageError(what.to_string()));
    };
    operations.push(last.encode());
    write.request(operations)
}

/// A line that does these operations, each given as its words, quoted.
pub fn batch_line<'a>(operations: impl IntoIterator<Item = &'a str>) -> Line {
    operations.into_iter().fold(Line::new(BATCH.name), Line::quoted)
}

/// Does several writes in one transaction: all of them or none
#[derive(Args, Clone, Debug)]
pub struct BatchArgs {
    /// PUT key value [IF n|ABSENT] [OWNED|OPEN], DELETE key [IF n], HANDOVER key address, SEND
    /// address amount, one after the other; base64:.. and hex:.. stand for other bytes
    #[arg(required = true, value_name = "OPERATION")]
    pub words: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub write: WriteFlags,
}

impl BatchArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        let line = self.words.iter().fold(Line::new(BATCH.name), |line, word| line.typed(word));
        self.write.add_to(line)
    }
}
