//! The index as text, to be compared.

use std::path::PathBuf;

use rusqlite::types::Value;

use super::{SqliteArchive, StoreError};

impl SqliteArchive {
    /// Writes every row that follows from the block log, one a line, in a fixed order: equal
    /// states give equal dumps.
    ///
    /// # Errors
    /// When the store or `out` fails.
    pub fn dump(&self, out: &mut dyn std::io::Write) -> Result<(), StoreError> {
        let tables = [
            (
                "block",
                "SELECT arrival, hash, header, offset, length, invalid FROM block ORDER BY 1",
            ),
            ("chain", "SELECT height, hash, header, undo FROM chain ORDER BY 1"),
            ("tx", "SELECT txid, height, position, outcome FROM tx ORDER BY 1"),
            ("state", "SELECT key, value FROM state ORDER BY 1"),
            ("page", "SELECT prefix, slots FROM page ORDER BY 1"),
        ];
        for (table, sql) in tables {
            let mut statement = self.connection.prepare(sql).map_err(|error| self.error(&error))?;
            let columns = statement.column_count();
            let mut rows = statement.query([]).map_err(|error| self.error(&error))?;
            while let Some(row) = rows.next().map_err(|error| self.error(&error))? {
                let mut line = table.to_string();
                for column in 0..columns {
                    let value: Value = row.get(column).map_err(|error| self.error(&error))?;
                    line.push(' ');
                    line.push_str(&match value {
                        Value::Integer(number) => number.to_string(),
                        Value::Blob(bytes) => data_encoding::HEXLOWER.encode(&bytes),
                        other => format!("{other:?}"),
                    });
                }
                writeln!(out, "{line}")
                    .map_err(|source| StoreError::Io { path: PathBuf::from("(dump)"), source })?;
            }
        }
        Ok(())
    }
}
