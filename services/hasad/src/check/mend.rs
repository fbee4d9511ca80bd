//! What a check can mend. Each answers with what it did, in words.

use sqlx::PgPool;

use crate::objects::Objects;
use crate::{Error, store};

/// The newest version becomes the current one.
pub(super) async fn currents(db: &PgPool, url: &str) -> Result<&'static str, Error> {
    let mut tx = db.begin().await?;
    store::mend_currents(&mut tx, url).await?;
    tx.commit().await?;
    Ok("its newest version is the current one now")
}

/// The constraint is put back.
pub(super) async fn index(db: &PgPool) -> Result<&'static str, Error> {
    store::mend_index(db).await?;
    Ok("it was put back")
}

/// The row says what is so.
pub(super) async fn size(db: &PgPool, hash: &str, bytes: usize) -> Result<&'static str, Error> {
    store::mend_size(db, hash, bytes as i64).await?;
    Ok("its row says so now")
}

/// What does not have its own hash is set aside; where the same content is told again, or imported, it is written anew. The
/// lock keeps writers away meanwhile, who would take it for sound. None: there is nothing wrong any more, since it was written
/// anew or deleted before we had the lock.
pub(super) async fn bytes(db: &PgPool, objects: &Objects, hash: &str) -> Result<Option<&'static str>, Error> {
    let mut tx = db.begin().await?;
    store::lock_object(&mut tx, hash).await?;
    let is_wrong = objects.get(hash).await?.is_some_and(|bytes| crate::objects::hash(&bytes) != hash);
    let is_aside = is_wrong && objects.set_aside(hash).await?;
    tx.commit().await?;
    Ok(is_aside.then_some("it was set aside; import-ndjson --from-start of an export writes it anew"))
}

/// Of these, which have no row: those that a writer is about to name are waited for. They get a row with a mark, if it is to
/// be mended.
pub(super) async fn orphans(
    db: &PgPool,
    hashes: &[String],
    bytes: &[i64],
    repair: bool,
) -> Result<Vec<(String, i64)>, Error> {
    if hashes.is_empty() {
        return Ok(vec![]);
    }
    let mut tx = db.begin().await?;
    let orphans = store::adopt(&mut *tx, hashes, bytes).await?;
    if repair {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(orphans.into_iter().map(|orphan| (orphan.hash, orphan.bytes)).collect())
}
