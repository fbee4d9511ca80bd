//! The way along redirects.

use super::Unusable;
use crate::address::Address;

/// Where a request stands after some redirects. For callers that ask hop by hop.
#[derive(Debug)]
pub struct Trail {
    here: Address,
    been: Vec<Address>,
    hops_max: usize,
}

impl Trail {
    /// Begins at an address.
    pub fn new(start: Address, hops_max: usize) -> Self {
        Self { here: start, been: Vec::new(), hops_max }
    }

    /// The address to ask now.
    pub fn here(&self) -> &Address {
        &self.here
    }

    /// Goes on to where a redirect leads, unless it was there before or the way is too long.
    pub fn follow(&mut self, to: Address) -> Result<(), Unusable> {
        if to == self.here || self.been.contains(&to) {
            return Err(Unusable::RedirectLoop);
        }
        if self.been.len() == self.hops_max {
            return Err(Unusable::TooManyRedirects);
        }
        self.been.push(std::mem::replace(&mut self.here, to));
        Ok(())
    }
}
