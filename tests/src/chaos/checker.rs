//! The checker. It is given what was seen, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::history::{Begun, Blamed, History, Written};

/// What is wrong, one sentence for each finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Committed, and in some group neither an effect nor a dead letter.
    pub lost: Vec<String>,
    /// More than one effect in a group.
    pub duplicated: Vec<String>,
    /// More than one entry in a stream.
    pub doubled: Vec<String>,
    /// Something of an event that nobody committed.
    pub unexpected: Vec<String>,
    /// An effect before that of an earlier event of its key.
    pub disordered: Vec<String>,
    /// An attempt that was counted, or a burial, for which an outage was to blame and not the event.
    pub spent: Vec<String>,
    /// An end that cannot be: an effect and a dead letter, a bad event that took effect, a letter without a reason.
    pub unaccounted: Vec<String>,
    /// Of the services: readers, archive or search index are not as the site is.
    pub different: Vec<String>,
}

impl Verdict {
    /// Its words, each with what was found.
    pub fn findings(&self) -> [(&'static str, &Vec<String>); 8] {
        [
            ("lost", &self.lost),
            ("duplicated", &self.duplicated),
            ("doubled", &self.doubled),
            ("unexpected", &self.unexpected),
            ("out of order", &self.disordered),
            ("spent", &self.spent),
            ("unaccounted", &self.unaccounted),
            ("different", &self.different),
        ]
    }

    pub fn is_clean(&self) -> bool {
        self.findings().iter().all(|(_, found)| found.is_empty())
    }

    /// Whether it found something of this kind.
    pub fn says(&self, word: &str) -> bool {
        self.findings().iter().any(|(name, found)| *name == word && !found.is_empty())
    }

    /// Takes in what another one found.
    pub fn add(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.duplicated.extend(other.duplicated);
        self.doubled.extend(other.doubled);
        self.unexpected.extend(other.unexpected);
        self.disordered.extend(other.disordered);
        self.spent.extend(other.spent);
        self.unaccounted.extend(other.unaccounted);
        self.different.extend(other.different);
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return write!(f, "clean");
        }
        let found = self.findings();
        let words: Vec<_> = found
            .iter()
            .filter(|(_, all)| !all.is_empty())
            .map(|(name, all)| format!("{} {name}", all.len()))
            .collect();
        write!(f, "{}", words.join(", "))
    }
}

/// The events of earlier rounds, each with the number under which it stood in its stream, if it was seen there.
pub type Earlier = BTreeMap<String, Option<String>>;

/// Says what became of each event. Whatever happens to one of an earlier round, which was over, is once too often, but for
/// an entry that a Redis lost and was sent again: under its number.
pub fn judge(history: &History, earlier: &Earlier) -> Verdict {
    let mut verdict = Verdict::default();
    let committed: BTreeMap<&str, &Written> = history.committed.iter().map(|event| (&*event.id, event)).collect();
    for group in &history.groups {
        of_group(group, history, earlier, &committed, &mut verdict);
    }
    entries(history, earlier, &committed, &mut verdict);
    attempts(history, &committed, &mut verdict);
    let relays = history.buried.iter().filter(|letter| letter.group.is_empty());
    verdict.spent.extend(relays.map(|letter| format!("{} was set aside by the relay: {}", letter.id, letter.reason)));
    verdict.spent.extend(history.attempted.iter().map(|id| format!("an attempt to publish {id} was counted")));
    verdict
}

