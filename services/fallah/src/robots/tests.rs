use proptest::prelude::*;

use super::*;

fn allowed(text: &str, agent: &str, path: &str) -> bool {
    Robots::parse(text.as_bytes()).verdict(agent, path).allowed
}

#[test]
fn an_agent_obeys_its_own_group_and_no_other() {
    let text = "User-agent: *\nDisallow: /\n\nUser-agent: Fallah\nDisallow: /private\n";
    assert!(allowed(text, "fallah", "/news"));
    assert!(!allowed(text, "FALLAH", "/private/1"));
    assert!(!allowed(text, "other", "/news"));
    assert!(allowed(text, "Fallah/1.0 (+https://example.org/bot)", "/news"));
    assert!(!allowed(text, "Fallah-News", "/news"));
}

#[test]
fn groups_for_one_agent_count_together() {
    let text =
        "User-agent: a\nDisallow: /x\nUser-agent: b\nDisallow: /y\nUser-agent: A\nUser-agent: c\nDisallow: /z\n";
    for (agent, path, expected) in
        [("a", "/x", false), ("a", "/z", false), ("a", "/y", true), ("c", "/z", false), ("c", "/x", true)]
    {
        assert_eq!(allowed(text, agent, path), expected, "{agent} {path}");
    }
}

#[test]
fn an_own_group_without_rules_allows_all() {
    let text = "User-agent: fallah\nDisallow:\n\nUser-agent: *\nDisallow: /\n";
    assert_eq!(
        Robots::parse(text.as_bytes()).verdict("fallah", "/a"),
        Verdict { allowed: true, rule: None, why: Why::NoRuleMatches }
    );
}

#[test]
fn without_a_group_for_it_an_agent_may_go_anywhere() {
    let verdict = Robots::parse(b"User-agent: other\nDisallow: /").verdict("fallah", "/a");
    assert_eq!(verdict, Verdict { allowed: true, rule: None, why: Why::NoGroup });
    assert!(allowed("", "fallah", "/"));
}

#[test]
fn the_longest_pattern_decides_and_allow_wins_ties() {
    let text =
        "User-agent: *\nDisallow: /page\nAllow: /page.html\nDisallow: /folder\nAllow: /folder\nDisallow: /*.gif$";
    assert!(allowed(text, "x", "/page.html"));
    assert!(!allowed(text, "x", "/page.php"));
    assert!(allowed(text, "x", "/folder/a"));
    assert!(!allowed(text, "x", "/a.gif"));
    // Order is nothing.
    assert!(allowed("User-agent: *\nAllow: /page.html\nDisallow: /page", "x", "/page.html"));
}

#[test]
fn the_verdict_names_the_rule_and_its_line() {
    let verdict = Robots::parse(b"# hello\r\nUser-agent: *\r\n\r\nDisallow: /x # mine\r\n").verdict("a", "/x/1");
    assert_eq!(verdict.rule, Some(Rule { line: 4, text: "Disallow: /x # mine".into() }));
    assert!(!verdict.allowed);
}

#[test]
fn every_kind_of_line_end_ends_a_line() {
    for end in ["\n", "\r", "\r\n"] {
        let text = ["User-agent: *", "Disallow: /a", "", "Disallow: /b"].join(end);
        assert!(!allowed(&text, "x", "/a"), "{end:?}");
        assert_eq!(Robots::parse(text.as_bytes()).verdict("x", "/b").rule.map(|rule| rule.line), Some(4), "{end:?}");
    }
}

#[test]
fn marks_at_the_start_of_the_file_are_no_part_of_it() {
    assert!(!allowed("\u{feff}User-agent: *\nDisallow: /", "x", "/a"));
    let wide: Vec<u8> = "\u{feff}User-agent: *\nDisallow: /".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(!Robots::parse(&wide).verdict("x", "/a").allowed);
}

#[test]
fn common_mistakes_are_forgiven() {
    for text in [
        "useragent: *\ndissallow: /a",
        "user agent: *\nDISALLOW:/a",
        "User-agent *\nDisallow /a",
        "  User-agent :  *  \n\t Disalow :\t/a  # why",
        "User-agent: * all\nDisallow: /a",
        "User-agent: fallah/2.0\nDisallow: /a",
    ] {
        assert!(!allowed(text, "fallah", "/a"), "{text}");
        assert!(allowed(text, "fallah", "/b"), "{text}");
    }
}

