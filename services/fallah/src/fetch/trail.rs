//! The way along redirects.

use super::Unusable;
use crate::address::Address;

/// A redirect that was followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The address that redirected.
    pub from: Address,
    /// By which status.
    pub status: u16,
}

/// Where a request stands after some redirects. For callers that ask hop by hop.
#[derive(Debug)]
pub struct Trail {
    here: Address,
    hops: Vec<Hop>,
    hops_max: usize,
}

impl Trail {
    /// Begins at an address.
    pub fn new(start: Address, hops_max: usize) -> Self {
        Self { here: start, hops: Vec::new(), hops_max }
    }

    /// The address to ask now.
    pub fn here(&self) -> &Address {
        &self.here
    }

    /// Goes on to where a redirect leads, unless it was there before or the way is too long.
    pub fn follow(&mut self, to: Address, status: u16) -> Result<(), Unusable> {
        if to == self.here || self.hops.iter().any(|hop| hop.from == to) {
            return Err(Unusable::RedirectLoop);
        }
        if self.hops.len() == self.hops_max {
            return Err(Unusable::TooManyRedirects);
        }
        let from = std::mem::replace(&mut self.here, to);
        self.hops.push(Hop { from, status });
        Ok(())
    }

    /// The redirects so far.
    pub fn into_hops(self) -> Vec<Hop> {
        self.hops
    }
}
