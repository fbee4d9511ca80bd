//! From bytes to text: decompression, encoding, and every bound on size in one place.

use std::io::{self, BufRead, Chain, Cursor, ErrorKind, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use flate2::read::MultiGzDecoder;

use super::{Cut, Limits};

const RAW_BYTES: usize = 8 * 1024;
const TEXT_BYTES: usize = 32 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A reader of UTF-8. What ends it early (a bound, a broken stream) is its end, with the reason in `cut`.
pub(super) struct Source<R: Read> {
    bytes: Bytes<R>,
    bytes_left: u64,
    bytes_ended: bool,
    decoder: Decoder,
    raw: Box<[u8]>,
    raw_start: usize,
    raw_end: usize,
    text: Box<[u8]>,
    text_start: usize,
    text_end: usize,
    text_ended: bool,
    token_bytes_max: usize,
    token_bytes_left: usize,
    pub(super) cut: Option<Cut>,
}

enum Bytes<R: Read> {
    Plain(Chain<Cursor<Vec<u8>>, R>),
    Gzip(Box<MultiGzDecoder<Chain<Cursor<Vec<u8>>, R>>>),
}

impl<R: Read> Source<R> {
    pub(super) fn open(mut reader: R, limits: &Limits) -> Self {
        let mut head = Vec::with_capacity(GZIP_MAGIC.len());
        let failure = reader.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut head).err();
        let is_gzip = head == GZIP_MAGIC;
        let whole = Cursor::new(head).chain(reader);
        let bytes = if is_gzip { Bytes::Gzip(Box::new(MultiGzDecoder::new(whole))) } else { Bytes::Plain(whole) };
        let mut source = Self {
            bytes,
            bytes_left: limits.bytes_max,
            bytes_ended: failure.is_some(),
            decoder: UTF_8.new_decoder(),
            raw: vec![0; RAW_BYTES].into(),
            raw_start: 0,
            raw_end: 0,
            text: vec![0; TEXT_BYTES].into(),
            text_start: 0,
            text_end: 0,
            text_ended: false,
            token_bytes_max: limits.token_bytes_max,
            token_bytes_left: limits.token_bytes_max,
            cut: failure.map(|error| Cut::Unreadable(error.to_string())),
        };
        // The encoding shows in the first few bytes; a slow reader may bring them one by one.
        while source.raw_end < 512 && source.read_raw() {}
        source.decoder = encoding_of(&source.raw[..source.raw_end]).new_decoder_with_bom_removal();
        source
    }

    /// The first character that is no blank, which is left to be read.
    pub(super) fn first_byte(&mut self) -> Option<u8> {
        loop {
            self.begin_token();
            let available = self.fill_buf().ok().filter(|text| !text.is_empty())?;
            // A no-break space or a byte order mark in UTF-8: seen before the root of files put together by hand.
            let blank_bytes = match available {
                [first, ..] if first.is_ascii_whitespace() => 1,
                [0xc2, 0xa0, ..] => 2,
                [0xef, 0xbb, 0xbf, ..] => 3,
                [first, ..] => return Some(*first),
                [] => return None,
            };
            self.consume(blank_bytes);
        }
    }

    /// What is read from here on is a new piece, with its own bound.
    pub(super) fn begin_token(&mut self) {
        self.token_bytes_left = self.token_bytes_max;
    }

    /// Reads more bytes behind those that are there; false at the end, whatever ends it.
    fn read_raw(&mut self) -> bool {
        if self.bytes_ended {
            return false;
        }
        let room = &mut self.raw[self.raw_end..];
        // One byte behind the bound tells a file that is too large from one that just fits.
        let room_bytes = room.len().min(usize::try_from(self.bytes_left).unwrap_or(usize::MAX).max(1));
        let read = match &mut self.bytes {
            Bytes::Plain(reader) => retry(reader, &mut room[..room_bytes]),
            Bytes::Gzip(reader) => retry(reader, &mut room[..room_bytes]),
        };
        let read_bytes = match read {
            Ok(read_bytes) => read_bytes,
            Err(error) => {
                self.cut = Some(match error.kind() {
                    ErrorKind::UnexpectedEof => Cut::Truncated,
                    _ => Cut::Unreadable(error.to_string()),
                });
                0
            }
        };
        if read_bytes > 0 && self.bytes_left == 0 {
            self.cut = Some(Cut::TooManyBytes);
            self.bytes_ended = true;
            return false;
        }
        self.bytes_left -= read_bytes as u64;
        self.raw_end += read_bytes;
        self.bytes_ended = read_bytes == 0;
        read_bytes > 0
    }

    fn decode(&mut self) {
        if self.raw_start == self.raw_end {
            (self.raw_start, self.raw_end) = (0, 0);
            self.read_raw();
        }
        let last = self.bytes_ended;
        let raw = &self.raw[self.raw_start..self.raw_end];
        let (result, read_bytes, text_bytes, _) = self.decoder.decode_to_utf8(raw, &mut self.text, last);
        self.raw_start += read_bytes;
        (self.text_start, self.text_end) = (0, text_bytes);
        self.text_ended = last && result == CoderResult::InputEmpty;
    }
}

