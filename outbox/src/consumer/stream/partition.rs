//! Who reads which partition, as Redis keeps it.

use std::time::Duration;

use redis::{Value, cmd};

use super::connect::reader_name;
use super::{Door, Names, Trouble, script};

/// Whose the right to read a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Ours, as it was before.
    Kept,
    /// Ours, and nobody's before.
    Taken,
    Others,
}

impl Door {
    /// Takes or keeps the right to read a partition.
    pub(crate) async fn hold(&mut self, names: &Names<'_>, me: &str, lease: Duration) -> Result<Right, Trouble> {
        let mut call = script(include_str!("../scripts/hold.lua"), &[&names.holder()]);
        match call.arg(me).arg(lease.as_millis() as u64).query_async::<u8>(&mut self.hand).await {
            // Somebody uses that name for something else: nobody can hold this partition, and others go on.
            Err(error) if error.code() == Some("WRONGTYPE") => {
                tracing::error!(stream = names.stream, group = names.group, %error, "a partition cannot be held");
                Ok(Right::Others)
            }
            right => Ok(match right? {
                0 => Right::Others,
                1 => Right::Kept,
                _ => Right::Taken,
            }),
        }
    }

    /// Becomes the one who reads a partition: the connection of whoever did before is ended. `false`: nobody can.
    pub(crate) async fn take_reader(&mut self, names: &Names<'_>, me: &str) -> Result<bool, Trouble> {
        let ours = format!("{} {}", self.reader_id, reader_name(names.group, me));
        let mut call = script(include_str!("../scripts/read_as.lua"), &[&names.reader()]);
        let before: Option<String> = match call.arg(&ours).query_async(&mut self.hand).await {
            // Somebody uses that name for something else: whoever read before cannot be ended, and others go on.
            Err(error) if error.code() == Some("WRONGTYPE") => {
                tracing::error!(stream = names.stream, group = names.group, %error, "a partition cannot be read");
                return Ok(false);
            }
            before => before?,
        };
        match before.as_deref() {
            // Redis has lost what it knew, or this partition is new.
            None => self.end_all_readers(names.group, me).await?,
            Some(before) if before == ours => {}
            Some(before) => {
                if let Some((id, name)) = before.split_once(' ') {
                    self.end_reader(id, name).await?;
                }
            }
        }
        Ok(true)
    }

    /// Ends the connections of all others who read for this group. Those who rightly do connect again.
    async fn end_all_readers(&mut self, group: &str, me: &str) -> Result<(), Trouble> {
        let (of_group, ours) = (reader_name(group, ""), reader_name(group, me));
        let list: String = cmd("CLIENT").arg("LIST").query_async(&mut self.hand).await?;
        for line in list.lines() {
            let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
            if let (Some(id), Some(name)) = (field("id="), field("name="))
                && name.starts_with(&of_group)
                && name != ours
            {
                let _: Value = cmd("CLIENT").arg("KILL").arg("ID").arg(id).query_async(&mut self.hand).await?;
            }
        }
        Ok(())
    }

    /// Says that we are there, for so long. Returns how many are, and how many of them come before us.
    pub(crate) async fn register(
        &mut self,
        names: &Names<'_>,
        me: &str,
        lease: Duration,
    ) -> Result<(usize, usize), Trouble> {
        let mut call = script(include_str!("../scripts/register.lua"), &[&names.register()]);
        Ok(call.arg(me).arg(lease.as_millis() as u64).query_async(&mut self.hand).await?)
    }

    /// Says that we are there no longer.
    pub(crate) async fn unregister(&mut self, names: &Names<'_>, me: &str) -> Result<(), Trouble> {
        Ok(cmd("ZREM").arg(names.register()).arg(me).exec_async(&mut self.hand).await?)
    }

    /// Ends the right to read a partition.
    pub(crate) async fn let_go(&mut self, names: &Names<'_>, me: &str) -> Result<(), Trouble> {
        let mut call = script(include_str!("../scripts/let_go.lua"), &[&names.holder(), &names.reader()]);
        Ok(call.arg(me).exec_async(&mut self.hand).await?)
    }
}
