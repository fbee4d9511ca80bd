//! Times as pages write them: in ISO form, in words of many languages, in addresses.

mod months;
mod numbers;
mod tokens;
mod words;

pub(super) mod zone;

use std::fmt;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

pub use zone::Zone;

/// The web has no news from before this year.
const YEAR_MIN: i16 = 1995;
/// How far ahead of now a page may date itself: zones and embargoes, not prophecies.
const AHEAD_HOURS_MAX: i64 = 48;

/// A time as precise as the page gives it, and the day that the page shows its readers.
///
/// Shown as RFC 3339 when the offset is known or assumed, else as a local date and time, else as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    date: Date,
    time: Option<Time>,
    offset: Option<Offset>,
    day: Date,
}

impl Moment {
    pub(super) fn new(date: Date, time: Option<Time>, offset: Option<Offset>) -> Self {
        Moment { date, time, offset: time.and(offset), day: date }
    }

    /// The day as readers see it on the page, which is not always the day in UTC.
    pub fn day(&self) -> Date {
        self.day
    }

    /// The instant, when the page says enough to know it.
    pub fn instant(&self) -> Option<Timestamp> {
        let local = DateTime::from_parts(self.date, self.time?);
        self.offset?.to_timestamp(local).ok()
    }

    pub(super) fn has_time(&self) -> bool {
        self.time.is_some()
    }

    pub(super) fn is_utc(&self) -> bool {
        self.offset == Some(Offset::UTC)
    }

    /// How many days later `day` is than the day of this.
    pub(super) fn days_to(&self, day: Date) -> i32 {
        self.day.until(day).map_or(i32::MAX, |span| span.get_days())
    }

    /// The offset in which this is written: its own, or the one by which it is the time that `known` is.
    pub(super) fn offset_by(&self, known: &Moment) -> Option<Offset> {
        /// Zones are quarters of an hour apart, and clocks on pages have no seconds.
        const QUARTER: i64 = 15 * 60;
        if self.offset.is_some() {
            return self.offset.filter(|o| *o != Offset::UTC);
        }
        let local = Offset::UTC.to_timestamp(DateTime::from_parts(self.date, self.time?)).ok()?;
        let apart = local.as_second() - known.instant()?.as_second();
        let offset = (apart + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
        let fits = (apart - offset).abs() <= 60 && offset.abs() <= 14 * 3600;
        fits.then(|| Offset::from_seconds(offset as i32).ok()).flatten()
    }

    /// The day at such an offset.
    pub(super) fn day_at(&self, offset: Offset) -> Option<Date> {
        Some(offset.to_datetime(self.instant()?).date())
    }

    /// Whether it is `day` somewhere at this time: west of Greenwich it is still yesterday for half a day, east of it
    /// already tomorrow. A time whose offset nobody says, or a day alone, is what it says it is.
    pub(super) fn may_fall_on(&self, day: Date) -> bool {
        let Some(instant) = self.instant() else { return self.day == day };
        let utc = Offset::UTC.to_datetime(instant);
        match utc.date().until(day).map_or(9, |span| span.get_days()) {
            -1 => utc.hour() < 12,
            0 => true,
            1 => utc.hour() >= 10,
            _ => false,
        }
    }

    pub(super) fn shown_on(self, day: Date) -> Self {
        Moment { day, ..self }
    }

    /// The same with the offset that holds in `zone` at that time, where the page names none.
    pub(super) fn assume(self, zone: Option<&Zone>) -> Self {
        match (self.offset, self.time, zone) {
            (None, Some(time), Some(zone)) => {
                Moment { offset: zone.offset_at(DateTime::from_parts(self.date, time)), ..self }
            }
            _ => self,
        }
    }

    fn believable(&self, now: Timestamp) -> bool {
        let latest = now + SignedDuration::from_hours(AHEAD_HOURS_MAX);
        let ahead = match self.instant() {
            Some(instant) => instant > latest,
            None => self.date > Offset::UTC.to_datetime(latest).date(),
        };
        self.date.year() >= YEAR_MIN && !ahead
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(time) = self.time else { return write!(f, "{}", self.date) };
        let (h, m, s) = (time.hour(), time.minute(), time.second());
        write!(f, "{}T{h:02}:{m:02}:{s:02}", self.date)?;
        match self.offset {
            None => Ok(()),
            Some(Offset::UTC) => f.write_str("Z"),
            Some(offset) => {
                let minutes = offset.seconds() / 60;
                let sign = if minutes < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
        }
    }
}

impl serde::Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is needed to read a date: the present, and what `03/04` means here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    pub(super) now: Timestamp,
    pub(super) month_first: bool,
}

impl Reader {
    /// A date anywhere in a short text, in ISO form or in words.
    pub(super) fn read(&self, text: &str) -> Option<Moment> {
        /// No date needs more; longer texts are prose.
        const TEXT_BYTES_MAX: usize = 300;
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let tokens = tokens::tokens(text);
        numbers::stamp(text)
            .or_else(|| numbers::iso(&tokens))
            .or_else(|| words::find(&tokens))
            .or_else(|| numbers::slashed(&tokens, self.month_first))
            .filter(|m| m.believable(self.now))
    }

