//! The database: its one table, durable transactions, and the form of its errors.

use std::path::Path;

use redb::{Database, Durability, TableDefinition};

use crate::index::store::StoreError;

/// The table of all keys.
pub(super) const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("facts");

/// An error of the engine on a file.
pub(super) fn engine(path: &Path, error: &impl ToString) -> StoreError {
    StoreError::Engine {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

/// Starts a transaction whose commit is durable.
pub(super) fn durable(database: &Database) -> Result<redb::WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}
