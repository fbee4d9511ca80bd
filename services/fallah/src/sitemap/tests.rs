mod bounds;
mod feeds;
mod kinds;
mod wild;

use std::io::Write as _;

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;

fn base() -> Address {
    Address::parse("https://www.example.org/news/sitemap.xml").expect("an address")
}

fn entries_of(bytes: &[u8], limits: &Limits) -> Result<(Vec<Entry>, Summary), NotASitemap> {
    let mut entries = Vec::new();
    let summary = read(bytes, &base(), limits, |entry| entries.push(entry))?;
    assert_eq!(summary.entries, entries.len() as u64);
    Ok((entries, summary))
}

fn entries(text: &str) -> (Vec<Entry>, Summary) {
    entries_of(text.as_bytes(), &Limits::default()).expect("a sitemap")
}

fn locs(text: &str) -> Vec<String> {
    entries(text).0.into_iter().map(|entry| entry.loc.into()).collect()
}

fn urlset(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{inside}</urlset>"
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

fn at(time: &str) -> Option<jiff::Timestamp> {
    Some(time.parse().expect("a time"))
}