fn of_group(
    group: &str,
    history: &History,
    earlier: &Earlier,
    committed: &BTreeMap<&str, &Written>,
    verdict: &mut Verdict,
) {
    let effects = history.effects.iter().filter(|effect| effect.group == group);
    let effects: Vec<&str> = effects.map(|effect| &*effect.id).collect();
    let letters: Vec<_> = history.buried.iter().filter(|letter| letter.group == group).collect();

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for id in &effects {
        *counts.entry(id).or_default() += 1;
    }
    for (id, count) in &counts {
        if earlier.contains_key(*id) {
            verdict.duplicated.push(format!("{id} took effect in {group} again, in a later round"));
        } else if !committed.contains_key(id) {
            verdict.unexpected.push(format!("{id} took effect in {group}, and nobody committed it"));
        } else if *count > 1 {
            verdict.duplicated.push(format!("{id} took effect in {group} {count} times"));
        }
    }
    disorder(group, &effects, committed, verdict);

    let mut buried = BTreeSet::new();
    for letter in letters {
        let (id, again) = (&letter.id, !buried.insert(&*letter.id));
        match committed.get(&**id) {
            None if earlier.contains_key(id) || again => {}
            None => verdict
                .unexpected
                .push(format!("{id} lies among the dead letters of {group}, and nobody committed it")),
            Some(_) if letter.reason.trim().is_empty() => {
                verdict.unaccounted.push(format!("{id} lies among the dead letters of {group} without a reason"));
            }
            Some(event) if !event.bad => {
                verdict.spent.push(format!("{id} was good and was buried by {group}: {}", letter.reason));
            }
            Some(_) => {}
        }
    }
    for event in committed.values() {
        match (counts.contains_key(&*event.id), buried.contains(&*event.id)) {
            (false, false) => verdict
                .lost
                .push(format!("{} of {} (key {}) never came to {group}", event.id, event.stream, event.key)),
            (true, true) => {
                verdict.unaccounted.push(format!("{} took effect in {group} and was buried, too", event.id))
            }
            (true, false) if event.bad => {
                verdict.unaccounted.push(format!("{} was bad and took effect in {group}", event.id))
            }
            _ => {}
        }
    }
}

/// An outage costs no attempt. What may: a failure of the event's own, and that another consumer took it over.
fn attempts(history: &History, committed: &BTreeMap<&str, &Written>, verdict: &mut Verdict) {
    for Begun { group, id, attempt } in &history.begun {
        let Some(event) = committed.get(&**id) else { continue };
        let taken_over = history.taken_over.get(group).copied().unwrap_or_default();
        if *attempt > 1 + event.fails + taken_over {
            verdict.spent.push(format!(
                "{id} was begun in {group} as attempt {attempt}: it was to fail {} times, and consumers took over {taken_over} times",
                event.fails
            ));
        }
    }
    let blamed = history.blamed.iter().filter(|blamed| committed.contains_key(&*blamed.id));
    verdict.spent.extend(blamed.map(|Blamed { group, id, reason }| format!("{id} was blamed in {group}: {reason}")));
}

/// Only first effects are compared: a second one is a duplicate, and said to be.
fn disorder(group: &str, effects: &[&str], committed: &BTreeMap<&str, &Written>, verdict: &mut Verdict) {
    let (mut newest, mut seen) = (BTreeMap::<&str, &Written>::new(), BTreeSet::new());
    for id in effects {
        let Some(event) = committed.get(id).filter(|event| !event.slow) else { continue };
        if !seen.insert(*id) {
            continue;
        }
        match newest.get(&*event.key) {
            Some(before) if before.nth > event.nth => {
                verdict.disordered.push(format!("{id} took effect in {group} after {}, of the same key", before.id));
            }
            _ => {
                newest.insert(&event.key, event);
            }
        }
    }
}

