//! Brings every article to the spare index, from one state of the file.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::{Reindex, Told};
use crate::Error;
use crate::meili::{Ended, Trouble};
use crate::projector::{Load, Settled, Stop, note};
use crate::store::{self, Item, Queue};

/// Requests whose tasks the server may have at once: it works on one while the next is on its way.
const TASKS_MAX: usize = 3;

impl Reindex {
    /// From this number on. What changes meanwhile is not in that state; it is noted, and brought afterwards.
    pub(super) async fn load(&self, from: i64, told: &mut (impl FnMut(Told) + Send)) -> Result<(), Stop> {
        let (swaps, extent) = self.store.read(|tx| Ok((store::swaps(tx)?, store::extent(tx, i64::MAX)?))).await?;
        let mut loaded = self.store.read(move |tx| Ok(store::extent(tx, from)?)).await?;
        let mut carrier = self.carrier();
        let mut batches = self.read_on(from);
        let mut sent = VecDeque::new();
        loop {
            while sent.len() < TASKS_MAX
                && let Some(items) = batches.recv().await.transpose()?
            {
                let task = self.meili.put(&self.server.spare(), lines(&items)).await;
                sent.push_back((items, task));
            }
            let Some((items, task)) = sent.pop_front() else { break };
            let (task, ended) = match task {
                Ok(task) => (Some(task), self.meili.follow(task).await),
                Err(trouble) => (None, Err(trouble)),
            };
            let (count, upto) = (items.len() as u64, items.last().map_or(from, |item| item.id));
            match ended {
                Ok(Ended::Succeeded) => {
                    let settled = Settled { brought: items, refused: vec![], task };
                    self.store.write(move |tx| note(tx, Queue::Spare, &settled, swaps)).await?;
                }
                // One of them is at fault, or they are too many at once.
                Ok(Ended::Failed(_)) | Err(Trouble::Refused(_) | Trouble::TooLarge { .. }) => {
                    let mut load = Load::new(items);
                    while let Some(settled) = carrier.step(&mut load).await? {
                        self.store.write(move |tx| note(tx, Queue::Spare, &settled, swaps)).await?;
                    }
                }
                Err(trouble) => return Err(trouble.into()),
            }
            self.store.write(move |tx| Ok(store::loaded(tx, upto)?)).await?;
            loaded += count;
            told(Told::Loaded { articles: loaded.min(extent), of: extent });
        }
        self.store.write(|tx| Ok(store::step(tx, store::Step::CatchingUp)?)).await?;
        Ok(())
    }

    /// Reads ahead on a thread of its own, in one transaction: writers do not wait for it, and it does not see them.
    fn read_on(&self, from: i64) -> mpsc::Receiver<Result<Vec<Item>, Error>> {
        let (send, batches) = mpsc::channel(1);
        let store = self.store.clone();
        let (items_max, bytes_max) = (self.server.batch_documents_max.get(), self.server.batch_bytes_max.get());
        tokio::task::spawn_blocking(move || {
            let read = store.read_now(|tx| {
                let mut upto = from;
                loop {
                    let items = store::live_after(tx, upto, items_max, bytes_max)?;
                    let Some(last) = items.last() else { return Ok(()) };
                    upto = last.id;
                    // Nobody listens any more.
                    if send.blocking_send(Ok(items)).is_err() {
                        return Ok(());
                    }
                }
            });
            if let Err(error) = read {
                let _ = send.blocking_send(Err(error));
            }
        });
        batches
    }
}

fn lines(items: &[Item]) -> Vec<u8> {
    items.iter().filter_map(|item| item.line.as_deref()).flatten().copied().collect()
}
