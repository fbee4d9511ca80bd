//! Chance that can be repeated: a test prints its seed, and the same seed makes the same choices.

/// SplitMix64: eight lines, and good enough to choose who dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chance(u64);

impl Chance {
    /// From `OUTBOX_TEST_SEED`, else from the clock. Printed, so that a failure can be repeated.
    pub fn from_environment() -> Self {
        Self::from_variable("OUTBOX_TEST_SEED")
    }

    /// The same from another variable.
    pub(crate) fn from_variable(name: &str) -> Self {
        let from_clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |elapsed| elapsed.as_micros() as u64);
        let seed = std::env::var(name).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(from_clock);
        println!("{name}={seed}");
        Self(seed)
    }

    /// The same choices every time.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Another source that goes its own way, for another task.
    pub fn branch(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Puts things into any order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for upto in (1..things.len()).rev() {
            things.swap(upto, self.below(upto as u64 + 1) as usize);
        }
    }
}