#[test]
fn what_is_no_rule_is_passed_over() {
    let text =
        "Disallow: /before\n<html>\nUser-agent: *\nNoindex: /x\nDisallow\nDisallow: /a\nHost: example.org\n: /b";
    assert!(allowed(text, "x", "/before"));
    assert!(allowed(text, "x", "/x"));
    assert!(!allowed(text, "x", "/a"));
    assert!(allowed(text, "x", "/b"));
}

#[test]
fn lines_that_are_no_rules_end_no_group() {
    let text = "User-agent: a\nSitemap: https://x.org/s.xml\nCrawl-delay: 7\n\nUser-agent: b\nDisallow: /x\n";
    assert!(!allowed(text, "a", "/x"));
    assert!(!allowed(text, "b", "/x"));
    let robots = Robots::parse(text.as_bytes());
    assert_eq!(robots.crawl_delay("a"), Some(Duration::from_secs(7)));
    assert_eq!(robots.crawl_delay("b"), None);
}

#[test]
fn delays_are_read_as_written() {
    for (written, seconds) in [
        ("10", Some(10.0)),
        ("0.5", Some(0.5)),
        ("1,5", Some(1.5)),
        ("0", Some(0.0)),
        ("86400", Some(86_400.0)),
        ("1e300", Some(1e9)),
        ("-1", None),
        ("NaN", None),
        ("soon", None),
    ] {
        let robots = Robots::parse(format!("User-agent: *\nCrawl-delay: {written}").as_bytes());
        assert_eq!(robots.crawl_delay("x"), seconds.map(Duration::from_secs_f64), "{written}");
    }
    let robots = Robots::parse(b"User-agent: *\nCrawl-delay: 3\nUser-agent: x\nDisallow: /");
    assert_eq!(robots.crawl_delay("y"), Some(Duration::from_secs(3)));
}

#[test]
fn sitemaps_are_for_everybody_wherever_they_stand() {
    let text = "sitemap: https://x.org/a.xml\nUser-agent: q\nDisallow: /\nSite-map: /b.xml\nSitemap:\n";
    assert_eq!(Robots::parse(text.as_bytes()).sitemaps(), ["https://x.org/a.xml", "/b.xml"]);
}

#[test]
fn robots_itself_is_always_allowed() {
    let verdict = Robots::parse(b"User-agent: *\nDisallow: /").verdict("x", "/robots.txt");
    assert_eq!(verdict, Verdict { allowed: true, rule: None, why: Why::RobotsItself });
}

#[test]
fn what_lies_behind_the_bound_is_not_read() {
    let mut text = "User-agent: *\nDisallow: /early\n".to_owned();
    text.push_str(&"#".repeat(ROBOTS_BYTES_MAX - text.len() - 20));
    text.push_str("\nDisallow: /news-of-yesterday\nDisallow: /late\n");
    assert!(!allowed(&text, "x", "/early"));
    assert!(allowed(&text, "x", "/late"));
    // The bound cuts in two what forbids the news of yesterday: half of it would forbid those of today.
    assert!(allowed(&text, "x", "/news-of-today"));
}

#[test]
fn a_line_without_end_is_passed_over() {
    let text = format!("User-agent: *\nDisallow: /{}\nDisallow: /b", "a".repeat(20_000));
    assert!(!allowed(&text, "x", "/b"));
    assert!(allowed(&text, "x", "/a"));
}

#[test]
fn bytes_that_are_no_utf_8_match_their_escapes() {
    let robots = Robots::parse(b"User-agent: *\nDisallow: /caf\xe9");
    assert!(!robots.verdict("x", "/caf%E9").allowed);
}

proptest! {
    #[test]
    fn any_bytes_are_a_robots_txt(bytes in proptest::collection::vec(any::<u8>(), 0..300), path in "\\PC{0,20}") {
        Robots::parse(&bytes).verdict("fallah", &path);
    }

    #[test]
    fn lines_in_any_order_never_panic(
        lines in proptest::collection::vec("(User-agent|Disallow|Allow|Crawl-delay|Sitemap)[: ]{0,2}[a*/$%1.]{0,6}", 0..20),
        path in "/[a*$%]{0,8}",
    ) {
        let robots = Robots::parse(lines.join("\n").as_bytes());
        let verdict = robots.verdict("a", &path);
        prop_assert_eq!(verdict.rule.is_some(), verdict.why == Why::Rule);
        robots.crawl_delay("a");
    }
}
