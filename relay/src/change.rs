//! Changes to one stream beside appending: made, fenced, trimmed, given its groups back. Each happens only if the stream is as
//! we think it is.

use outbox::EntryId;
use redis::{Cmd, Value, cmd, pipe};

use crate::append::{Appender, add_watch};
use crate::fault::{Fault, Outage};
use crate::groups::Groups;
use crate::lanes::Top;
use crate::replies::{Transacted, as_error};

impl Appender {
    /// Raises a stream's top to a number that is given up, so that Redis itself refuses it to anyone who still holds it.
    ///
    /// `XSETID` alone could lower it again: Redis compares with the newest entry, not with the top, and breaks nobody's watch
    /// by it. A time to live, set and taken back, does break it; so of two who raise at once one finds out.
    pub(crate) async fn fence(&mut self, stream: &str, id: EntryId) -> Result<Transacted, Outage> {
        let (mut xsetid, mut touch, mut untouch) = (cmd("XSETID"), cmd("EXPIRE"), cmd("PERSIST"));
        xsetid.arg(stream).arg(id.to_string());
        touch.arg(stream).arg(86_400);
        untouch.arg(stream);
        self.transact(stream, vec![xsetid, touch, untouch]).await
    }

    /// Lets go of everything up to a number, if the stream still ends where we think it does. By a script: where memory is
    /// short Redis queues nothing for a transaction, not even what would free some.
    pub(crate) async fn trim(&mut self, stream: &str, upto: EntryId) -> Result<Transacted, Outage> {
        let Some(Top::At(top)) = self.watched.get(stream) else { return Ok(Transacted::Broken) };
        let above = EntryId { seq: upto.seq + 1, ..upto };
        let mut script = cmd("EVAL");
        script.arg(include_str!("trim.lua")).arg(1).arg(stream).arg(top.to_string()).arg(above.to_string());
        let mut pipeline = pipe();
        pipeline.add_command(script);
        let replies = self.send(stream, &pipeline).await?;
        self.watched.remove(stream); // what we changed ourselves breaks our watch, too
        match (&replies[0], as_error(&replies[0])) {
            (_, Some(Fault::Outage(outage))) => Err(outage),
            (_, Some(Fault::Refusal(reason))) => Ok(Transacted::Refused(reason)),
            (Value::Int(1), _) => Ok(Transacted::Done),
            _ => Ok(Transacted::Broken),
        }
    }

    /// Makes a stream that is not there, with its groups where they were. `Broken`: someone else was quicker.
    pub(crate) async fn make(
        &mut self,
        stream: &str,
        start: EntryId,
        groups: &[(String, EntryId)],
    ) -> Result<Transacted, Outage> {
        let create = |group: &str, at: EntryId| {
            let mut xgroup = cmd("XGROUP");
            xgroup.arg("CREATE").arg(stream).arg(group).arg(at.to_string()).arg("MKSTREAM");
            xgroup
        };
        let mut commands: Vec<_> = groups.iter().map(|(group, at)| create(group, *at)).collect();
        if groups.is_empty() {
            // The only way to an empty stream leads through a group.
            let mut destroy = cmd("XGROUP");
            destroy.arg("DESTROY").arg(stream).arg("outbox:none");
            commands.extend([create("outbox:none", start), destroy]);
        }
        let mut xsetid = cmd("XSETID");
        xsetid.arg(stream).arg(start.to_string());
        commands.push(xsetid);
        self.transact(stream, commands).await
    }

    /// Puts groups where they were: those that are not there, and those that somebody has made anew further back.
    pub(crate) async fn restore(&mut self, stream: &str, groups: &[(String, EntryId)]) -> Result<(), Outage> {
        if groups.is_empty() {
            return Ok(());
        }
        let Groups { groups: there, answered, .. } = self.groups(&[stream.to_owned()]).await?;
        if answered.is_empty() {
            return Ok(()); // there is no stream: it is made with its groups
        }
        let mut pipeline = pipe();
        for (group, at) in groups {
            match there.iter().find(|other| other.name == *group) {
                None => _ = pipeline.cmd("XGROUP").arg("CREATE").arg(stream).arg(group).arg(at.to_string()),
                Some(there) if there.delivered < *at => {
                    pipeline.cmd("XGROUP").arg("SETID").arg(stream).arg(group).arg(at.to_string());
                }
                Some(_) => {}
            }
        }
        if pipeline.is_empty() {
            return Ok(());
        }
        // A group that somebody has made meanwhile stays as it is. Any other failure must not pass for success: a group that
        // the next look does not find loses its saved position.
        match self.send(stream, &pipeline).await?.iter().filter_map(as_error).find(|fault| !fault.is_busy_group()) {
            None => Ok(()),
            Some(Fault::Outage(outage)) => Err(outage),
            Some(fault) => Err(Outage(format!("the groups of {stream} cannot be put back: {fault:?}"))),
        }
    }

    /// Runs commands on one watched stream.
    async fn transact(&mut self, stream: &str, commands: Vec<Cmd>) -> Result<Transacted, Outage> {
        let queued = commands.len();
        let mut pipeline = pipe();
        pipeline.add_command(cmd("MULTI"));
        for command in commands {
            pipeline.add_command(command);
        }
        pipeline.add_command(cmd("EXEC"));
        add_watch(&mut pipeline, [stream].into_iter());
        let replies = self.send(stream, &pipeline).await?;
        let (transaction, rest) = replies.split_at(queued + 2);
        self.unwatched(stream); // EXEC ends every watch
        self.take_watch([stream].into_iter(), rest)?;
        // The reason stands with the command: among EXEC's answers, or where it was not even queued.
        let (exec, before) = transaction.split_last().expect("it has at least MULTI and EXEC");
        let faults = match exec {
            Value::Nil => return Ok(Transacted::Broken),
            Value::Array(results) => results.iter().find_map(as_error),
            _ => before.iter().find_map(as_error).or_else(|| as_error(exec)),
        };
        match faults {
            None => Ok(Transacted::Done),
            Some(Fault::Outage(outage)) => Err(outage),
            Some(Fault::Passed) => Ok(Transacted::Broken),
            Some(Fault::Refusal(reason)) => Ok(Transacted::Refused(reason)),
        }
    }
}
