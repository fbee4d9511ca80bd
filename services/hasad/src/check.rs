//! Whether rows and objects belong together, and mending what can be mended.
//!
//! A check may run beside writers and sweeps. Whatever looks wrong is looked at once more before it is told: what was being
//! written or deleted while the check went by is no fault.

mod mend;

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use sqlx::PgPool;

use crate::objects::{Listed, Objects, hash, shards};
use crate::{Error, store};

/// Of each kind so many faults are told one by one. Faults of objects are all counted; rows are looked through up to here,
/// and it is said that there are more.
pub(crate) const FAULTS_MAX: usize = 10_000;
/// One more than are told, to know whether there are more.
const ASKED_MAX: i64 = FAULTS_MAX as i64 + 1;
/// So many rows are read together.
const CHUNK: i64 = 10_000;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A version names an object that is not in the store.
    Missing,
    /// An object has another size than its row says.
    WrongSize,
    /// An object's bytes do not have the hash that is its name.
    Corrupt,
    /// An object in the store has no row.
    Orphan,
    /// Something in our part of the store bears no name of ours.
    Stranger,
    /// A page has more than one current version.
    TwoCurrent,
    /// A page has no current version, or not its newest.
    WrongCurrent,
    /// Between two versions of a page others are missing.
    Gap,
    /// The constraint is missing that allows one current version only.
    NoConstraint,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The object's hash, the page's address, or a name in the store.
    pub(crate) what: String,
    /// In words.
    pub(crate) how: String,
    /// What `--repair` did about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mended: Option<&'static str>,
}

/// Which objects are read and hashed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sample {
    /// So many percent of them.
    Percent(f64),
    /// So many of them.
    Count(u32),
}

/// What a check found.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Checked {
    pub(crate) versions: i64,
    pub(crate) objects: u64,
    /// Read, and hashed.
    pub(crate) hashed: u64,
    pub(crate) bytes_hashed: u64,
    pub(crate) counts: BTreeMap<Kind, u64>,
    pub(crate) faults: Vec<Fault>,
    /// Rows have more faults than these: they were looked through so far, and no further.
    pub(crate) more: bool,
}

/// A check, and who wants to know how far it is.
pub(crate) struct Check<'a> {
    pub(crate) db: &'a PgPool,
    pub(crate) objects: &'a Objects,
    pub(crate) sample: Sample,
    pub(crate) repair: bool,
    pub(crate) ignore: &'a [Kind],
    pub(crate) tell: &'a (dyn Fn(&Checked) + Sync),
}

impl Checked {
    fn add(&mut self, kind: Kind, what: impl Into<String>, how: impl Into<String>, mended: Option<&'static str>) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= FAULTS_MAX as u64 {
            self.faults.push(Fault { kind, what: what.into(), how: how.into(), mended });
        }
    }

    /// As many as are told; that there are more is noted.
    fn some_of<T>(&mut self, mut rows: Vec<T>) -> Vec<T> {
        self.more |= rows.len() > FAULTS_MAX;
        rows.truncate(FAULTS_MAX);
        rows
    }

    /// How many faults there are, and how many of them were mended.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let mended = self.faults.iter().filter(|fault| fault.mended.is_some()).count() as u64;
        (self.counts.values().sum(), mended)
    }
}

