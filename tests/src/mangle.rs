//! Damage: what a careless or hostile sender makes of something that was whole.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::{BoxedStrategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::Chance;

/// What readers trip over, whatever they read.
const TRIPWIRES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n\r\n",
    b"\"",
    b"'",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"<",
    b">",
    b"&",
    b"&#0;",
    b"&amp;",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"%",
    b"%00",
    b"%ff",
    b"..",
    b"/",
    b"//",
    b"@",
    b"#",
    b"?",
    b"null",
    b"true",
    b"-1",
    b"1e400",
    b"9223372036854775808",
    b"18446744073709551616",
    b"NaN",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"\xed\xa0\x80",
    "\u{202e}".as_bytes(),
    "\u{feff}".as_bytes(),
    "١٢".as_bytes(),
    "ﷺ".as_bytes(),
    b"\x1f\x8b",
    b"9999-12-31T23:59:59Z",
    b"-9999-01-01",
];

/// How many times: `OUTBOX_FUZZ_CASES` for each target, else what fits into a few seconds.
pub fn cases(few: u32) -> u32 {
    std::env::var("OUTBOX_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(few)
}

/// What draws cases: from `OUTBOX_FUZZ_SEED`, else from the clock. The seed is printed, so that a failure can be repeated.
pub fn fuzzer(config: Config) -> TestRunner {
    let mut chance = Chance::from_variable("OUTBOX_FUZZ_SEED");
    let mut seed = [0; 32];
    seed.chunks_exact_mut(8).for_each(|eight| eight.copy_from_slice(&chance.below(u64::MAX).to_le_bytes()));
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

/// Cases for what has to be awaited: `OUTBOX_FUZZ_CASES`, else so many.
pub fn drawn<Value: std::fmt::Debug>(few: u32, strategy: &impl Strategy<Value = Value>) -> Vec<Value> {
    let mut fuzzer = fuzzer(Config::default());
    (0..cases(few)).map(|_| strategy.new_tree(&mut fuzzer).expect("nothing is filtered out").current()).collect()
}

/// One of these samples, with bytes flipped, pieces moved, doubled and cut out, and tripwires laid. Sometimes it is whole.
pub fn mangled<Sample: AsRef<[u8]>>(samples: impl IntoIterator<Item = Sample>) -> BoxedStrategy<Vec<u8>> {
    let samples: Vec<Vec<u8>> = samples.into_iter().map(|sample| sample.as_ref().to_vec()).collect();
    let flips = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
    let moves = prop::collection::vec((any::<Index>(), any::<Index>(), 1_usize..60, 0_usize..40), 0..4);
    let wires = prop::collection::vec((any::<Index>(), any::<Index>()), 0..6);
    let cut = prop::option::weighted(0.2, any::<Index>());
    (prop::sample::select(samples), flips, moves, wires, cut)
        .prop_map(|(mut bytes, flips, moves, wires, cut)| {
            if !bytes.is_empty() {
                for (at, with) in flips {
                    let at = at.index(bytes.len());
                    bytes[at] ^= with;
                }
            }
            for (from, to, length, over) in moves {
                let from = from.index(bytes.len() + 1);
                let piece = bytes[from..bytes.len().min(from + length)].to_vec();
                let to = to.index(bytes.len() + 1);
                let end = bytes.len().min(to + over);
                bytes.splice(to..end, piece);
            }
            for (at, wire) in wires {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, wire.get(TRIPWIRES).iter().copied());
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            bytes
        })
        .boxed()
}
