//! The dates that readers see on a page, and what the words beside them say they are the dates of.

mod label;

use super::date::{Moment, Reader};
use super::hints;
use super::html::Tree;
use label::{dated, follows_change, is_named_change, says_published};

/// Elements that look like a date and are read.
const LOOKED_MAX: usize = 500;
/// Dates that are kept of them.
const SHOWN_MAX: usize = 40;
/// Longer texts are no date.
pub(super) const SHOWN_CHARS_MAX: usize = 120;
/// An element with more nodes is not a date but holds one.
const SHOWN_NODES_MAX: usize = 40;
/// What stands at most so many nodes behind the title stands beside it.
const BESIDE_NODES_MAX: usize = 80;
/// The date above a title stands close to it.
const ABOVE_NODES_MAX: usize = 25;
/// An old page that only tells its last change, so many days after it came out, was put out anew.
const ANEW_DAYS_MIN: i32 = 60;

/// A date on the page.
struct Shown {
    moment: Moment,
    at: usize,
    /// Whether its day is there to be read, and not in an attribute alone.
    written: bool,
    /// Whether it is said to be the day of a change.
    changed: bool,
    points: i32,
}

/// The dates that readers see.
pub(super) struct Seen<'a> {
    tree: &'a Tree,
    reader: Reader,
    /// Where the title stands.
    title: usize,
    /// Those marked as publication and those right behind the title first.
    shown: Vec<Shown>,
}

impl<'a> Seen<'a> {
    /// Looks for all elements whose name or class is a date's.
    pub(super) fn read(tree: &'a Tree, title: usize, reader: Reader) -> Self {
        let mut shown: Vec<Shown> = Vec::new();
        let (mut looked, mut skip_to) = (0, 0);
        for at in tree.elements() {
            if looked >= LOOKED_MAX || shown.len() >= SHOWN_MAX {
                break;
            }
            if at < skip_to {
                continue;
            }
            let marked = marks(tree, at);
            if tree.name(at) != "time" && marked == 0 || tree.end(at) - at > SHOWN_NODES_MAX {
                continue;
            }
            looked += 1;
            if hints::is_elsewhere_from(tree, at, title) || times_below(tree, at) > 1 {
                continue;
            }
            if let Some(found) = one(tree, title, &reader, at, marked) {
                skip_to = tree.end(at);
                shown.push(found);
            }
        }
        shown.sort_by_key(|s| -s.points);
        Seen { tree, reader, title, shown }
    }

    /// The best of them.
    pub(super) fn first(&self) -> Option<Moment> {
        self.shown.first().map(|s| s.moment)
    }

    /// A short text behind the title that is a date, on pages whose markup says nothing.
    pub(super) fn in_line(&self) -> Option<Moment> {
        const NODES_MAX: usize = 250;
        const CHARS_MAX: usize = 70;
        self.lines(NODES_MAX, CHARS_MAX).next().map(|(moment, _)| moment)
    }

    /// The moment that the page's data tell, set right by what its readers are told beside the title. Newsrooms write
    /// one of both anew when they change a text, and readers rely on the other. A change shown in the page's own zone tells
    /// in which zone its readers count days.
    pub(super) fn told(&self, moment: Moment, modified: Option<Moment>, address: Option<Moment>) -> Moment {
        let beside = || self.shown.iter().filter(|s| s.written && self.is_beside(s.at));
        let moment = self.precise(moment);
        if beside().any(|s| !s.changed && s.moment.day() == moment.day()) {
            return moment;
        }
        if let Some(told) = beside().find(|s| !s.changed) {
            let day = told.moment.day();
            return if moment.may_fall_on(day) { moment.shown_on(day) } else { told.moment };
        }
        let Some(change) = beside().next().map(|s| s.moment) else {
            let line = self.line_beside().filter(|day| *day != moment.day() && moment.may_fall_on(*day));
            return line.map_or_else(|| self.same_day(moment, address), |day| moment.shown_on(day));
        };
        if moment.days_to(change.day()) >= ANEW_DAYS_MIN {
            return moment.shown_on(change.day());
        }
        let in_its_zone = modified.and_then(|m| change.offset_by(&m)).and_then(|offset| moment.day_at(offset));
        let before = Some(change.day()).filter(|day| moment.days_to(*day) < 0 && moment.may_fall_on(*day));
        match in_its_zone.or(before).filter(|_| moment.is_utc()) {
            Some(day) => moment.shown_on(day),
            None => self.same_day(moment, address),
        }
    }

    /// A time in UTC may fall on another day than the one the page shows; then the page's day is the day.
    pub(super) fn same_day(&self, moment: Moment, address: Option<Moment>) -> Moment {
        let moment = self.precise(moment);
        // What was changed the day before had come out by then; what was changed the day after says nothing.
        let of_it = |s: &&Shown| !s.changed || s.moment.day() < moment.day();
        let days = |count| self.shown.iter().filter(of_it).take(count).map(|s| s.moment).chain(address);
        if !moment.is_utc() || days(3).any(|s| s.day() == moment.day()) {
            return moment;
        }
        match days(1).find(|s| moment.may_fall_on(s.day())) {
            Some(other) => moment.shown_on(other.day()),
            None => moment,
        }
    }

