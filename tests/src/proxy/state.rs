//! What a wire does with the next burst: no I/O here.

use std::time::Duration;

use tokio::sync::watch;

use super::Side;

#[derive(Default)]
pub(super) struct State {
    flow: Flow,
    pub(super) delay: Duration,
    pub(super) turns: usize,
    pub(super) faults: Vec<Fault>,
    /// A connection of an earlier cut is over.
    pub(super) cuts: usize,
    pub(super) closed: bool,
}

#[derive(Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Open,
    Frozen,
    /// Frozen, and a part of a conversation is lost.
    Halted,
}

pub(super) struct Fault {
    pub(super) turn: usize,
    pub(super) side: Side,
    pub(super) only_this_connection: bool,
    pub(super) hit: watch::Sender<bool>,
}

/// Where one connection's conversation is.
#[derive(Default)]
pub(super) struct Talk {
    last: Option<Side>,
    turn: usize,
}

pub(super) enum Verdict {
    Deliver,
    /// The burst is lost, and nothing flows any more.
    Halt,
    /// The burst is lost, and with it its connection.
    Close,
}

impl State {
    pub(super) fn flows(&self) -> bool {
        self.flow == Flow::Open
    }

    pub(super) fn freeze(&mut self) {
        if self.flow == Flow::Open {
            self.flow = Flow::Frozen;
        }
    }

    pub(super) fn thaw(&mut self) {
        match self.flow {
            Flow::Open => {}
            Flow::Frozen => self.flow = Flow::Open,
            Flow::Halted => self.cut(),
        }
    }

    pub(super) fn cut(&mut self) {
        self.cuts += 1;
        self.flow = Flow::Open;
    }

    pub(super) fn close(&mut self) {
        self.cut();
        self.closed = true;
    }

    /// Takes note of a burst and decides its fate.
    pub(super) fn judge(&mut self, talk: &mut Talk, side: Side) -> Verdict {
        if side == Side::Request && talk.last != Some(Side::Request) {
            self.turns += 1;
            talk.turn = self.turns;
        }
        talk.last = Some(side);

        let Some(due) = self.faults.iter().position(|fault| fault.side == side && fault.turn == talk.turn) else {
            return Verdict::Deliver;
        };
        let fault = self.faults.swap_remove(due);
        if !fault.only_this_connection {
            self.flow = Flow::Halted;
        }
        // Nobody may be waiting for it any more.
        let _ = fault.hit.send(true);
        if fault.only_this_connection { Verdict::Close } else { Verdict::Halt }
    }
}
