//! Sitemaps as they are found.

use super::*;

#[test]
fn a_sitemap_names_its_pages() {
    let text = urlset(
        "<url><loc>https://www.example.org/1</loc><lastmod>2024-05-01</lastmod><changefreq>daily</changefreq></url>
         <url><loc>https://www.example.org/2?a=1&amp;b=2</loc><lastmod>bad</lastmod></url>",
    );
    let (entries, summary) = entries(&text);
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].loc.as_str(), "https://www.example.org/1");
    assert_eq!(entries[0].kind, EntryKind::Page);
    assert_eq!(entries[0].lastmod, at("2024-05-01T00:00:00Z"));
    assert_eq!(entries[1].loc.as_str(), "https://www.example.org/2?a=1&b=2");
    assert_eq!(entries[1].lastmod, None);
    assert_eq!((summary.kind, summary.cut), (Kind::UrlSet, None));
    assert_eq!(summary.notes, ["entry 2 has a date that is none: bad"]);
}

#[test]
fn an_index_names_its_sitemaps() {
    let text = "<sitemapindex><sitemap><loc>/s1.xml.gz</loc><lastmod>2024-05-01T10:00+03:00</lastmod></sitemap></sitemapindex>";
    let (entries, summary) = entries(text);
    assert_eq!(summary.kind, Kind::Index);
    assert_eq!(entries[0].kind, EntryKind::Sitemap);
    assert_eq!(entries[0].loc.as_str(), "https://www.example.org/s1.xml.gz");
    assert_eq!(entries[0].lastmod, at("2024-05-01T07:00:00Z"));
}

#[test]
fn a_news_sitemap_brings_titles_and_dates() {
    let text = urlset(
        "<url><loc>/1</loc><news:news xmlns:news=\"x\"><news:publication><news:name>الخبر</news:name>
         <news:language>ar</news:language></news:publication><news:publication_date>2024-05-01T10:00:00+03:00</news:publication_date>
         <news:title><![CDATA[ عنوان &]]> &quot;الخبر&quot;</news:title></news:news></url>",
    );
    let entry = &entries(&text).0[0];
    assert_eq!(entry.title.as_deref(), Some("عنوان & \"الخبر\""));
    assert_eq!(entry.language.as_deref(), Some("ar"));
    assert_eq!(entry.published_at, at("2024-05-01T07:00:00Z"));
    assert_eq!(entry.lastmod, None);
}

#[test]
fn images_and_videos_are_no_pages() {
    let text = urlset(
        "<url><loc>/1</loc><image:image><image:loc>/i.jpg</image:loc><image:title>no</image:title></image:image>
         <image:loc>/flat.jpg</image:loc><video:video><video:content_loc>/v.mp4</video:content_loc>
         <video:player_loc>/p</video:player_loc></video:video></url>",
    );
    let (entries, _) = entries(&text);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].loc.as_str(), "https://www.example.org/1");
    assert_eq!(entries[0].title, None);
}

#[test]
fn pages_in_other_languages_are_alternates() {
    let text = urlset(
        "<url><loc>/ar/1</loc><xhtml:link rel=\"alternate\" hreflang=\"en\" href=\"/en/1?a=1&amp;b=2\"/>
         <xhtml:link rel=\"alternate\" hreflang=\"x-default\" href=\" https://www.example.org/1 \"></xhtml:link></url>",
    );
    let (entries, _) = entries(&text);
    assert_eq!(entries.len(), 1);
    let alternates: Vec<_> =
        entries[0].alternates.iter().map(|other| (other.language.as_str(), other.loc.as_str())).collect();
    assert_eq!(
        alternates,
        [("en", "https://www.example.org/en/1?a=1&b=2"), ("x-default", "https://www.example.org/1")]
    );
}

#[test]
fn addresses_are_found_however_they_are_wrapped() {
    for loc in [
        "<loc>https://www.example.org/1</loc>",
        "<loc>\n  https://www.example.org/1\n</loc>",
        "<loc>\u{a0}https://www.example.org/1\u{200f}</loc>",
        "<loc>&nbsp;https://www.example.org/1&#160;</loc>",
        "<loc><![CDATA[https://www.example.org/1]]></loc>",
        "<loc><![CDATA[\n https://www.example.org/]]>1</loc>",
        "<loc>https://www.example.org/<!-- no -->1</loc>",
        "<LOC>https://www.example.org/1</LOC>",
        "<loc>/1</loc>",
        "<loc>../1</loc>",
        "<loc>//www.example.org/1</loc>",
        "<loc xmlns=\"x\" a='1'>https://www.example.org/&#49;</loc>",
    ] {
        assert_eq!(locs(&urlset(&format!("<url>{loc}</url>"))), ["https://www.example.org/1"], "{loc}");
    }
}

