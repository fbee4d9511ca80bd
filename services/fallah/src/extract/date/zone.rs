//! The zone of a source that writes local times without naming one.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// A fixed offset (`+03:00`), or a named zone (`Asia/Amman`) where the system knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Reads `+03:00`, `+3`, `UTC`, or a name like `Asia/Amman`.
    pub fn parse(text: &str) -> Result<Zone, String> {
        let text = text.trim();
        if matches!(text, "UTC" | "Z" | "GMT") {
            return Ok(Zone(TimeZone::UTC));
        }
        if let Some(rest) = text.strip_prefix(['+', '-']) {
            let (hours, minutes) = match rest.split_once(':') {
                Some(parts) => parts,
                None if rest.len() == 4 && rest.is_ascii() => rest.split_at(2),
                None => (rest, "0"),
            };
            let number = |s: &str| s.parse::<i32>().ok().filter(|n| (0..60).contains(n));
            if let (Some(h @ 0..=15), Some(m)) = (number(hours), number(minutes)) {
                let seconds = (h * 60 + m) * 60 * if text.starts_with('-') { -1 } else { 1 };
                if let Ok(offset) = Offset::from_seconds(seconds) {
                    return Ok(Zone(TimeZone::fixed(offset)));
                }
            }
            return Err(format!("the offset `{text}` is not like +03:00"));
        }
        TimeZone::get(text).map(Zone).map_err(|_| {
            format!("the time zone `{text}` is not known to this system; a name like Asia/Amman or an offset like +03:00 is")
        })
    }

    pub(super) fn offset_at(&self, local: DateTime) -> Option<Offset> {
        self.0.to_ambiguous_timestamp(local).compatible().ok().map(|t| self.0.to_offset(t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_and_nonsense_is_explained() {
        let noon = jiff::civil::date(2024, 1, 1).at(12, 0, 0, 0);
        for (text, seconds) in [("+03:00", 10_800), ("-0530", -19_800), ("+2", 7200), ("UTC", 0)] {
            let zone = Zone::parse(text).expect("a zone");
            assert_eq!(zone.offset_at(noon).map(|o| o.seconds()), Some(seconds), "{text}");
        }
        assert!(Zone::parse("+99:00").expect_err("no zone").contains("+03:00"));
        assert!(Zone::parse("Middle/Earth").is_err());
    }
}