    /// A date in the path of an address.
    pub(super) fn read_url(&self, url: &str) -> Option<Moment> {
        numbers::in_url(url).filter(|m| m.believable(self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        let now = "2026-01-15T12:00:00Z".parse().expect("a time");
        Reader { now, month_first: true }.read(text).map(|m| m.to_string())
    }

    /// Dates as pages have them, to be taken apart and put together wrongly.
    const SHARDS: [&str; 30] = [
        "2023-12-17",
        "T19:18:40",
        ".000",
        "+0300",
        "-05:00",
        "Z",
        "20231222",
        "22/12/2023",
        "12.22.23",
        "1702840720",
        "14 March 2024",
        "March 14, 2024",
        "Thu,",
        "11:59 pm",
        "23:30",
        "GMT+3",
        "EST",
        "١ مايو ٢٠٢٤",
        "الجمعة",
        "مساءً",
        "1445",
        "Updated:",
        "yesterday",
        "0000-00-00",
        "99:99",
        "-",
        "/",
        ":",
        "\u{200f}",
        "99999999999999999999",
    ];

    proptest::proptest! {
        #[test]
        fn any_text_is_a_date_or_none(
            shards in proptest::collection::vec(proptest::sample::select(SHARDS.to_vec()), 0..8),
            text in "[0-9TZ:+./ -]{0,40}|\\PC{0,60}",
            month_first: bool,
        ) {
            let now = "2026-01-15T12:00:00Z".parse().expect("a time");
            let reader = Reader { now, month_first };
            for text in [shards.concat(), shards.join(" "), text.clone() + &shards.concat(), text] {
                if let Some(found) = reader.read(&text) {
                    // What was read is a date that can be told, and is read as itself.
                    proptest::prop_assert_eq!(reader.read(&found.to_string()), Some(found), "{}", text);
                }
                let _ = reader.read_url(&format!("https://daily.example/{text}/a"));
            }
        }
    }

    #[test]
    fn iso_dates_of_all_kinds_are_read() {
        for (text, want) in [
            ("2023-12-17T19:18:40Z", "2023-12-17T19:18:40Z"),
            ("2023-12-17T19:18:40.000+0300", "2023-12-17T19:18:40+03:00"),
            ("2020-06-03T03:01+0400", "2020-06-03T03:01:00+04:00"),
            ("2023-12-20 08:58:34 -0500", "2023-12-20T08:58:34-05:00"),
            ("2023-12-22 12:24:14", "2023-12-22T12:24:14"),
            ("20231222T122414Z", "2023-12-22T12:24:14Z"),
            ("2023-12-22", "2023-12-22"),
            ("2023/12/22", "2023-12-22"),
            ("1703248242", "2023-12-22T12:30:42Z"),
            ("1703248242000", "2023-12-22T12:30:42Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn dates_in_words_are_read() {
        for (text, want) in [
            ("Published: December 20, 2023", "2023-12-20"),
            ("Fri, 22 Dec 2023 20:30:42 +0000", "2023-12-22T20:30:42Z"),
            ("Dec. 3rd, 2023 at 9:05 p.m. EST", "2023-12-03T21:05:00-05:00"),
            ("12/21/2023 4:30:26 PM", "2023-12-21T16:30:26"),
            ("Sun Dec 31 2023 03:00:00 GMT+0200", "2023-12-31T03:00:00+02:00"),
            ("le 7 février 2024 à 18h05", "2024-02-07T18:05:00"),
            ("7. März 2024, 18:05 Uhr", "2024-03-07T18:05:00"),
            ("5 de mayo de 2024", "2024-05-05"),
            ("2024年3月7日 18:05", "2024-03-07T18:05:00"),
            ("5 мая 2024, 10:00", "2024-05-05T10:00:00"),
        ] {
            assert_eq!(read(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn arabic_dates_are_read_with_the_names_of_every_region() {
        for (text, want) in [
            ("الأربعاء، 07 أكتوبر 2020 - 12:09 م", "2020-10-07T12:09:00"),
            ("نشر في: ٢٤ يناير ٢٠٢٤ الساعة ٩:١٥ صباحًا", "2024-01-24T09:15:00"),
            ("24 نيسان / أبريل 2024", "2024-04-24"),
            ("24 نيسان/أبريل 2024", "2024-04-24"),
            ("3 كانون الثاني 2024", "2024-01-03"),
            ("الثلاثاء 12 كانون الأول/ديسمبر 2023 الساعة 11:30 مساءً", "2023-12-12T23:30:00"),
            ("15 جويلية 2023", "2023-07-15"),
            ("1 أوت 2023", "2023-08-01"),
            ("8 تشرين الثاني 2023 | 10:00 بتوقيت غرينتش", "2023-11-08T10:00:00Z"),
            ("12 ربيع الأول 1445 هـ - 27 سبتمبر 2023 م", "2023-09-27"),
            ("25 دجنبر 2023", "2023-12-25"),
        ] {
            assert_eq!(read(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn the_far_future_and_the_time_before_the_web_are_refused() {
        assert_eq!(read("2026-01-18"), None);
        assert_eq!(read("2026-01-16T10:00:00Z").as_deref(), Some("2026-01-16T10:00:00Z"));
        assert_eq!(read("1970-01-01T00:00:00Z"), None);
        assert_eq!(read("0"), None);
        assert_eq!(read("a text of 20 words and 12 numbers"), None);
    }

    #[test]
    fn what_a_slash_means_is_asked_only_where_it_is_unclear() {
        let now = "2026-01-15T12:00:00Z".parse().expect("a time");
        let day_first = Reader { now, month_first: false };
        assert_eq!(day_first.read("03/04/2023").map(|m| m.to_string()).as_deref(), Some("2023-04-03"));
        assert_eq!(read("03/04/2023").as_deref(), Some("2023-03-04"));
        assert_eq!(read("23/04/2023").as_deref(), Some("2023-04-23"));
        assert_eq!(read("23.04.2023 10:11").as_deref(), Some("2023-04-23T10:11:00"));
        assert_eq!(read("Wednesday, 01/05/2024").as_deref(), Some("2024-05-01"));
        let drupal = day_first.read("أربعاء, 05/01/2024 - 10:30").map(|m| m.to_string());
        assert_eq!(drupal.as_deref(), Some("2024-05-01T10:30:00"));
        assert_eq!(day_first.read("الاثنين 05/01/2024").map(|m| m.to_string()).as_deref(), Some("2024-01-05"));
    }

    #[test]
    fn addresses_name_their_day() {
        let reader = Reader { now: "2026-01-15T12:00:00Z".parse().expect("a time"), month_first: true };
        for (url, want) in [
            ("https://n.test/2023/12/21/title", Some("2023-12-21")),
            ("https://n.test/news/2023-12-21-title", Some("2023-12-21")),
            ("https://n.test/news/2023/dec/21/title", Some("2023-12-21")),
            ("https://n.test/20231221/title.html", Some("2023-12-21")),
            ("https://n.test/a/123456789/2023", None),
        ] {
            assert_eq!(reader.read_url(url).map(|m| m.to_string()).as_deref(), want, "{url}");
        }
    }
}
