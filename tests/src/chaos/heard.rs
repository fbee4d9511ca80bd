//! What consumers say of their attempts.

use std::collections::BTreeMap;

use super::history::{Begun, Blamed};

/// A consumer's own words for it.
const TAKES_OVER: &str = "claimed from other consumers";

/// In a round: of each event the highest attempt that has begun, every failure it was blamed for, and how often a group's
/// consumers took over from each other.
#[derive(Debug, Default)]
pub(super) struct Heard {
    highest: BTreeMap<(String, String), u32>,
    pub(super) blamed: Vec<Blamed>,
    pub(super) taken_over: BTreeMap<String, u32>,
}

impl Heard {
    /// Takes in whole lines of a consumer's log. `begin ID attempt N`, `blame ID REASON` and a take-over count, whatever else it says.
    pub(super) fn take_in(&mut self, group: &str, log: &str) {
        for line in log.lines() {
            if line.contains(TAKES_OVER) {
                *self.taken_over.entry(group.to_owned()).or_default() += 1;
                continue;
            }
            let mut words = line.splitn(3, ' ');
            let (Some(word), Some(id), Some(rest)) = (words.next(), words.next(), words.next()) else { continue };
            match (word, rest.strip_prefix("attempt ").and_then(|attempt| attempt.parse::<u32>().ok())) {
                ("begin", Some(attempt)) => {
                    let highest = self.highest.entry((group.to_owned(), id.to_owned())).or_default();
                    *highest = attempt.max(*highest);
                }
                ("blame", _) => {
                    self.blamed.push(Blamed { group: group.to_owned(), id: id.to_owned(), reason: rest.to_owned() });
                }
                _ => {}
            }
        }
    }

    pub(super) fn begun(&self) -> Vec<Begun> {
        let begun = self.highest.iter().map(|((group, id), attempt)| Begun {
            group: group.clone(),
            id: id.clone(),
            attempt: *attempt,
        });
        begun.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_blame_and_take_overs_are_heard_among_other_lines() {
        let mut heard = Heard::default();
        heard.take_in("g", "called x\nbegin a attempt 2\nbegin a attempt 1\neffect a\nbegin b attempt\n");
        heard.take_in("g", "blame a Postgres is away\nINFO keep: claimed from other consumers stream=s\n");
        assert_eq!(heard.begun(), [Begun { group: "g".into(), id: "a".into(), attempt: 2 }]);
        let blamed = Blamed { group: "g".into(), id: "a".into(), reason: "Postgres is away".into() };
        assert_eq!((heard.blamed, heard.taken_over), (vec![blamed], BTreeMap::from([("g".into(), 1)])));
    }
}
