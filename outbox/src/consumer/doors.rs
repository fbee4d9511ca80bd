//! The ways to Redis: one, or in a cluster one for each stream. All are opened together, and closed together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stream::{Client, Door, Trouble};
use super::told::Told;

pub(super) struct Doors {
    client: Client,
    /// By stream; in a Redis that is no cluster one for all.
    open: BTreeMap<Arc<str>, Door>,
    /// The connections that read before these: Redis may not have noticed yet that they are gone.
    former: BTreeMap<Arc<str>, i64>,
    cluster: bool,
}

impl Doors {
    pub(super) fn of(client: Client) -> Self {
        Self { client, open: BTreeMap::new(), former: BTreeMap::new(), cluster: false }
    }

    pub(super) fn are_closed(&self) -> bool {
        self.open.is_empty()
    }

    /// Opens those that these streams need.
    pub(super) async fn open(&mut self, told: &Told, streams: Vec<Arc<str>>) -> Result<(), Trouble> {
        for stream in streams {
            if self.open.contains_key(&self.key(&stream)) {
                continue;
            }
            let timeout = told.settings.redis_timeout;
            let mut door = Door::connect(&self.client, &stream, &told.group, &told.me, timeout).await?;
            self.cluster = door.is_cluster();
            if self.cluster && !has_tag(&stream) {
                return Err(Trouble::Unusable(format!(
                    "in a Redis Cluster the stream {stream} needs a tag in braces, so that what belongs to it lies together"
                )));
            }
            let key = self.key(&stream);
            // Redis may still be about to give entries to it, which would then wait for nobody.
            if let Some(former) = self.former.get(&key) {
                door.end_former(*former, &told.group, &told.me).await?;
                self.former.remove(&key);
            }
            self.open.insert(key, door);
        }
        Ok(())
    }

    /// Something is wrong with one of them: all are made anew.
    pub(super) fn close(&mut self) {
        let readers = std::mem::take(&mut self.open).into_iter().map(|(key, door)| (key, door.reader_id()));
        self.former.extend(readers);
    }

    /// Under which name the door of a stream is known.
    pub(super) fn key(&self, stream: &Arc<str>) -> Arc<str> {
        if self.cluster { stream.clone() } else { "".into() }
    }

    /// The door of a stream.
    pub(super) fn to(&mut self, stream: &str) -> Result<&mut Door, Trouble> {
        let key = if self.cluster { stream } else { "" };
        self.at(key)
    }

    /// The door of this name.
    pub(super) fn at(&mut self, key: &str) -> Result<&mut Door, Trouble> {
        self.open.get_mut(key).ok_or_else(|| Trouble::Away("not connected".to_owned()))
    }
}

/// Whether a name says which part of it a cluster places it by.
fn has_tag(name: &str) -> bool {
    name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::has_tag;

    #[test]
    fn a_tag_is_something_in_braces() {
        for (name, tagged) in
            [("t:{0}", true), ("{a}b", true), ("t", false), ("t:{}", false), ("t:{0", false), ("t}0{", false)]
        {
            assert_eq!(has_tag(name), tagged, "{name}");
        }
    }
}
