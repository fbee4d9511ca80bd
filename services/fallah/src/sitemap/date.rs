//! Dates as sitemaps and feeds write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::Offset;

/// The longest text that can be a date.
const DATE_BYTES_MAX: usize = 64;

/// Reads a W3C date in each of its precisions (`2024`, `2024-05`, `2024-05-01`, `2024-05-01T10:00Z`, seconds, fractions), or
/// a date of mail as RSS has it (`Wed, 01 May 2024 10:00:00 +0300`, a wrong weekday forgiven). A part that is missing is the
/// first of its kind, a zone that is missing is UTC. None for what is no date, such as WordPress's `0000-00-00`.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let text = crate::address::trim(text);
    if text.is_empty() || text.len() > DATE_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    w3c(text).or_else(|| mail(text)).filter(|date| *date > Timestamp::UNIX_EPOCH)
}

fn w3c(text: &str) -> Option<Timestamp> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4..=4)?;
    let month = parts.next().map_or(Some(1), |part| number(part, 1..=2))?;
    let day = parts.next().map_or(Some(1), |part| number(part, 1..=2))?;
    if parts.next().is_some() {
        return None;
    }
    let (clock, zone) = time.split_at(time.find(['Z', 'z', '+', '-', 'U', 'G', ' ']).unwrap_or(time.len()));
    let [hour, minute, second, nanosecond] = if clock.is_empty() { [0; 4] } else { of_clock(clock)? };
    let small = |number: i32| i8::try_from(number).ok();
    let year = i16::try_from(year).ok()?;
    let at =
        DateTime::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?, small(second)?, nanosecond);
    offset(zone.trim())?.to_timestamp(at.ok()?).ok()
}

/// `10:00`, `10:00:30` or `10:00:30.25`.
fn of_clock(clock: &str) -> Option<[i32; 4]> {
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let hour = number(parts.next()?, 1..=2)?;
    let minute = number(parts.next()?, 2..=2)?;
    // A leap second is the last second of its minute, for everybody but astronomers.
    let second = parts.next().map_or(Some(0), |part| number(part, 2..=2))?.min(59);
    if parts.next().is_some() || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanosecond = format!("{fraction:0<9}")[..9].parse().ok()?;
    Some([hour, minute, second, nanosecond])
}

/// `Z`, `+03:00`, `+0300`, `+03`, `UTC`, `GMT`, or nothing.
fn offset(zone: &str) -> Option<Offset> {
    if matches!(zone, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(Offset::UTC);
    }
    let (sign, digits) = match zone.split_at(1) {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    let hours = number(digits.get(..2)?, 2..=2)?;
    let minutes = if digits.len() == 2 { 0 } else { number(&digits[2..], 2..=2)? };
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i32> {
    let is_number = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn mail(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    // `UTC` is no zone of mail, and is often written.
    let text =
        text.strip_suffix("UTC").or_else(|| text.strip_suffix('Z')).map_or(text.to_owned(), |at| format!("{at}GMT"));
    PARSER.parse_timestamp(text).ok()
}

/// A date of HTTP, for headers.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    mail(text.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_precision_is_a_time() {
        for (written, time) in [
            ("2024", "2024-01-01T00:00:00Z"),
            ("2024-05", "2024-05-01T00:00:00Z"),
            ("2024-05-01", "2024-05-01T00:00:00Z"),
            ("2024-5-1", "2024-05-01T00:00:00Z"),
            ("2024-05-01T10:00Z", "2024-05-01T10:00:00Z"),
            ("2024-05-01T10:00+03:00", "2024-05-01T07:00:00Z"),
            ("2024-05-01T10:00:30+0300", "2024-05-01T07:00:30Z"),
            ("2024-05-01T10:00:30.25-03", "2024-05-01T13:00:30.25Z"),
            ("2024-05-01T10:00:30.123456789123Z", "2024-05-01T10:00:30.123456789Z"),
            ("2024-05-01T10:00:30", "2024-05-01T10:00:30Z"),
            ("2024-05-01 10:00:30", "2024-05-01T10:00:30Z"),
            ("2024-05-01 10:00:30 +03:00", "2024-05-01T07:00:30Z"),
            ("2024-05-01 10:00:30 UTC", "2024-05-01T10:00:30Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("\u{a0}2024-05-01\n", "2024-05-01T00:00:00Z"),
            ("Wed, 01 May 2024 10:00:00 +0300", "2024-05-01T07:00:00Z"),
            ("Mon, 01 May 2024 10:00:00 GMT", "2024-05-01T10:00:00Z"),
            ("1 May 2024 10:00 UTC", "2024-05-01T10:00:00Z"),
            ("Wed, 1 May 2024 10:00:00 EST", "2024-05-01T15:00:00Z"),
        ] {
            assert_eq!(parse_date(written), time.parse().ok(), "{written}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for written in [
            "",
            "0000-00-00",
            "0000-00-00T00:00:00Z",
            "-0001-11-30T00:00:00+00:00",
            "1970-01-01",
            "2024-13-01",
            "2024-02-30",
            "2024-05-01T25:00Z",
            "2024-05-01T10",
            "yesterday",
            "20240501",
            "2024-05-01-02",
            "١ مايو ٢٠٢٤",
            "2024-05-01T10:00+",
            "1714550400",
        ] {
            assert_eq!(parse_date(written), None, "{written}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_date_or_none(text in "[0-9TZ:+. -]{0,30}|\\PC{0,70}") {
            parse_date(&text);
        }
    }
}
