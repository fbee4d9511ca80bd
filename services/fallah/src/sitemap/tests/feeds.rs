//! RSS, Atom and RDF.

use super::*;

#[test]
fn rss_names_its_items() {
    let text = "<rss version=\"2.0\" xmlns:atom=\"a\" xmlns:dc=\"d\" xmlns:media=\"m\"><channel><title>قناة</title>
        <link>https://www.example.org/</link><atom:link href=\"/feed\" rel=\"self\"/><language>ar</language>
        <image><url>/logo.png</url><title>no</title><link>/no</link></image>
        <item><title><![CDATA[خبر &amp; آخر]]></title><link>https://www.example.org/1?utm_source=rss</link>
          <guid isPermaLink=\"false\">17</guid><pubDate>Wed, 01 May 2024 10:00:00 +0300</pubDate>
          <media:content url=\"/i.jpg\"><media:title>no</media:title></media:content><media:title>no</media:title>
          <atom:link href=\"/no\"/><description><![CDATA[<a href='/no'>x</a>]]></description></item>
        <item><guid>https://www.example.org/2</guid><dc:date>2024-05-02</dc:date><atom:updated>2024-05-03</atom:updated>
          <dc:language>en</dc:language></item>
        <item><link>https://feeds.other.org/r/3</link><feedburner:origLink>https://www.example.org/3</feedburner:origLink></item>
        <item><guid isPermaLink=\"false\">https://www.example.org/no</guid><title>none</title></item>
        <item><link/>https://lost.org/</item>
        <item><link>/5</link><link>/6</link>
        </channel></rss>";
    let (entries, summary) = entries(text);
    assert_eq!((summary.kind, &summary.cut), (Kind::Rss, &None));
    let seen: Vec<&str> = entries.iter().map(|entry| entry.loc.as_str()).collect();
    assert_eq!(
        seen,
        [
            "https://www.example.org/1",
            "https://www.example.org/2",
            "https://www.example.org/3",
            "https://www.example.org/5"
        ]
    );
    assert_eq!(entries[0].title.as_deref(), Some("خبر &amp; آخر"));
    assert_eq!(entries[0].language.as_deref(), Some("ar"));
    assert_eq!(
        (entries[0].published_at, entries[0].lastmod),
        (at("2024-05-01T07:00:00Z"), at("2024-05-01T07:00:00Z"))
    );
    assert_eq!(
        (entries[1].published_at, entries[1].lastmod),
        (at("2024-05-02T00:00:00Z"), at("2024-05-03T00:00:00Z"))
    );
    assert_eq!(entries[1].language.as_deref(), Some("en"));
}

#[test]
fn atom_names_its_entries() {
    let text = "<feed xmlns=\"http://www.w3.org/2005/Atom\" xml:lang=\"en\"><title>Feed</title><link href=\"/\"/>
        <link rel=\"self\" href=\"/feed\"/><id>urn:1</id><updated>2024-01-01T00:00:00Z</updated>
        <entry><title type=\"xhtml\"><div>One <b>bold</b> title</div></title><link rel=\"self\" href=\"/no\"/>
          <link rel=\"enclosure\" href=\"/a.mp3\"/><link rel=\"alternate\" type=\"application/json\" href=\"/no\"/>
          <link rel=\"alternate\" type=\"text/html\" href=\"/1?a=1&amp;b=2\"/><id>urn:2</id>
          <source><title>no</title><link href=\"/no\"/><updated>2020-01-01</updated></source>
          <published>2024-05-01T10:00:00Z</published><updated>2024-05-02T10:00:00Z</updated></entry>
        <entry><id>https://www.example.org/2</id><updated>2024-05-03</updated></entry></feed>";
    let (entries, summary) = entries(text);
    assert_eq!((summary.kind, entries.len()), (Kind::Atom, 2));
    assert_eq!(entries[0].loc.as_str(), "https://www.example.org/1?a=1&b=2");
    assert_eq!(entries[0].title.as_deref(), Some("One bold title"));
    assert_eq!(entries[0].language.as_deref(), Some("en"));
    assert_eq!(entries[0].published_at, at("2024-05-01T10:00:00Z"));
    assert_eq!(entries[0].lastmod, at("2024-05-02T10:00:00Z"));
    assert_eq!(entries[1].loc.as_str(), "https://www.example.org/2");
}

#[test]
fn rdf_names_its_items() {
    let text = "<rdf:RDF xmlns:rdf=\"r\" xmlns=\"http://purl.org/rss/1.0/\" xmlns:dc=\"d\"><channel rdf:about=\"/\">
        <title>Feed</title><link>/</link><items><rdf:Seq><rdf:li resource=\"/1\"/></rdf:Seq></items></channel>
        <item rdf:about=\"https://www.example.org/1\"><title>One</title><link>https://www.example.org/1</link>
        <dc:date>2024-05-01T10:00+03:00</dc:date></item><item rdf:about=\"https://www.example.org/2\"/></rdf:RDF>";
    let (entries, summary) = entries(text);
    assert_eq!((summary.kind, entries.len()), (Kind::Rdf, 2));
    assert_eq!(entries[0].published_at, at("2024-05-01T07:00:00Z"));
    assert_eq!(entries[1].loc.as_str(), "https://www.example.org/2");
}
