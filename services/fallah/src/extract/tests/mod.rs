//! What is promised about whole pages.

mod arabic;
mod dates;
mod hostile;
mod mutated;
mod pages;

use super::{Extracted, Page, Rules, decode, extract_at};

fn read(url: &str, html: &str) -> Extracted {
    read_by(url, html, &Rules::default())
}

fn read_by(url: &str, html: &str, rules: &Rules) -> Extracted {
    extract_at(&Page { url, html }, rules, "2026-01-01T00:00:00Z".parse().expect("a time")).expect("an article")
}

fn names(article: &Extracted) -> Vec<&str> {
    article.authors.iter().map(|a| a.name.as_str()).collect()
}

#[test]
fn an_arabic_wordpress_page_is_read_whole() {
    let article = read("https://mithal.test/rain/", pages::YOAST_ARABIC);
    assert_eq!(article.title.as_deref(), Some("عودة الأمطار إلى سهول الجنوب بعد غياب"));
    assert_eq!(names(&article), ["رنا عودة"]);
    assert_eq!(article.published_at.map(|m| m.to_string()).as_deref(), Some("2024-05-01T21:30:00Z"));
    assert_eq!(article.language.as_deref(), Some("ar"));
    assert_eq!(article.section.as_deref(), Some("محليات"));
    assert_eq!(article.tags, ["أمطار", "الجنوب"]);
    let body = &article.body;
    assert!(body.starts_with("هطلت الأمطار فجر اليوم"), "{body}");
    assert!(body.ends_with("قبل ساعات الذروة."), "{body}");
    assert!(body.contains("\n\nتوقعات الأيام المقبلة\n\n"), "{body}");
    for noise in ["اقرأ أيض", "تعليق", "شارك", "الآبار تجف", "تصوير", "الحقوق", "الأكثر"]
    {
        assert!(!body.contains(noise), "{noise}: {body}");
    }
}

#[test]
fn the_day_is_the_one_that_readers_see() {
    let article = read("https://mithal.test/rain/", pages::YOAST_ARABIC);
    assert_eq!(article.published_at.map(|m| m.day().to_string()).as_deref(), Some("2024-05-02"));
}

#[test]
fn a_yoast_author_with_an_empty_name_is_nobody() {
    let html = pages::YOAST_ARABIC.replace("كتبت: <a href=\"/author/rana\" rel=\"author\">رنا عودة</a>", "");
    assert_eq!(names(&read("https://mithal.test/rain/", &html)), Vec::<&str>::new());
}

#[test]
fn an_arabic_agency_page_names_nobody_and_keeps_its_text_alone() {
    let article = read("https://agency.test/5", pages::AGENCY_ARABIC);
    assert_eq!(article.title.as_deref(), Some("وزير المياه: مخزون السدود يرتفع إلى النصف"));
    assert_eq!(names(&article), Vec::<&str>::new());
    assert_eq!(article.published_at.map(|m| m.to_string()).as_deref(), Some("2020-10-07T12:09:00"));
    assert_eq!(article.language.as_deref(), Some("ar"));
    assert_eq!(article.body.split("\n\n").count(), 2, "{}", article.body);
    assert!(
        article.body.starts_with("قال وزير المياه") && article.body.ends_with("أكثر من غيرها."),
        "{}",
        article.body
    );
}

#[test]
fn an_old_page_in_windows_1256_is_read() {
    let bytes = encoding_rs::WINDOWS_1256.encode(pages::OLD_ARABIC).0;
    let article = read("http://www.example.test/n.aspx?id=5", &decode(&bytes, None));
    assert_eq!(article.title.as_deref(), Some("انتخاب رئيس جديد لنقابة المعلمين"));
    assert_eq!(names(&article), ["سامي العلي"]);
    assert_eq!(article.published_at.map(|m| m.to_string()).as_deref(), Some("2008-04-24T09:15:00"));
    let paragraphs: Vec<&str> = article.body.split("\n\n").collect();
    assert_eq!(paragraphs.len(), 3, "{}", article.body);
    assert!(paragraphs[0].starts_with("انتخبت الهيئة العامة") && paragraphs[2].ends_with("للسنتين القادمتين."));
}