fn retry(reader: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(room) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let bytes = available.len().min(room.len());
        room[..bytes].copy_from_slice(&available[..bytes]);
        self.consume(bytes);
        Ok(bytes)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.text_start == self.text_end && !self.text_ended {
            self.decode();
        }
        let end = self.text_end.min(self.text_start + self.token_bytes_left);
        if self.text_start == end && self.text_start < self.text_end {
            self.cut = Some(Cut::TokenTooLarge);
            return Err(io::Error::other("too large"));
        }
        Ok(&self.text[self.text_start..end])
    }

    fn consume(&mut self, bytes: usize) {
        self.text_start += bytes;
        self.token_bytes_left = self.token_bytes_left.saturating_sub(bytes);
    }
}

/// By byte order mark, by the shape of `<` in UTF-16, by the XML declaration, and else UTF-8; what is no UTF-8 then is
/// replaced, not refused.
fn encoding_of(head: &[u8]) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return encoding;
    }
    match head {
        [b'<', 0, ..] => return UTF_16LE,
        [0, b'<', ..] => return UTF_16BE,
        _ => {}
    }
    declared(head.trim_ascii_start()).and_then(Encoding::for_label).map_or(UTF_8, |encoding| {
        // A declaration that can be read byte by byte is not in UTF-16.
        if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding }
    })
}

fn declared(head: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"encoding";
    let inside = head.strip_prefix(b"<?xml")?;
    let declaration = &inside[..inside.windows(2).position(|pair| pair == b"?>")?];
    let at = declaration.windows(NAME.len()).position(|window| window == NAME)?;
    let value = declaration[at + NAME.len()..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let (quote, value) = value.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
    value.split(|byte| byte == quote).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(bytes: &[u8], limits: &Limits) -> (String, Option<Cut>) {
        let mut source = Source::open(bytes, limits);
        let mut text = Vec::new();
        loop {
            source.begin_token();
            let available = source.fill_buf().expect("one token at a time");
            if available.is_empty() {
                break;
            }
            text.extend_from_slice(available);
            let bytes = available.len();
            source.consume(bytes);
        }
        (String::from_utf8(text).expect("the source brings UTF-8"), source.cut)
    }

    #[test]
    fn every_declared_encoding_becomes_utf_8() {
        let wide: Vec<u8> = "<a>خبر</a>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(text_of(&wide, &Limits::default()).0, "<a>خبر</a>");
        let wide: Vec<u8> = "\u{feff}<a>خبر</a>".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(text_of(&wide, &Limits::default()).0, "<a>خبر</a>");
        let old = b"<?xml version='1.0' encoding = \"windows-1256\"?><a>\xce\xc8\xd1</a>";
        assert!(text_of(old, &Limits::default()).0.ends_with("<a>خبر</a>"));
        let wrong = b"<?xml version='1.0' encoding='utf-16'?><a>\xd8\xae\xff</a>";
        assert!(text_of(wrong, &Limits::default()).0.ends_with("<a>خ\u{fffd}</a>"));
    }

    #[test]
    fn a_file_that_just_fits_is_whole_and_one_byte_more_is_cut() {
        let limits = Limits { bytes_max: 5_000, ..Limits::default() };
        assert_eq!(text_of(&[b'a'; 5_000], &limits), ("a".repeat(5_000), None));
        assert_eq!(text_of(&[b'a'; 5_001], &limits), ("a".repeat(5_000), Some(Cut::TooManyBytes)));
    }

    #[test]
    fn a_reader_that_fails_is_an_end_with_a_reason() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let mut source = Source::open(Failing, &Limits::default());
        assert_eq!(source.first_byte(), None);
        assert_eq!(source.cut, Some(Cut::Unreadable("the disk is gone".into())));
    }
}