    /// Where one source knows only the day, another that shows the same day may know the time.
    fn precise(&self, moment: Moment) -> Moment {
        if moment.has_time() {
            return moment;
        }
        let same = |s: &&Shown| !s.changed && s.moment.has_time() && s.moment.day() == moment.day();
        self.shown.iter().find(same).map_or(moment, |s| s.moment)
    }

    fn is_beside(&self, at: usize) -> bool {
        at > self.title && at - self.title <= BESIDE_NODES_MAX
    }

    /// The day of a line beside the title that is little more than a date.
    fn line_beside(&self) -> Option<jiff::civil::Date> {
        const CHARS_MAX: usize = 40;
        let of_article = |at: usize| !self.tree.ancestors(at).take(3).any(|n| matches!(self.tree.name(n), "a" | "p"));
        let mut lines = self.lines(BESIDE_NODES_MAX / 2, CHARS_MAX).filter(|(_, at)| of_article(*at));
        lines.next().map(|(moment, _)| moment.day())
    }

    /// Short texts behind the title that hold a date which is not that of a change.
    fn lines(&self, nodes_max: usize, chars_max: usize) -> impl Iterator<Item = (Moment, usize)> {
        let tree = self.tree;
        let near = self.title..tree.len().min(self.title + nodes_max);
        let texts = near.filter_map(move |n| Some((n, tree.own_text(n)?.trim())));
        texts.filter_map(move |(n, text)| {
            let digits = text.chars().filter(|c| c.is_numeric()).count();
            if digits < 5 || text.chars().count() > chars_max || hints::is_elsewhere_from(tree, n, self.title) {
                return None;
            }
            let (moment, changed) = dated(&self.reader, text)?;
            (!changed && !follows_change(tree, self.title, &self.reader, n)).then_some((moment, n))
        })
    }
}

/// The date of an element.
fn one(tree: &Tree, title: usize, reader: &Reader, at: usize, marked: i32) -> Option<Shown> {
    let text = tree.text(at);
    if text.chars().count() > SHOWN_CHARS_MAX {
        return None;
    }
    let told = dated(reader, &text);
    let written = told.map(|(moment, _)| moment);
    // What readers see is the day; the attribute may be in another zone, and knows the time.
    let stamps = ["datetime", "content", "data-datetime", "data-timestamp", "data-date", "title"];
    let own = stamps.iter().find_map(|k| reader.read(tree.attr(at, k)?));
    let stamped = own.or_else(|| tree.subtree(at).find_map(|n| reader.read(tree.attr(n, "datetime")?)));
    let moment = match (stamped, written) {
        (Some(stamp), Some(seen)) if stamp.days_to(seen.day()).abs() <= 1 => stamp.shown_on(seen.day()),
        (_, Some(seen)) => seen,
        (stamp, None) => stamp?,
    };
    let changed = told.is_some_and(|(_, changed)| changed)
        || is_named_change(tree, at)
        || !says_published(&text) && follows_change(tree, title, reader, at);
    let mut points = marked * 2 + if tree.name(at) == "time" { 3 } else { 0 };
    points -= if changed { 4 } else { 0 };
    // Above stands today's date, further down stand other articles' dates.
    points += match at.abs_diff(title) {
        far if at < title && far > ABOVE_NODES_MAX => -3,
        0..=BESIDE_NODES_MAX => 2,
        far => -((far / 150).min(8) as i32) + 2,
    };
    Some(Shown { moment, at, written: written.is_some(), changed, points })
}

fn times_below(tree: &Tree, at: usize) -> usize {
    (at + 1..tree.end(at)).filter(|&n| tree.name(n) == "time").take(2).count()
}

fn marks(tree: &Tree, at: usize) -> i32 {
    if matches!(tree.name(at), "body" | "html" | "article" | "main" | "a" | "img" | "meta" | "link") {
        return 0;
    }
    let mut points = 0;
    for key in ["class", "id", "data-testid", "data-component", "itemprop"] {
        let Some(value) = tree.attr(at, key) else { continue };
        let value = value.to_ascii_lowercase();
        if [
            "publish",
            "pubdate",
            "entry-date",
            "post-date",
            "posted",
            "article-date",
            "story-date",
            "article__date",
            "dateline",
            "post-time",
            "article-time",
        ]
        .iter()
        .any(|p| value.contains(p))
        {
            points = points.max(2);
        } else if value.contains("date") && !value.contains("update")
            || value.contains("timestamp")
            || value.split(|c: char| !c.is_alphanumeric()).any(|w| w == "time")
        {
            points = points.max(1);
        }
    }
    points
}
