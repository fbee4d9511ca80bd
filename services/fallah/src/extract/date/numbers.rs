//! Dates of numbers alone: ISO 8601, seconds since 1970, `12/21/2023`, and dates in addresses.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use super::Moment;
use super::months::{month, weekday};
use super::tokens::Token;
use super::words;

/// Seconds or milliseconds since 1970, when the text is nothing else.
pub(super) fn stamp(text: &str) -> Option<Moment> {
    let text = text.trim();
    if !text.bytes().all(|b| b.is_ascii_digit()) || !matches!(text.len(), 10 | 13) {
        return None;
    }
    let value: i64 = text.parse().ok()?;
    let seconds = if text.len() == 13 { value / 1000 } else { value };
    let local = Offset::UTC.to_datetime(Timestamp::from_second(seconds).ok()?);
    Some(Moment::new(local.date(), Some(local.time()), Some(Offset::UTC)))
}

/// `2023-12-21`, `2023/12/21`, `20231221`, with or without a time and an offset behind.
pub(super) fn iso(tokens: &[Token]) -> Option<Moment> {
    (0..tokens.len()).find_map(|at| {
        if let (8, value) = digits(tokens, at)? {
            let date = date(value / 10_000, value / 100 % 100, value % 100)?;
            return Some(compact_time(tokens, at, date));
        }
        let (4, year) = digits(tokens, at)? else { return None };
        let (date, end) = ymd(tokens, at, year)?;
        // `T` joins the digits of neither side, since letters and digits are tokens of their own.
        let mut clock = end + 1;
        while tokens
            .get(clock)
            .is_some_and(|t| matches!(t.word(), Some("t")) || t.is(' ') || t.is(',') || t.is('-') || t.is('|'))
        {
            clock += 1;
        }
        Some(match words::clock(tokens, clock) {
            Some((time, end)) => Moment::new(date, Some(time), words::offset(tokens, end)),
            None => {
                let (time, offset) = words::time(tokens, at, end);
                Moment::new(date, time, offset)
            }
        })
    })
}

fn ymd(tokens: &[Token], at: usize, year: u64) -> Option<(Date, usize)> {
    let separator = tokens.get(at + 1)?;
    if !matches!(separator, Token::Sign('-' | '/' | '.')) {
        return None;
    }
    // `2023 / 12 / 21` and `2023年 3月` have blanks between.
    let mut places = [0_u64; 2];
    let mut look = at + 1;
    for place in &mut places {
        if tokens.get(look) != Some(separator) {
            return None;
        }
        look += 1;
        look += usize::from(tokens.get(look).is_some_and(|t| t.is(' ')));
        let (value, digits) = tokens.get(look)?.number()?;
        if digits > 2 {
            return None;
        }
        *place = value;
        look += 1;
    }
    Some((date(year, places[0], places[1])?, look - 1))
}

fn compact_time(tokens: &[Token], at: usize, date: Date) -> Moment {
    let behind = tokens.get(at + 1).and_then(Token::word) == Some("t");
    let time = behind.then(|| digits(tokens, at + 2)).flatten().and_then(|(count, v)| {
        let (h, m, s) = match count {
            6 => (v / 10_000, v / 100 % 100, v % 100),
            4 => (v / 100, v % 100, 0),
            _ => return None,
        };
        jiff::civil::Time::new(h as i8, m.min(99) as i8, s as i8, 0).ok()
    });
    Moment::new(date, time, words::offset(tokens, at + 2))
}

/// `12/21/2023`, `21.12.2023`, `21-12-2023`.
pub(super) fn slashed(tokens: &[Token], month_first: bool) -> Option<Moment> {
    (0..tokens.len()).find_map(|at| {
        let (a, 1..=2) = tokens[at].number()? else { return None };
        let separator = tokens.get(at + 1).filter(|t| matches!(t, Token::Sign('/' | '.' | '-')))?;
        let (b, 1..=2) = tokens.get(at + 2)?.number()? else { return None };
        let (year, 4) = tokens.get(at + 4).filter(|_| tokens[at + 3] == *separator)?.number()? else { return None };
        let month_first = if separator.is('.') { false } else { month_first };
        let (one, other) = if month_first { ((a, b), (b, a)) } else { ((b, a), (a, b)) };
        let (month, day) = match (a > 12, b > 12) {
            (true, _) => (b, a),
            (_, true) => (a, b),
            // "Wednesday, 05/01/2024": only one of both was a Wednesday.
            _ if falls(tokens, year, other) && !falls(tokens, year, one) => other,
            _ => one,
        };
        let date = date(year, month, day)?;
        let (time, offset) = words::time(tokens, at, at + 4);
        Some(Moment::new(date, time, offset))
    })
}

/// Whether a day of the week is named and the date falls on it.
fn falls(tokens: &[Token], year: u64, (month, day): (u64, u64)) -> bool {
    let named = tokens.iter().find_map(|t| weekday(t.word()?));
    named.is_some() && date(year, month, day).map(Date::weekday) == named
}

/// `/2023/12/21/`, `/2023/dec/21/`, `/2023-12-21-`, `/20231221/`: whole days only, since a month alone misleads.
pub(super) fn in_url(url: &str) -> Option<Moment> {
    let path = url.split(['?', '#']).next()?.split_once("://")?.1.split_once('/')?.1;
    let parts: Vec<&str> = path.split(['/', '-', '_', '.']).collect();
    let found = parts.windows(3).find_map(|w| {
        let year = plain(w[0], 4)?;
        let month_value = plain(w[1], 2).or_else(|| month(&w[1].to_ascii_lowercase(), None).map(u64::from))?;
        date(year, month_value, plain(w[2], 2)?)
    });
    let packed = || {
        parts.iter().find_map(|p| {
            let value = plain(p, 8)?;
            date(value / 10_000, value / 100 % 100, value % 100)
        })
    };
    found.or_else(packed).map(|date| Moment::new(date, None, None))
}

fn plain(text: &str, digits_max: usize) -> Option<u64> {
    let fits = if digits_max == 2 { (1..=2).contains(&text.len()) } else { text.len() == digits_max };
    (fits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn digits(tokens: &[Token], at: usize) -> Option<(usize, u64)> {
    tokens.get(at)?.number().map(|(value, digits)| (digits, value))
}

fn date(year: u64, month: u64, day: u64) -> Option<Date> {
    let in_range = (1900..2200).contains(&year) && month <= 12 && day <= 31;
    in_range.then(|| Date::new(year as i16, month as i8, day as i8).ok()).flatten()
}
