//! Dates with the month's name, in any order of day, month and year, and the time beside them.

use jiff::civil::{Date, Time};
use jiff::tz::Offset;

use super::Moment;
use super::months::month;
use super::tokens::Token;

/// The first full date of a text.
pub(super) fn find(tokens: &[Token]) -> Option<Moment> {
    (0..tokens.len()).find_map(|at| {
        let name = tokens[at].word()?;
        let month = month(name, after(tokens, at).and_then(|n| tokens[n].word()))?;
        let (date, end) = around(tokens, at, month)?;
        let (time, offset) = time(tokens, at, end);
        Some(Moment::new(date, time, offset))
    })
}

/// The date whose month stands at `at`, and where it ends.
fn around(tokens: &[Token], at: usize, month: u8) -> Option<(Date, usize)> {
    let left = before(tokens, at).and_then(|n| tokens[n].number());
    let first = number_after(tokens, at);
    let second = first.and_then(|(n, ..)| number_after(tokens, n));
    let day = |(value, digits): (u64, usize)| (digits <= 2 && (1..=31).contains(&value)).then_some(value as i8);
    let year = |(value, digits): (u64, usize)| (digits == 4 && value < 2200).then_some(value as i16);
    let date = |y, d| Date::new(y, month as i8, d).ok();
    let first_value = first.map(|(_, v, d)| (v, d));
    let second_value = second.map(|(_, v, d)| (v, d));
    if let (Some(d), Some(y)) = (left.and_then(day), first_value.and_then(year)) {
        return Some((date(y, d)?, first?.0));
    }
    if let (Some(d), Some(y)) = (first_value.and_then(day), second_value.and_then(year)) {
        return Some((date(y, d)?, second?.0));
    }
    if let (Some(y), Some(d)) = (left.and_then(year), first_value.and_then(day)) {
        return Some((date(y, d)?, first?.0));
    }
    // "Sun Dec 31 03:00:00 GMT 2023": the year stands behind the time.
    let (d, end) = (first_value.and_then(day)?, first?.0);
    let far = (end..tokens.len().min(end + 16)).find_map(|n| Some((n, year(tokens[n].number()?)?)));
    let (_, y) = far.filter(|(n, _)| tokens[end..*n].iter().any(|t| t.is(':')))?;
    Some((date(y, d)?, end))
}

/// Signs and small words that stand inside a date: "21st of December, 2023", "5 de mayo de 2024", "24 نيسان / أبريل".
fn is_filler(token: &Token) -> bool {
    match token {
        Token::Sign(c) => matches!(c, ' ' | ',' | '.' | '/' | '-' | '،' | '|' | '(' | ')' | '\'' | '’'),
        Token::Word(w) => {
            matches!(
                w.as_str(),
                "st" | "nd"
                    | "rd"
                    | "th"
                    | "of"
                    | "de"
                    | "del"
                    | "er"
                    | "الاول"
                    | "الثاني"
                    | "ال"
                    | "من"
                    | "the"
                    | "di"
            ) || month(w, None).is_some()
                || matches!(w.as_str(), "كانون" | "تشرين")
        }
        Token::Number(..) => false,
    }
}

fn before(tokens: &[Token], at: usize) -> Option<usize> {
    (0..at).rev().take(6).find(|&n| !is_filler(&tokens[n]))
}

fn after(tokens: &[Token], at: usize) -> Option<usize> {
    (at + 1..tokens.len()).take(2).find(|&n| !tokens[n].is(' '))
}

fn number_after(tokens: &[Token], at: usize) -> Option<(usize, u64, usize)> {
    let n = (at + 1..tokens.len()).take(8).find(|&n| !is_filler(&tokens[n]))?;
    let (value, digits) = tokens[n].number()?;
    Some((n, value, digits))
}

/// A time of day and its offset, behind the date or else before it.
pub(super) fn time(tokens: &[Token], from: usize, end: usize) -> (Option<Time>, Option<Offset>) {
    let behind = end + 1..tokens.len().min(end + 24);
    let front = from.saturating_sub(20)..from;
    for at in behind.chain(front) {
        if let Some((time, used)) = clock(tokens, at) {
            return (Some(time), offset(tokens, used));
        }
    }
    (None, None)
}