fn entries(history: &History, earlier: &Earlier, committed: &BTreeMap<&str, &Written>, verdict: &mut Verdict) {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for entry in &history.entries {
        if let Some(before) = seen.insert((&entry.stream, &entry.id), &entry.number) {
            verdict.doubled.push(format!("{} is in {} as {before} and as {}", entry.id, entry.stream, entry.number));
        }
        if let Some(before) = earlier.get(&entry.id) {
            if let Some(number) = before.as_ref().filter(|number| **number != entry.number) {
                verdict
                    .doubled
                    .push(format!("{} was {number} in {} and is {}, too", entry.id, entry.stream, entry.number));
            }
            continue;
        }
        if !committed.contains_key(&*entry.id) {
            verdict.unexpected.push(format!("{} is in {}, and nobody committed it", entry.id, entry.stream));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::{Buried, Effect, Entry};
    use super::*;

    fn event(id: &str, nth: u64) -> Written {
        Written {
            id: id.into(),
            stream: "s".into(),
            key: "k".into(),
            nth,
            bad: id.starts_with("bad"),
            fails: 0,
            slow: false,
        }
    }

    fn effect(id: &str) -> Effect {
        Effect { group: "g".into(), id: id.into() }
    }

    fn letter(id: &str, reason: &str) -> Buried {
        Buried { group: "g".into(), id: id.into(), reason: reason.into() }
    }

    fn entry(id: &str, number: &str) -> Entry {
        Entry { stream: "s".into(), number: number.into(), id: id.into() }
    }

    /// Three events, one of them bad, and all as it should be.
    fn good() -> History {
        History {
            groups: vec!["g".into()],
            committed: vec![event("a", 1), event("bad", 2), event("c", 3)],
            effects: vec![effect("a"), effect("c")],
            buried: vec![letter("bad", "rejected")],
            entries: vec![entry("a", "1-1"), entry("bad", "1-2"), entry("c", "1-3")],
            ..History::default()
        }
    }

    /// The words that are said of a history after a change; the round before had an event `before`.
    fn said(change: impl FnOnce(&mut History)) -> Vec<&'static str> {
        let mut history = good();
        change(&mut history);
        judge(&history, &Earlier::from([("before".to_owned(), Some("1-0".to_owned()))]))
            .findings()
            .into_iter()
            .filter(|(_, found)| !found.is_empty())
            .map(|(word, _)| word)
            .collect()
    }

    #[test]
    fn a_good_history_is_clean() {
        assert_eq!(said(|_| {}), Vec::<&str>::new());
        // What was trimmed since is not lost.
        assert_eq!(said(|history| history.entries.clear()), Vec::<&str>::new());
        // Redis lost the entries, and brought the old ones back under their numbers.
        let again = |history: &mut History| {
            history.entries.push(entry("before", "1-0"));
            history.buried.push(letter("before", "rejected"));
        };
        assert_eq!(said(again), Vec::<&str>::new());
    }

    #[test]
    fn each_wrong_is_called_by_its_name() {
        assert_eq!(said(|history| drop(history.effects.pop())), ["lost"]);
        assert_eq!(said(|history| history.buried.clear()), ["lost"]);
        assert_eq!(said(|history| history.effects.push(effect("a"))), ["duplicated"]);
        assert_eq!(said(|history| history.entries.push(entry("a", "1-9"))), ["doubled"]);
        assert_eq!(said(|history| history.effects.push(effect("x"))), ["unexpected"]);
        assert_eq!(said(|history| history.entries.push(entry("before", "1-9"))), ["doubled"]);
        assert_eq!(said(|history| history.entries.push(entry("x", "1-9"))), ["unexpected"]);
        assert_eq!(said(|history| history.buried.push(letter("x", "rejected"))), ["unexpected"]);
        assert_eq!(said(|history| history.effects.reverse()), ["out of order"]);
        assert_eq!(said(|history| history.attempted.push("a".into())), ["spent"]);
        assert_eq!(said(|history| history.buried[0].reason.clear()), ["unaccounted"]);
        assert_eq!(said(|history| history.effects.insert(1, effect("bad"))), ["unaccounted"]);
        let relay = Buried { group: String::new(), ..letter("a", "refused") };
        assert_eq!(said(|history| history.buried.push(relay)), ["spent"]);
        let buried_though_good = |history: &mut History| {
            history.effects.pop();
            history.buried.push(letter("c", "too many attempts"));
        };
        assert_eq!(said(buried_though_good), ["spent"]);
        assert_eq!(said(|history| history.effects.push(effect("before"))), ["duplicated"]);
    }

    #[test]
    fn an_attempt_counts_for_the_events_own_failures_and_for_those_who_fell_silent() {
        let begun = |attempt| {
            move |history: &mut History| {
                history.begun.push(Begun { group: "g".into(), id: "a".into(), attempt });
            }
        };
        let blamed = |history: &mut History| {
            history.blamed.push(Blamed { group: "g".into(), id: "a".into(), reason: "Postgres is away".into() });
        };
        assert_eq!(said(begun(1)), Vec::<&str>::new());
        assert_eq!(said(begun(2)), ["spent"]);
        assert_eq!(said(blamed), ["spent"]);
        let of_its_own = |attempt| {
            move |history: &mut History| {
                history.committed[0].fails = 1;
                begun(attempt)(history);
            }
        };
        assert_eq!(said(of_its_own(2)), Vec::<&str>::new());
        assert_eq!(said(of_its_own(3)), ["spent"]);
        let taken_over = |group: &'static str| {
            move |history: &mut History| {
                history.taken_over.insert(group.into(), 1);
                begun(2)(history);
            }
        };
        assert_eq!(said(taken_over("g")), Vec::<&str>::new());
        assert_eq!(said(taken_over("another")), ["spent"]);
    }

    #[test]
    fn what_was_overtaken_may_come_later() {
        let overtaken = |history: &mut History| {
            history.committed[0].slow = true;
            history.effects.reverse();
        };
        assert_eq!(said(overtaken), Vec::<&str>::new());
    }

    #[test]
    fn each_group_is_judged_by_itself() {
        assert_eq!(said(|history| history.groups.push("h".into())), ["lost"]);
    }
}
