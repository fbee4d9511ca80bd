use proptest::prelude::*;

use super::*;

fn address(text: &str) -> Address {
    Address::parse(text).expect(text)
}

#[test]
fn two_spellings_are_one_address() {
    for (written, normal) in [
        ("HTTPS://Example.ORG", "https://example.org/"),
        ("https://example.org:443/a", "https://example.org/a"),
        ("http://example.org:80/a", "http://example.org/a"),
        ("http://example.org:8080/a", "http://example.org:8080/a"),
        ("https://example.org./a", "https://example.org/a"),
        ("https://example.org/a#top", "https://example.org/a"),
        ("https://example.org/a/../b/./c", "https://example.org/b/c"),
        ("https://example.org/a/%2e%2E/b", "https://example.org/b"),
        ("https://example.org/%7euser/%d8%ae", "https://example.org/~user/%D8%AE"),
        ("https://example.org/أخبار", "https://example.org/%D8%A3%D8%AE%D8%A8%D8%A7%D8%B1"),
        (
            "https://example.org/%D8%A7%D9%94%D8%AE%D8%A8%D8%A7%D8%B1",
            "https://example.org/%D8%A3%D8%AE%D8%A8%D8%A7%D8%B1",
        ),
        ("https://example.org/?q=خبر", "https://example.org/?q=%D8%AE%D8%A8%D8%B1"),
        ("https://مثال.إختبار/", "https://xn--mgbh0fb.xn--kgbechtv/"),
        ("https://example.org/a?", "https://example.org/a"),
        ("https://example.org/a?&&b=1&", "https://example.org/a?b=1"),
        ("https://example.org/a?z=1&a=2&z=0", "https://example.org/a?z=1&a=2&z=0"),
        ("https://example.org/a?utm_source=x&id=5&fbclid=y", "https://example.org/a?id=5"),
        ("https://example.org/a?utm%5Fsource=x", "https://example.org/a"),
        ("https://example.org/a?ids[]=1", "https://example.org/a?ids%5B%5D=1"),
        ("  \u{200f}https://example.org/a\u{a0}\n", "https://example.org/a"),
        ("https:\\\\example.org\\a", "https://example.org/a"),
        ("http://2130706433/", "http://127.0.0.1/"),
    ] {
        assert_eq!(address(written).as_str(), normal, "{written}");
    }
}

/// Written without its dots it would be `http:///evil.example`, whose host is read from the path.
#[test]
fn a_host_of_dots_is_no_address() {
    for text in ["http://./evil.example", "http://..//evil.example", "https://example.org../a"] {
        assert!(Address::parse(text).is_err(), "{text}");
        assert!(address("http://example.org/").join(text).is_err(), "{text}");
    }
}

#[test]
fn schemes_hosts_and_trailing_slashes_stay_apart() {
    for (one, other) in [
        ("http://example.org/", "https://example.org/"),
        ("https://www.example.org/", "https://example.org/"),
        ("https://example.org/a", "https://example.org/a/"),
        ("https://example.org/a", "https://example.org/A"),
        ("https://example.org/a%2Fb", "https://example.org/a/b"),
        ("https://example.org/?a=1&b=2", "https://example.org/?b=2&a=1"),
    ] {
        assert_ne!(address(one), address(other));
    }
}

#[test]
fn what_cannot_be_fetched_is_no_address() {
    assert!(matches!(Address::parse("ftp://example.org/"), Err(NotAnAddress::Scheme(_))));
    assert!(matches!(Address::parse("javascript:void(0)"), Err(NotAnAddress::Scheme(_))));
    assert!(matches!(Address::parse("https://me:secret@example.org/"), Err(NotAnAddress::Credentials)));
    assert!(matches!(Address::parse("/a"), Err(NotAnAddress::Malformed(_))));
    assert!(matches!(Address::parse("https://"), Err(NotAnAddress::Malformed(_))));
    let long = format!("https://example.org/{}", "خ".repeat(400));
    assert!(matches!(Address::parse(&long), Err(NotAnAddress::TooLong(_))));
    let with_password = Address::parse("https://me:secret@example.org/").expect_err("has credentials");
    assert!(!with_password.to_string().contains("secret"));
}

