//! Killed at each turn: whoever speaks over a wire dies at its first turn, the next one at its second, until a run needs fewer.
//!
//! A test sets its scene, says how the one who dies is started and when its work is done, and looks at what is left:
//!
//! ```no_run
//! # async fn test(wire: outbox_tests::Proxy, start: fn() -> outbox_tests::Child, done: fn() -> bool) {
//! let mut turns = outbox_tests::Turns::of(&wire, outbox_tests::Side::Reply, 10);
//! while let Some(turn) = turns.another() {
//!     turns.kill(start, async |_| done()).await;
//!     // Another one goes on, and nothing is lost, after whichever turn.
//! }
//! # }
//! ```

use crate::{Child, Proxy, Side, eventually};

/// The turns of one wire, one after the other.
pub struct Turns<'a> {
    wire: &'a Proxy,
    side: Side,
    least: usize,
    coming: Box<dyn Iterator<Item = usize>>,
    /// The turn at hand; 0 before the first.
    turn: usize,
    /// Somebody came as far as this turn.
    taken: bool,
    killed: usize,
}

impl<'a> Turns<'a> {
    /// A whole run takes more than `least` turns: one that takes fewer is not the one that the test is about.
    pub fn of(wire: &'a Proxy, side: Side, least: usize) -> Self {
        Self { wire, side, least, coming: Box::new(strides(1)), turn: 0, taken: true, killed: 0 }
    }

    /// Of so many turns one is taken, as [`strides`] says.
    pub fn one_in(self, every: usize) -> Self {
        Self { coming: Box::new(strides(every)), ..self }
    }

    /// The next turn; none once a run has ended before it.
    ///
    /// # Panics
    /// If that was too soon.
    pub fn another(&mut self) -> Option<usize> {
        if !self.taken {
            let (turn, killed) = (self.turn, self.killed);
            assert!(
                turn > self.least && killed > 0,
                "a run takes more than {} turns, and not less than {turn}",
                self.least
            );
            println!("killed {killed} times; a run takes less than {turn} turns");
            return None;
        }
        self.taken = false;
        self.turn = self.coming.next()?;
        Some(self.turn)
    }

    /// Starts somebody, kills it at this turn, counted from here on, and closes what it had open over the wire. Who has done its
    /// work before is killed then. Asked by the way, `done` may also do what somebody else would: it is never broken off.
    ///
    /// `true`: it died at this turn. In one scene several may die so, one after the other.
    pub async fn kill(&mut self, start: impl FnOnce() -> Child, mut done: impl AsyncFnMut(&Child) -> bool) -> bool {
        let before = self.wire.turns();
        let halt = self.wire.halt_at(self.turn, self.side);
        let mut child = start();
        let what = format!("turn {} or the end of the work", self.turn);
        eventually(&what, async || halt.is_reached() || done(&child).await).await;
        let halted = halt.is_reached();
        child.kill_9();
        child.wait().await;
        // A farewell is a turn that nobody answers, so nothing halts there on the way back; and others may still come.
        self.taken |= halted || self.wire.turns() - before >= self.turn;
        self.killed += usize::from(halted);
        self.wire.disarm();
        self.wire.cut();
        halted
    }
}

/// The numbers from 1 on, or one in so many of them, from another one on in each process; `OUTBOX_CRASH_EVERY=1` takes them all.
pub fn strides(every: usize) -> impl Iterator<Item = usize> {
    let every = match std::env::var("OUTBOX_CRASH_EVERY") {
        Ok(told) => told.parse().ok().filter(|told| *told > 0).expect("OUTBOX_CRASH_EVERY is a whole number above 0"),
        Err(_) => every,
    };
    let first = 1 + usize::try_from(std::process::id()).expect("a small number") % every;
    (first..).step_by(every)
}
