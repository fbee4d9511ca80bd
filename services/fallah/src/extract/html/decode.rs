//! Bytes to text: what the server says, what the page says, and what the bytes say.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// A page names its encoding within its first bytes or not at all.
const META_BYTES_MAX: usize = 4096;
/// The detector has seen enough after this much.
const DETECT_BYTES_MAX: usize = 64 << 10;

/// Decodes a page. A mark at the front of the bytes comes first, since it cannot be a mistake of the server's
/// configuration; then the header, the page's own `<meta>`, and a detector. A name that the bytes contradict is ignored.
///
/// ```
/// assert_eq!(fallah::extract::decode("سلام".as_bytes(), None), "سلام");
/// assert_eq!(fallah::extract::decode(&[0xd3, 0xe1, 0xc7, 0xe3], Some("text/html; charset=windows-1256")), "سلام");
/// ```
pub fn decode(bytes: &[u8], content_type: Option<&str>) -> String {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned();
    }
    let named = content_type
        .and_then(charset_of)
        .or_else(|| meta_charset(bytes))
        // A page that can be read as ASCII up to its `<meta>` is not UTF-16, whatever it says there.
        .map(|encoding| if encoding.is_ascii_compatible() { encoding } else { UTF_8 });
    let encoding = match named {
        Some(encoding) if believable(encoding, bytes) => encoding,
        _ => detect(bytes),
    };
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

fn charset_of(content_type: &str) -> Option<&'static Encoding> {
    let lower = content_type.to_ascii_lowercase();
    let (_, rest) = lower.split_once("charset")?;
    let label = rest.trim_start().strip_prefix('=')?.trim_start();
    let label = label.trim_start_matches(['"', '\'']);
    let end =
        label.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '>' | '/')).unwrap_or(label.len());
    Encoding::for_label(&label.as_bytes()[..end])
}

fn meta_charset(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(META_BYTES_MAX)]);
    head.to_ascii_lowercase().split("<meta").skip(1).find_map(|rest| {
        let end = rest.find('>').unwrap_or(rest.len());
        charset_of(&rest[..end])
    })
}

/// UTF-8 has a shape that nothing else has by chance, so both claiming it falsely and denying it falsely show.
fn believable(encoding: &'static Encoding, bytes: &[u8]) -> bool {
    let valid = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), |_| bytes.len());
    if encoding == UTF_8 {
        // A page cut in the middle of a letter, or with one foreign byte, is still UTF-8.
        return valid + 4 > bytes.len()
            || UTF_8.decode_without_bom_handling(bytes).0.matches('\u{fffd}').count() < 50;
    }
    let has_high = bytes.iter().any(|b| *b >= 0x80);
    if has_high && valid == bytes.len() {
        return false;
    }
    // Many servers say Latin-1 about everything. Text that is mostly high bytes is not Latin.
    let sample = &bytes[..bytes.len().min(DETECT_BYTES_MAX)];
    let high = sample.iter().filter(|b| **b >= 0x80).count();
    let letters = sample.iter().filter(|b| b.is_ascii_alphabetic()).count();
    encoding != WINDOWS_1252 || high * 8 < letters + high
}

fn detect(bytes: &[u8]) -> &'static Encoding {
    match std::str::from_utf8(bytes) {
        Ok(_) => return UTF_8,
        // Cut off in the middle of the last letter.
        Err(why) if why.error_len().is_none() && why.valid_up_to() > 0 => return UTF_8,
        Err(_) => {}
    }
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    let high_from = bytes.iter().position(|b| *b >= 0x80).unwrap_or(0).saturating_sub(256);
    let end = bytes.len().min(high_from + DETECT_BYTES_MAX);
    detector.feed(&bytes[high_from..end], true);
    detector.guess(None, chardetng::Utf8Detection::Allow)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARABIC: &str =
        "قال وزير الخارجية إن المحادثات التي جرت في العاصمة أمس كانت مثمرة، وإن الجانبين اتفقا على مواصلة العمل";

    fn arabic_1256() -> Vec<u8> {
        encoding_rs::WINDOWS_1256.encode(ARABIC).0.into_owned()
    }

    #[test]
    fn the_header_names_the_encoding() {
        assert_eq!(decode(&arabic_1256(), Some("text/html; charset=\"Windows-1256\"")), ARABIC);
    }

    #[test]
    fn the_page_names_the_encoding() {
        let mut page =
            b"<html><head><meta http-equiv='Content-Type' content='text/html; charset=windows-1256'>".to_vec();
        page.extend(arabic_1256());
        assert!(decode(&page, Some("text/html")).ends_with(ARABIC));
    }

    #[test]
    fn a_page_that_names_nothing_is_detected() {
        assert_eq!(decode(&arabic_1256(), None), ARABIC);
    }

    #[test]
    fn a_header_that_says_latin_about_arabic_is_not_believed() {
        assert_eq!(decode(&arabic_1256(), Some("text/html; charset=iso-8859-1")), ARABIC);
        assert_eq!(decode(ARABIC.as_bytes(), Some("text/html; charset=windows-1256")), ARABIC);
    }

    #[test]
    fn a_mark_at_the_front_wins() {
        let mut page = vec![0xff, 0xfe];
        page.extend("سلام".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(decode(&page, Some("text/html; charset=utf-8")), "سلام");
    }

    #[test]
    fn a_page_cut_inside_a_letter_stays_utf_8() {
        let bytes = ARABIC.as_bytes();
        assert!(decode(&bytes[..bytes.len() - 1], None).starts_with("قال وزير"));
        assert!(decode(&bytes[..bytes.len() - 1], Some("text/html; charset=utf-8")).starts_with("قال وزير"));
    }
}