impl Check<'_> {
    /// All of it.
    pub(crate) async fn run(&self) -> Result<Checked, Error> {
        let mut checked = Checked { versions: store::size(self.db).await?, ..Checked::default() };
        self.rows(&mut checked).await?;
        for name in self.objects.strangers().await? {
            self.add(&mut checked, Kind::Stranger, name, "is no object of ours".to_owned(), None);
        }
        let chosen: Option<HashSet<String>> = match self.sample {
            Sample::Count(count) => Some(store::some_objects(self.db, count.into()).await?.into_iter().collect()),
            Sample::Percent(_) => None,
        };
        let mut spare = Spare::default();
        for shard in shards() {
            self.shard(&shard, chosen.as_ref(), &mut spare, &mut checked).await?;
            (self.tell)(&checked);
        }
        // Of few objects chance may choose none, and "all is sound" would be said of nothing.
        if checked.hashed == 0 && matches!(self.sample, Sample::Percent(percent) if percent > 0.0) {
            self.read(spare.one.into_iter().collect(), &mut checked).await?;
        }
        Ok(checked)
    }

    fn add(&self, checked: &mut Checked, kind: Kind, what: String, how: String, mended: Option<&'static str>) {
        if !self.is_ignored(kind) {
            checked.add(kind, what, how, mended);
        }
    }

    fn is_ignored(&self, kind: Kind) -> bool {
        self.ignore.contains(&kind)
    }

    /// What nobody is told of is not touched either.
    fn mends(&self, kind: Kind) -> bool {
        self.repair && !self.is_ignored(kind)
    }

    /// What the rows alone tell.
    async fn rows(&self, checked: &mut Checked) -> Result<(), Error> {
        let [many, one_or_none] = [Kind::TwoCurrent, Kind::WrongCurrent].map(|kind| !self.is_ignored(kind));
        let broken = store::broken_currents(self.db, many, one_or_none, ASKED_MAX).await?;
        for (url, currents) in checked.some_of(broken) {
            let (kind, how) = match currents {
                0 => (Kind::WrongCurrent, "has no current version".to_owned()),
                1 => (Kind::WrongCurrent, "has a current version that is not its newest".to_owned()),
                many => (Kind::TwoCurrent, format!("has {many} current versions")),
            };
            let mended = if self.mends(kind) { Some(mend::currents(self.db, &url).await?) } else { None };
            self.add(checked, kind, url, how, mended);
        }
        // After them: it cannot be put back before.
        if !store::has_index(self.db).await? {
            // It cannot be put back while two are left: those that were ignored, and those that were not looked at.
            let mends =
                self.mends(Kind::NoConstraint) && store::broken_currents(self.db, true, false, 1).await?.is_empty();
            let mended = if mends { Some(mend::index(self.db).await?) } else { None };
            let how = "does not exist, or is not valid".to_owned();
            self.add(checked, Kind::NoConstraint, "hasad.version_current".to_owned(), how, mended);
        }
        let gaps = if self.is_ignored(Kind::Gap) { vec![] } else { store::gaps(self.db, ASKED_MAX).await? };
        for gap in checked.some_of(gaps) {
            let how = match gap.last - gap.first {
                0 => format!("never got its version {}", gap.first),
                _ => format!("never got its versions {} to {}", gap.first, gap.last),
            };
            self.add(checked, Kind::Gap, gap.source_url, how, None);
        }
        Ok(())
    }

    /// What rows and store say of the objects whose hash begins so.
    async fn shard(
        &self,
        shard: &str,
        chosen: Option<&HashSet<String>>,
        spare: &mut Spare,
        checked: &mut Checked,
    ) -> Result<(), Error> {
        let mut there: HashMap<String, u64> = HashMap::new();
        for Listed { hash, name, bytes } in self.objects.list_shard(shard).await? {
            match hash {
                Some(hash) => _ = there.insert(hash, bytes),
                None => {
                    self.add(checked, Kind::Stranger, name, "is no object of ours".to_owned(), None);
                }
            }
        }
        let mut to_read = vec![];
        let (mut after, before) = (shard.to_owned(), format!("{shard}g"));
        loop {
            let rows = store::objects_after(self.db, &after, &before, CHUNK).await?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.hash);
            for row in rows {
                checked.objects += 1;
                match there.remove(&row.hash) {
                    Some(bytes) if bytes == row.bytes.unsigned_abs() => match self.is_chosen(&row.hash, chosen) {
                        true => to_read.push((row.hash, bytes)),
                        false => spare.offer((row.hash, bytes)),
                    },
                    Some(_) => self.wrong_size(&row, checked).await?,
                    None if row.named => self.missing(&row, checked).await?,
                    // Nobody names it, and a sweep that died may have come as far as this.
                    None => {}
                }
            }
        }
        self.orphans(there, checked).await?;
        self.read(to_read, checked).await
    }

    fn is_chosen(&self, hash: &str, chosen: Option<&HashSet<String>>) -> bool {
        match (self.sample, chosen) {
            (Sample::Percent(percent), _) if percent >= 100.0 => true,
            (Sample::Percent(percent), _) => chance() * 100.0 < percent,
            (Sample::Count(_), Some(chosen)) => chosen.contains(hash),
            (Sample::Count(_), None) => false,
        }
    }

    async fn missing(&self, row: &store::OfObject, checked: &mut Checked) -> Result<(), Error> {
        // It may have been put after the list, and its name may have gone before the row was read.
        if self.objects.bytes(&row.hash).await?.is_none() && store::is_named(self.db, &row.hash).await? {
            let how = "is named, and not in the store".to_owned();
            self.add(checked, Kind::Missing, row.hash.clone(), how, None);
        }
        Ok(())
    }

    async fn wrong_size(&self, row: &store::OfObject, checked: &mut Checked) -> Result<(), Error> {
        // Written anew meanwhile, or deleted; or the row was.
        let Some(bytes) = self.objects.get(&row.hash).await? else { return Ok(()) };
        let Some(says) = store::size_of(self.db, &row.hash).await? else { return Ok(()) };
        if bytes.len() as i64 == says {
            return Ok(());
        }
        let sound = hash(&bytes) == row.hash;
        let how = match sound {
            true => format!("has {} bytes and is sound, and its row says {says}", bytes.len()),
            false => format!("has {} bytes, and its row says {says}", bytes.len()),
        };
        let mended = match (self.mends(Kind::WrongSize), sound) {
            (false, _) => None,
            (true, true) => Some(mend::size(self.db, &row.hash, bytes.len()).await?),
            (true, false) => match mend::bytes(self.db, self.objects, &row.hash).await? {
                None => return Ok(()),
                mended => mended,
            },
        };
        self.add(checked, Kind::WrongSize, row.hash.clone(), how, mended);
        Ok(())
    }

    /// Objects that were listed and have no row.
    async fn orphans(&self, left: HashMap<String, u64>, checked: &mut Checked) -> Result<(), Error> {
        let mut left: Vec<(String, i64)> = left.into_iter().map(|(hash, bytes)| (hash, bytes as i64)).collect();
        left.sort();
        let (hashes, bytes): (Vec<_>, Vec<_>) = left.into_iter().unzip();
        let orphans = mend::orphans(self.db, &hashes, &bytes, self.mends(Kind::Orphan)).await?;
        for (hash, bytes) in orphans {
            // Deleted meanwhile.
            if self.objects.bytes(&hash).await?.is_none() {
                continue;
            }
            let mended = self.repair.then_some("it has a row and a mark now: gc deletes it after the grace");
            self.add(checked, Kind::Orphan, hash, format!("has {bytes} bytes and no row"), mended);
        }
        Ok(())
    }

    /// Reads objects and hashes them.
    async fn read(&self, to_read: Vec<(String, u64)>, checked: &mut Checked) -> Result<(), Error> {
        let reads = stream::iter(to_read).map(|(name, _)| async move {
            let bytes = self.objects.get(&name).await?;
            Ok::<_, Error>((bytes.map(|bytes| (bytes.len() as u64, hash(&bytes))), name))
        });
        let mut reads = reads.buffer_unordered(self.objects.at_once.min(8));
        let mut corrupt = vec![];
        while let Some((read, name)) = reads.try_next().await? {
            // Gone since: a sweep.
            let Some((bytes, is)) = read else { continue };
            checked.hashed += 1;
            checked.bytes_hashed += bytes;
            if is != name {
                corrupt.push((name, is));
            }
            if checked.hashed.is_multiple_of(1_000) {
                (self.tell)(checked);
            }
        }
        for (name, is) in corrupt {
            let mended = match self.mends(Kind::Corrupt) {
                false => None,
                true => match mend::bytes(self.db, self.objects, &name).await? {
                    None => continue,
                    mended => mended,
                },
            };
            self.add(checked, Kind::Corrupt, name, format!("has the bytes of {is}"), mended);
        }
        Ok(())
    }
}

/// One of the objects that were not chosen, any with the same chance.
#[derive(Default)]
struct Spare {
    one: Option<(String, u64)>,
    offered: u64,
}

impl Spare {
    fn offer(&mut self, object: (String, u64)) {
        self.offered += 1;
        if chance() * (self.offered as f64) < 1.0 {
            self.one = Some(object);
        }
    }
}

/// In `0.0..1.0`.
fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1_u64 << 53) as f64
}
