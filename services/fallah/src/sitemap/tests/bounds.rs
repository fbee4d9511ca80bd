//! Hostile files.

use proptest::prelude::*;

use super::*;

#[test]
fn what_was_read_of_a_file_that_ends_early_counts() {
    let whole = urlset("<url><loc>/1</loc></url><url><loc>/2</loc><lastmod>2024</lastmod></url>");
    for (length, count) in [
        (whole.find("<lastmod").expect("there"), 2),
        (whole.find("2024").expect("there"), 2),
        (whole.find("/2</loc>").expect("there"), 1),
        (whole.find("</urlset").expect("there"), 2),
    ] {
        let (entries, summary) = entries(&whole[..length]);
        assert_eq!((entries.len(), summary.cut), (count, Some(Cut::Truncated)), "{}", &whole[..length]);
    }
}

#[test]
fn gzip_is_known_by_its_first_bytes() {
    let text = urlset("<url><loc>/1</loc></url>");
    let packed = gzip(text.as_bytes());
    assert_eq!(entries_of(&packed, &Limits::default()).expect("a sitemap").0.len(), 1);
    // Two members, as made by appending.
    let (head, tail) = text.split_at(60);
    let both = [gzip(head.as_bytes()), gzip(tail.as_bytes())].concat();
    assert_eq!(entries_of(&both, &Limits::default()).expect("a sitemap").0.len(), 1);
    // Random text packs badly, so half of the bytes are half of the entries.
    let many: String =
        (0..2_000_u64).map(|n| format!("<url><loc>/{}</loc></url>", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let packed = gzip(urlset(&many).as_bytes());
    let (entries, summary) = entries_of(&packed[..packed.len() / 2], &Limits::default()).expect("a sitemap");
    assert_eq!(summary.cut, Some(Cut::Truncated));
    assert!((500..1_500).contains(&entries.len()), "{}", entries.len());
}

#[test]
fn a_bomb_is_read_no_further_than_the_bound() {
    // 200 MiB of blanks in 200 members, behind one entry.
    let blanks = gzip(&vec![b' '; 1024 * 1024]);
    let mut bomb = gzip(b"<urlset><url><loc>/1</loc></url>");
    (0..200).for_each(|_| bomb.extend_from_slice(&blanks));
    assert!(bomb.len() < 1_000_000);
    let limits = Limits { bytes_max: 3_000_000, token_bytes_max: 8_000_000, ..Limits::default() };
    let (entries, summary) = entries_of(&bomb, &limits).expect("a sitemap");
    assert_eq!((entries.len(), summary.cut), (1, Some(Cut::TooManyBytes)));
}

#[test]
fn large_pieces_are_never_in_memory() {
    let limits = Limits { token_bytes_max: 10_000, ..Limits::default() };
    let long = "a".repeat(20_000);
    for piece in [
        format!("<x a=\"{long}\"/>"),
        format!("<!--{long}-->"),
        long.clone(),
        format!("<![CDATA[{long}]]>"),
        format!("<!DOCTYPE x [ {long} ]>"),
        format!("<?pi {long}?>"),
        format!("</{long}>"),
        format!("&{long};"),
    ] {
        let text = format!("<urlset><url><loc>/1</loc></url>{piece}<url><loc>/2</loc></url></urlset>");
        let (entries, summary) = entries_of(text.as_bytes(), &limits).expect("a sitemap");
        assert_eq!((entries.len(), summary.cut), (1, Some(Cut::TokenTooLarge)), "{}", &piece[..10]);
    }
    let (entries, summary) = entries(&urlset(&format!("<url><loc>/{long}</loc></url><url><loc>/2</loc></url>")));
    assert_eq!(entries.len(), 1);
    assert!(summary.notes[0].contains("more than"), "{:?}", summary.notes);
}

#[test]
fn entities_of_a_dtd_are_never_resolved() {
    let text = "<?xml version='1.0'?><!DOCTYPE urlset [<!ENTITY a 'boom'><!ENTITY b '&a;&a;&a;'>
        <!ENTITY x SYSTEM 'file:///etc/passwd'>]><urlset><url><loc>/&b;/&x;</loc></url></urlset>";
    assert_eq!(locs(text), ["https://www.example.org/&b;/&x;"]);
}

#[test]
fn nesting_and_counts_are_bounded() {
    let (_, summary) = entries(&urlset(&"<a>".repeat(100)));
    assert_eq!(summary.cut, Some(Cut::TooDeep));
    // Each entry ends the one before, so they are not within each other; what was never closed is counted all the same.
    let (_, summary) = entries(&urlset(&"<url>".repeat(150_000)));
    assert_eq!(summary.cut, Some(Cut::TooDeep));
    let limits = Limits { entries_max: 3, ..Limits::default() };
    let five = urlset(&"<url><loc>/1</loc></url>".repeat(5));
    let (entries, summary) = entries_of(five.as_bytes(), &limits).expect("a sitemap");
    assert_eq!((entries.len(), summary.cut), (3, Some(Cut::TooManyEntries)));
    let three = urlset(&"<url><loc>/1</loc></url>".repeat(3));
    assert_eq!(entries_of(three.as_bytes(), &limits).expect("a sitemap").1.cut, None);
    let empty = urlset(&"<url/>".repeat(200));
    let summary = entries_of(empty.as_bytes(), &Limits::default()).expect("a sitemap").1;
    assert_eq!((summary.notes.len(), summary.notes_left_out), (50, 150));
}

#[test]
fn attributes_without_number_take_no_time() {
    let attributes: String = (0..100_000).map(|n| format!(" a{n}='1'")).collect();
    let text = urlset(&format!("<url{attributes}><loc{attributes}>/1</loc></url>"));
    let began = std::time::Instant::now();
    assert_eq!(locs(&text), ["https://www.example.org/1"]);
    assert!(began.elapsed().as_secs() < 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = entries_of(&bytes, &Limits::default());
    }

    #[test]
    fn pieces_of_xml_in_any_order_end(
        pieces in proptest::collection::vec(
            "<url>|</url>|<loc>|</loc>|<loc/>|/1|<image:loc>|<!\\[CDATA\\[|\\]\\]>|&amp;|&|;|<!--|-->|<!DOCTYPE [a\\[\\]<]{0,3}>|<|>|\"|</urlset>|<item>|\\PC",
            0..40,
        ),
        root in "<urlset>|<rss>|<feed>|<rdf:RDF>|",
    ) {
        let text = root + &pieces.concat();
        let whole = entries_of(text.as_bytes(), &Limits::default());
        let narrow = Limits { token_bytes_max: 7, depth_max: 3, entries_max: 1, bytes_max: 60, notes_max: 1 };
        let _ = entries_of(text.as_bytes(), &narrow);
        // A slow reader brings the same.
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
                let bytes = room.len().min(self.0.len()).min(1);
                room[..bytes].copy_from_slice(&self.0[..bytes]);
                self.0 = &self.0[bytes..];
                Ok(bytes)
            }
        }
        let mut entries = Vec::new();
        let slow = read(Slow(text.as_bytes()), &base(), &Limits::default(), |entry| entries.push(entry));
        prop_assert_eq!(slow.ok().map(|_| entries), whole.ok().map(|(entries, _)| entries));
    }
}