#[test]
fn the_zone_of_a_rule_makes_a_local_time_an_instant() {
    let rules: Rules = toml::from_str("time_zone = '+03:00'").expect("rules");
    let article = read_by("http://www.example.test/n.aspx?id=5", pages::OLD_ARABIC, &rules);
    assert_eq!(article.published_at.map(|m| m.to_string()).as_deref(), Some("2008-04-24T09:15:00+03:00"));
}

#[test]
fn a_live_page_keeps_its_entries_and_names_nobody() {
    let article = read("https://www.exampletimes.test/live/storm", pages::LIVE);
    assert_eq!(names(&article), Vec::<&str>::new());
    for part in ["14:05", "The harbour", "Power is out", "Schools have"] {
        assert!(article.body.contains(part), "{part}: {}", article.body);
    }
}

#[test]
fn an_amp_page_is_read_without_its_advertisement() {
    let article = read("https://www.n.test/2023/11/05/bridge/amp", pages::AMP);
    assert_eq!(names(&article), ["Ann Lee", "Bo Cruz"]);
    assert_eq!(article.canonical_url.as_deref(), Some("https://www.n.test/2023/11/05/bridge"));
    assert_eq!(article.published_at.map(|m| m.to_string()).as_deref(), Some("2023-11-05T08:00:00-05:00"));
    assert!(
        article.body.starts_with("The bridge over") && article.body.ends_with("with the port."),
        "{}",
        article.body
    );
    assert!(!article.body.contains("discount"));
}

#[test]
fn boxes_of_page_builders_are_no_noise_but_cards_and_biographies_are() {
    let article = read("https://valleypost.test/mill", pages::BUILDER);
    assert_eq!(article.title.as_deref(), Some("Why the old mill still turns"));
    assert_eq!(names(&article), ["Ivy Marsh"]);
    assert_eq!(article.published_at.map(|m| m.to_string()).as_deref(), Some("2024-03-03"));
    let body = &article.body;
    assert!(body.starts_with("The mill at the end") && body.ends_with("open to visitors on Sundays."), "{body}");
    assert!(body.contains("You can hear when it is content"), "{body}");
    assert!(!body.contains("nobody asked") && !body.contains("with a dog"), "{body}");
}

#[test]
fn a_text_that_only_json_ld_has_is_taken_from_there() {
    let article = read("https://n.test/ferry", pages::SCRIPTED);
    assert_eq!(article.title.as_deref(), Some("Ferry crew saves two swimmers"));
    assert_eq!(names(&article), ["Bo Cruz"]);
    assert_eq!(article.body.split("\n\n").count(), 2, "{}", article.body);
}

#[test]
fn rules_stand_above_what_the_page_says() {
    let rules: Rules = toml::from_str(
        "title = '.amp-wp-byline'\nauthors = 'amp-ad p'\nbody = 'header'\npublished_at = 'link@href'\nsection = 'html@lang'\nlanguage = 'fr'\ndrop = 'h1'",
    )
    .expect("rules");
    let article = read_by("https://www.n.test/x", pages::AMP, &rules);
    assert_eq!(article.title.as_deref(), Some("By Ann Lee and Bo Cruz"));
    assert_eq!(article.section.as_deref(), Some("en"));
    assert_eq!(article.language.as_deref(), Some("fr"));
    assert!(!article.body.contains("A bridge opens"), "{}", article.body);
}

#[test]
fn what_is_no_page_is_refused_with_a_reason() {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let why =
        |html: &str| extract_at(&Page { url: "", html }, &Rules::default(), now).expect_err("no page").to_string();
    assert_eq!(why(" \u{feff}\n"), "the page is empty");
    assert_eq!(why("{\"a\": \"<p>\"}"), "the page is not HTML");
    assert!(why(&"<p>".repeat(6 << 20)).contains("are not read"));
}
