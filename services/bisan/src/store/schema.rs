//! The tables, made once.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::text;
use crate::{Error, fold};

/// The version of the tables that this program knows, kept in the file's `user_version`.
pub const SCHEMA_VERSION: i64 = 5;

const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [
    include_str!("../../../../migrations/bisan/0001_bisan.sql"),
    include_str!("../../../../migrations/bisan/0002_search.sql"),
    include_str!("../../../../migrations/bisan/0003_two_indexes.sql"),
    include_str!("../../../../migrations/bisan/0004_words_go.sql"),
    include_str!("../../../../migrations/bisan/0005_names_go.sql"),
];

/// Makes the tables, the inbox's too, or brings them to this version. Many may try at once.
///
/// A file whose text was folded by other rules is folded anew: this may take minutes.
pub fn migrate(db: &mut Connection) -> Result<(), Error> {
    // It has versions of its own. What is there already is only looked at.
    outbox::inbox::sqlite::migrate(db)?;
    if check(db).is_ok() {
        // Nothing to write: whoever writes just now need not be waited for.
        return Ok(());
    }
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = version(&tx)?;
    if version > SCHEMA_VERSION {
        return Err(newer(version));
    }
    for migration in &MIGRATIONS[usize::try_from(version).unwrap_or_default()..] {
        tx.execute_batch(migration)?;
    }
    tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    if folded_by(&tx)?.as_deref() != Some(&*fold::RULES.to_string()) {
        text::fold_all(&tx)?;
        tx.execute(
            "insert into fact (name, value) values ('fold.rules', ?1)
             on conflict (name) do update set value = excluded.value",
            params![fold::RULES.to_string()],
        )?;
    }
    tx.commit()?;
    Ok(())
}

/// Whether the tables are there, and are those that this program knows.
pub(super) fn check(db: &Connection) -> Result<(), Error> {
    match version(db)? {
        SCHEMA_VERSION if folded_by(db)?.as_deref() == Some(&*fold::RULES.to_string()) => Ok(()),
        0 => Err(Error::Unusable("the file has no tables of Bisan: `bisan migrate` makes them".to_owned())),
        newer if newer > SCHEMA_VERSION => Err(self::newer(newer)),
        _ => {
            Err(Error::Unusable("the file is of an older version: `bisan migrate` brings it to this one".to_owned()))
        }
    }
}

fn newer(version: i64) -> Error {
    Error::Unusable(format!(
        "the tables are of version {version}, and this program knows {SCHEMA_VERSION}: use a newer one"
    ))
}

fn version(db: &Connection) -> Result<i64, Error> {
    Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn folded_by(db: &Connection) -> Result<Option<String>, Error> {
    Ok(db.query_row("select value from fact where name = 'fold.rules'", [], |row| row.get(0)).optional()?)
}