/// `9:05`, `9:05:10.123 pm`, `18h05`, `9 p.m.`, `٩:١٥ ص`; where it ends.
pub(super) fn clock(tokens: &[Token], at: usize) -> Option<(Time, usize)> {
    let two = |n: usize, max: u64| tokens.get(n)?.number().filter(|&(v, d)| d <= 2 && v <= max).map(|(v, _)| v as i8);
    if at > 0 && tokens[at - 1].is(':') {
        return None;
    }
    let mut hour = two(at, 24)?;
    let mut end = at;
    let (mut minute, mut second) = (0, 0);
    let parted = tokens.get(at + 1)?.is(':') || tokens[at + 1].word() == Some("h") || tokens[at + 1].is('.');
    // A blank between the hour and its minutes: "9: 05".
    let gap = usize::from(tokens.get(at + 2).is_some_and(|t| t.is(' ')) && tokens[at + 1].is(':'));
    let exact = tokens.get(at + 2 + gap).and_then(Token::number).is_some_and(|(_, d)| d == 2);
    if parted && exact {
        minute = two(at + 2 + gap, 59)?;
        end = at + 2 + gap;
        if tokens.get(end + 1).is_some_and(|t| t.is(':'))
            && let Some(s) = two(end + 2, 60)
        {
            second = s.min(59);
            end += 2;
            if tokens.get(end + 1).is_some_and(|t| t.is('.')) && tokens.get(end + 2).and_then(Token::number).is_some()
            {
                end += 2;
            }
        }
    }
    let half = (end + 1..tokens.len()).take(2).find(|&n| !tokens[n].is(' '));
    let mark = half.and_then(|n| tokens[n].word());
    let dotted = |n: usize| {
        tokens.get(n + 1).is_some_and(|t| t.is('.')) && tokens.get(n + 2).and_then(Token::word) == Some("m")
    };
    let afternoon = match (mark, half) {
        (Some("pm" | "م" | "مساء" | "عصرا" | "ظهرا"), _) => Some(true),
        (Some("am" | "ص" | "صباحا" | "فجرا"), _) => Some(false),
        (Some("p"), Some(n)) if dotted(n) => Some(true),
        (Some("a"), Some(n)) if dotted(n) => Some(false),
        _ => None,
    };
    match afternoon {
        Some(_) => end = half.map_or(end, |n| if dotted(n) { n + 2 } else { n }),
        // A bare number is an hour only with am or pm; with a point it is a decimal or a date.
        None if end == at || tokens[at + 1].is('.') => return None,
        None => {}
    }
    if afternoon == Some(true) && hour < 12 {
        hour += 12;
    }
    if afternoon == Some(false) && hour == 12 {
        hour = 0;
    }
    Some((Time::new(if hour == 24 { 0 } else { hour }, minute, second, 0).ok()?, end))
}

/// `Z`, `+03:00`, `-0500`, `GMT+3`, `EST`, "بتوقيت غرينتش" within the next signs.
pub(super) fn offset(tokens: &[Token], end: usize) -> Option<Offset> {
    for at in end + 1..tokens.len().min(end + 6) {
        match &tokens[at] {
            Token::Word(word) => {
                if let Some(hours) = named(word) {
                    return signed(tokens, at + 1).or_else(|| Offset::from_seconds((hours * 3600.0) as i32).ok());
                }
                if !matches!(word.as_str(), "بتوقيت" | "uhr" | "h" | "m" | "time") {
                    return None;
                }
            }
            Token::Sign('+' | '-') => return signed(tokens, at),
            Token::Sign(' ' | '(' | '.' | '،' | ',') => {}
            _ => return None,
        }
    }
    None
}

fn signed(tokens: &[Token], at: usize) -> Option<Offset> {
    let sign = match tokens.get(at)? {
        Token::Sign('+') => 1,
        Token::Sign('-') => -1,
        _ => return None,
    };
    let (value, digits) = tokens.get(at + 1)?.number()?;
    let minutes = match digits {
        4 => value / 100 * 60 + value % 100,
        1 | 2 => {
            let colon = tokens.get(at + 2).is_some_and(|t| t.is(':'));
            value * 60 + if colon { tokens.get(at + 3)?.number()?.0 } else { 0 }
        }
        _ => return None,
    };
    if minutes > 15 * 60 {
        return None;
    }
    Offset::from_seconds(sign * minutes as i32 * 60).ok()
}

/// Hours from UTC of the few names that mean one thing to most readers.
fn named(word: &str) -> Option<f32> {
    Some(match word {
        "z" | "gmt" | "utc" | "غرينتش" | "جرينتش" | "uct" => 0.0,
        "est" | "cdt" => -5.0,
        "edt" => -4.0,
        "cst" | "mdt" => -6.0,
        "mst" | "pdt" => -7.0,
        "pst" => -8.0,
        "bst" | "cet" => 1.0,
        "cest" | "eet" => 2.0,
        "eest" | "msk" => 3.0,
        "aest" => 10.0,
        "aedt" => 11.0,
        _ => return None,
    })
}