#[test]
fn a_site_is_what_was_registered() {
    for (url, site) in [
        ("https://www.bbc.co.uk/news", "bbc.co.uk"),
        ("https://news.example.com/", "example.com"),
        ("https://www.ahram.org.eg/", "ahram.org.eg"),
        ("https://one.blogspot.com/", "one.blogspot.com"),
        ("http://10.0.0.1/", "10.0.0.1"),
        ("http://localhost:8080/", "localhost"),
        ("https://أخبار.مصر/", "xn--igbicxr.xn--wgbh1c"),
        ("https://www.أخبار.مصر/", "xn--igbicxr.xn--wgbh1c"),
    ] {
        assert_eq!(address(url).site(), site, "{url}");
    }
    assert!(address("http://m.example.com/").same_site(&address("https://www.example.com:444/")));
    assert!(!address("https://a.co.uk/").same_site(&address("https://b.co.uk/")));
}

#[test]
fn a_front_page_is_known_in_its_usual_forms() {
    for url in ["https://a.org", "https://a.org/index.html", "https://a.org/ar", "https://a.org/EN/"] {
        assert!(address(url).is_home(), "{url}");
    }
    for url in ["https://a.org/?p=5", "https://a.org/news", "https://a.org/ar/news", "https://a.org/2024"] {
        assert!(!address(url).is_home(), "{url}");
    }
}

#[test]
fn a_canonical_link_is_believed_within_its_site_only() {
    let page = address("https://www.example.org/news/5?page=2");
    let claim = |claimed| canonical(&page, claimed).map(String::from);
    assert_eq!(claim("/news/5").as_deref(), Some("https://www.example.org/news/5"));
    assert_eq!(claim("https://m.example.org/news/5").as_deref(), Some("https://m.example.org/news/5"));
    assert_eq!(claim("http://www.example.org/news/5").as_deref(), Some("https://www.example.org/news/5"));
    assert_eq!(claim("http://www.example.org:8080/5").as_deref(), Some("http://www.example.org:8080/5"));
    assert_eq!(claim("//www.example.org/news/5#x").as_deref(), Some("https://www.example.org/news/5"));
    assert_eq!(claim("https://other.org/news/5"), None);
    assert_eq!(claim("https://www.example.org/"), None);
    assert_eq!(claim("/index.html"), None);
    assert_eq!(claim("mailto:me@example.org"), None);
    assert_eq!(claim("  "), None);
}

#[test]
fn parts_are_what_they_say() {
    let address = address("https://Example.org:8443/a/b?c=d");
    assert_eq!(address.host(), "example.org");
    assert_eq!(address.origin(), "https://example.org:8443");
    assert_eq!(address.path_and_query(), "/a/b?c=d");
    assert_eq!(address.robots().as_str(), "https://example.org:8443/robots.txt");
    let json = serde_json::to_string(&address).expect("text");
    assert_eq!(json, "\"https://example.org:8443/a/b?c=d\"");
    assert_eq!(serde_json::from_str::<Address>(&json).expect("text"), address);
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(
        path in "(/|%[0-9a-fA-F]{2}|[a-c.%'\\[|~]|\\PC){0,30}",
        query in "([a-c=&+;%]|%[0-9a-fA-F]{2}|utm_source=|\\PC){0,30}",
    ) {
        if let Ok(once) = Address::parse(&format!("https://example.org/{path}?{query}")) {
            let twice = Address::parse(once.as_str()).expect("an address");
            prop_assert_eq!(&twice, &once);
            prop_assert!(once.as_str().is_ascii());
        }
    }

    #[test]
    fn any_text_is_an_address_or_is_refused(text in "\\PC{0,60}") {
        if let Ok(once) = Address::parse(&text) {
            prop_assert_eq!(Address::parse(once.as_str()), Ok(once));
        }
        let base = Address::parse("https://example.org/a/b").expect("an address");
        if let Ok(once) = base.join(&text) {
            prop_assert_eq!(Address::parse(once.as_str()), Ok(once.clone()));
        }
    }
}
