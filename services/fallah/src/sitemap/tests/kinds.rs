//! What is a sitemap, and what is none.

use super::*;

#[test]
fn a_page_is_not_a_sitemap() {
    for page in [
        "<!DOCTYPE html><html><head></head></html>",
        "<!doctype HTML PUBLIC \"-//W3C//DTD XHTML 1.0\"><html/>",
        "<html lang='ar'>",
        "\n<?xml version='1.0'?>\n<html xmlns='x'>",
    ] {
        let error = entries_of(page.as_bytes(), &Limits::default()).expect_err("a page");
        assert_eq!(error, NotASitemap::Html, "{page}");
    }
}

#[test]
fn what_is_no_sitemap_says_what_it_is() {
    let error = |bytes: &[u8]| entries_of(bytes, &Limits::default()).expect_err("no sitemap");
    assert_eq!(error(b""), NotASitemap::Empty);
    assert_eq!(error(b" \n\t"), NotASitemap::Empty);
    assert_eq!(error(b"{\"a\": 1}"), NotASitemap::Other);
    assert_eq!(error(b"Not found"), NotASitemap::Other);
    assert_eq!(error(b"<opml/>"), NotASitemap::Root("opml".into()));
    assert_eq!(error(b"<br />\n<b>Warning</b>"), NotASitemap::Root("br".into()));
    assert_eq!(error(b"<!-- only -->"), NotASitemap::Empty);
    assert_eq!(error(b"<urlset"), NotASitemap::Cut(Cut::Truncated));
    assert!(matches!(error(b"\x1f\x8bgarbage"), NotASitemap::Cut(_)));
    assert!(matches!(error(&[0xff; 100]), NotASitemap::Other));
}

#[test]
fn a_list_has_a_url_a_line() {
    let text =
        "\u{feff}https://www.example.org/1\r\n\r\nhttps://www.example.org/خبر\nnot a url\n  https://other.org/  ";
    let (entries, summary) = entries(text);
    assert_eq!(summary.kind, Kind::Text);
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1].loc.as_str(), "https://www.example.org/%D8%AE%D8%A8%D8%B1");
    assert_eq!(summary.notes, ["a line is no URL: not a url"]);
    let endless = format!("https://www.example.org/1\n{}\nhttps://www.example.org/2", "a".repeat(5_000_000));
    assert_eq!(locs(&endless).len(), 2);
}