#[test]
fn ampersands_are_read_as_they_were_meant() {
    for (loc, query) in [
        ("/?a=1&amp;b=2", "a=1&b=2"),
        ("/?a=1&b=2", "a=1&b=2"),
        ("/?a=1&b=2;c", "a=1&b=2;c"),
        ("<![CDATA[/?a=1&b=2]]>", "a=1&b=2"),
        ("<![CDATA[/?a=1&amp;b=2]]>", "a=1&b=2"),
        ("/?a=1&amp;amp;b=2", "a=1&b=2"),
        ("/?a=&quot;&#x62;&#99;", "a=%22bc"),
    ] {
        assert_eq!(
            locs(&urlset(&format!("<url><loc>{loc}</loc></url>"))),
            [format!("https://www.example.org/?{query}")],
            "{loc}"
        );
    }
}

#[test]
fn wrong_namespaces_and_prefixes_do_no_harm() {
    for text in [
        "<urlset xmlns=\"https://www.sitemaps.org/schemas/sitemap/0.9\"><url><loc>/1</loc></url></urlset>",
        "<urlset xmlns=\"http://www.google.com/schemas/sitemap/0.84\"><url><loc>/1</loc></url></urlset>",
        "<urlset><url><loc>/1</loc></url></urlset>",
        "<sm:urlset xmlns:sm=\"x\"><sm:url><sm:loc>/1</sm:loc><i:loc>/no</i:loc></sm:url></sm:urlset>",
        "\u{feff}<?xml version='1.0'?><urlset><url><loc>/1</loc></url></urlset>",
        "\n\n \u{a0}<?xml version='1.0'?><urlset><url><loc>/1</loc></url></urlset>",
        "<?xml version='1.1'?><?xml-stylesheet href='x'?><!-- hello --><urlset><url><loc>/1</loc></url></urlset>",
        "<UrlSet><Url><Loc>/1</Loc></Url></UrlSet>",
    ] {
        assert_eq!(locs(text), ["https://www.example.org/1"], "{text}");
    }
}

#[test]
fn every_encoding_is_read() {
    let text = "<urlset><url><loc>/خبر</loc></url></urlset>";
    let wide: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (entries, _) = entries_of(&wide, &Limits::default()).expect("a sitemap");
    assert_eq!(entries[0].loc.as_str(), "https://www.example.org/%D8%AE%D8%A8%D8%B1");
}

#[test]
fn two_addresses_in_one_entry_are_two_pages() {
    let (entries, summary) =
        entries(&urlset("<url><loc>/1</loc><loc>/2</loc><loc>/1</loc><lastmod>2024</lastmod></url>"));
    assert_eq!(entries.iter().map(|entry| entry.loc.path_and_query()).collect::<Vec<_>>(), ["/1", "/2"]);
    assert_eq!(entries[1].lastmod, at("2024-01-01T00:00:00Z"));
    assert_eq!(summary.notes[0], "entry 1 has 2 addresses");
}

#[test]
fn an_entry_without_an_address_is_passed_over() {
    let (entries, summary) =
        entries(&urlset("<url><lastmod>2024</lastmod></url><url><loc></loc></url><url/><url><loc>/1</loc></url>"));
    assert_eq!(entries.len(), 1);
    assert_eq!(summary.notes.iter().filter(|note| note.ends_with("has no address")).count(), 3);
}

#[test]
fn an_entry_that_was_not_closed_ends_where_the_next_begins() {
    let text = urlset(&"<url><loc>/1</loc><lastmod>2024</lastmod>".repeat(200));
    assert_eq!(locs(&text).len(), 200);
    assert_eq!(locs("<urlset><url><loc>/1</loc></wrong></url></url><url><loc>/2</loc></url></urlset>").len(), 2);
}

#[test]
fn entries_say_where_they_lead() {
    let (entries, _) = entries(&urlset(
        "<url><loc>https://www.example.org/1</loc></url><url><loc>https://m.example.org/1</loc></url>
         <url><loc>http://other.org/1</loc></url>",
    ));
    assert_eq!(
        entries.iter().map(|entry| entry.reach).collect::<Vec<_>>(),
        [Reach::Host, Reach::Site, Reach::Foreign]
    );
}

#[test]
fn what_cannot_be_fetched_is_noted() {
    let (entries, summary) =
        entries(&urlset("<url><loc>ftp://a.org/</loc></url><url><loc>https://u:p@a.org/</loc></url>"));
    assert!(entries.is_empty());
    assert_eq!(summary.notes[0], "entry 1: ftp is neither http nor https");
    assert!(!summary.notes[1].contains("u:p"));
}
