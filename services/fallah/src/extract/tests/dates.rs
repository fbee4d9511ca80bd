//! Which of several dates on a page is the article's.

use super::read;

const ADDRESS: &str = "https://paper.test/news/story-of-the-day";

const STORY: &str = "<p>The bridge over the lower river opened to traffic on Sunday morning, nine years after the first stone \
    was laid and four years later than planned.</p><p>Drivers who used to spend an hour at the ferry can now cross in two \
    minutes, and the first of them were waiting at the barrier before dawn.</p>";

const STORY_ARABIC: &str = "<p>هطلت الأمطار فجر اليوم على سهول الجنوب للمرة الأولى منذ خمسة أشهر، وخرج المزارعون إلى حقولهم \
    يستقبلونها بعد موسم جاف طويل.</p><p>وقال رئيس جمعية المزارعين إن الكميات التي سُجلت حتى الظهر تجاوزت ثلاثين مليمترًا في \
    بعض القرى.</p>";

/// A page whose data tell the two times, and which shows `line` below its title.
fn page(published: &str, modified: &str, line: &str) -> String {
    format!(
        r#"<html lang="en"><head><title>A bridge opens after nine years</title><script type="application/ld+json">
        {{"@type":"NewsArticle","headline":"A bridge opens after nine years","datePublished":"{published}","dateModified":"{modified}"}}
        </script></head><body><div class="top"><span class="date">Friday, May 31, 2024</span></div>
        <main><article><h1>A bridge opens after nine years</h1>{line}<div class="article-body">{STORY}</div></article></main>
        <aside><h3>Latest</h3><ul><li><a href="/x">Ferry crew saves two</a> <span class="date">May 30, 2024</span></li></ul></aside>
        <footer>Published by the Paper, 1 January 2020</footer></body></html>"#
    )
}

fn arabic(published: &str, line: &str) -> String {
    format!(
        r#"<html lang="ar" dir="rtl"><head><title>عودة الأمطار إلى الجنوب | المثال</title>
        <meta property="og:title" content="عودة الأمطار إلى الجنوب"><meta property="article:published_time" content="{published}">
        </head><body><div class="topbar"><span class="date">الجمعة 31 مايو 2024</span></div>
        <h1>عودة الأمطار إلى الجنوب</h1>{line}<div class="entry-content">{STORY_ARABIC}</div></body></html>"#
    )
}

/// The day, and the time or day of publication.
fn days(html: &str) -> (String, String) {
    let published = read(ADDRESS, html).published_at.expect("a date");
    (published.day().to_string(), published.to_string())
}

#[test]
fn where_data_were_written_anew_the_day_beside_the_title_is_believed() {
    for line in [
        "<time class='entry-date'>March 1, 2024</time>",
        "<p class='meta'><span class='posted-on'>1 March 2024</span></p>",
        "<div class='post-date'>Published on March 1, 2024 | Last updated March 20, 2024</div>",
        "<div class='post-date'>Last updated March 20, 2024. First published March 1, 2024</div>",
        "<div class='dates'><time class='updated' datetime='2024-03-20'>Mar 20, 2024</time> <time class='published'>Mar 1, 2024</time></div>",
        "<div>Updated: <time>20 March 2024</time></div><div>Published: <time>1 March 2024</time></div>",
    ] {
        let html = page("2024-03-20T10:00:00Z", "2024-03-20T10:00:00Z", line);
        assert_eq!(days(&html), ("2024-03-01".to_owned(), "2024-03-01".to_owned()), "{line}");
    }
}

#[test]
fn the_day_of_a_change_beside_the_title_is_not_that_of_publication() {
    for line in [
        "<div class='article-date'>Updated on March 5, 2024</div>",
        "<div class='meta'>Last updated <span><time datetime='2024-03-05T12:00:00Z'>5 March 2024</time></span></div>",
        "<time class='entry-date updated' datetime='2024-03-05T12:00:00Z'>March 5, 2024</time>",
        "<div class='meta'><b>Last modified:</b> <i class='date'>03/05/2024</i></div>",
        "<div>Last updated on - Mar 5, 2024, 08:59</div>",
    ] {
        let html = page("2024-03-04T10:00:00Z", "2024-03-05T12:00:00Z", line);
        assert_eq!(days(&html), ("2024-03-04".to_owned(), "2024-03-04T10:00:00Z".to_owned()), "{line}");
    }
}

#[test]
fn an_old_page_that_was_put_out_anew_is_shown_on_its_new_day_and_keeps_its_first_time() {
    let html = page("2023-10-24T16:43:00Z", "2024-05-02T08:00:00Z", "<p class='date'>Updated on May 2, 2024</p>");
    assert_eq!(days(&html), ("2024-05-02".to_owned(), "2023-10-24T16:43:00Z".to_owned()));
}

#[test]
fn the_zone_in_which_readers_see_the_day_decides() {
    for (published, line, day) in [
        ("2024-03-14T23:30:00-05:00", "", "2024-03-14"),
        ("2024-03-15T04:30:00Z", "<time>March 14, 2024, 11:30 p.m.</time>", "2024-03-14"),
        ("2024-03-15T04:30:00Z", "<p class='date'>Updated Mar 14, 2024 11:40 PM</p>", "2024-03-14"),
        ("2024-03-14T23:30:00-05:00", "<span class='x1'>Mar 15, 2024 4:30 AM</span>", "2024-03-15"),
        ("2024-03-14T22:30:00Z", "<span class='x1'>15 March 2024</span>", "2024-03-15"),
        // In the evening of Greenwich it was nowhere still the day before.
        ("2024-03-14T22:30:00Z", "<span class='x1'>13 March 2024</span>", "2024-03-14"),
    ] {
        assert_eq!(days(&page(published, published, line)), (day.to_owned(), published.to_owned()), "{line}");
    }
}

#[test]
fn a_change_shown_in_the_pages_zone_tells_the_day_of_publication() {
    for (line, day) in [
        ("<p class='date'>Updated Mar 15, 2024 9:45 AM</p>", "2024-03-15"),
        ("<p class='date'>Updated <time datetime='2024-03-15T09:45:30+11:00'>Mar 15</time> 2024</p>", "2024-03-15"),
        ("<p class='date'>Updated Mar 14, 2024 10:45 PM</p>", "2024-03-14"),
        // A clock that has nothing to do with the time of the change.
        ("<p class='date'>Updated Mar 15, 2024 9:21 PM</p>", "2024-03-14"),
    ] {
        let html = page("2024-03-14T21:30:00Z", "2024-03-14T22:45:30Z", line);
        assert_eq!(days(&html), (day.to_owned(), "2024-03-14T21:30:00Z".to_owned()), "{line}");
    }
}

#[test]
fn dates_of_the_frame_and_of_other_articles_change_nothing() {
    let cards = "<div class='related'><time>May 29, 2024</time></div><a href='/b'>May 28, 2024</a>\
        <p>It was promised for March 14, 2024.</p><figure><figcaption>Photo of May 2, 2019</figcaption></figure>";
    assert_eq!(days(&page("2024-03-15T01:00:00Z", "2024-03-15T01:00:00Z", cards)).0, "2024-03-15");
}

#[test]
fn what_holds_the_title_too_is_no_widget() {
    let html = page("2024-03-20T10:00:00Z", "2024-03-20T10:00:00Z", "<time>March 1, 2024</time>")
        .replace("<main>", "<main><div class='widget widget-hero'>")
        .replace("</main>", "</div></main>");
    assert_eq!(days(&html).0, "2024-03-01");
}

#[test]
fn an_attribute_that_names_quite_another_day_is_a_leftover() {
    let line = "<time datetime='2019-09-03'>December 14, 2023 7:30am</time>";
    assert_eq!(days(&page("2024-02-01", "2024-02-01", line)).1, "2023-12-14T07:30:00");
}

#[test]
fn arabic_labels_and_months_of_every_region_are_read_beside_the_title() {
    for line in [
        "<div class='date'>نشر في: 24 نيسان / أبريل 2024</div>",
        "<div class='date'>نُشر: ٢٤ أبريل ٢٠٢٤ - آخر تحديث: ٢ مايو ٢٠٢٤</div>",
        "<div class='date'>آخر تحديث: ٢ مايو ٢٠٢٤ | تاريخ النشر: ٢٤ أبريل ٢٠٢٤</div>",
        "<time>الأربعاء 24 أفريل 2024</time>",
        "<span class='post-time'>٢٤/٤/٢٠٢٤</span>",
        "<time>15 شوال 1445 هـ الموافق 24 أبريل 2024 م</time>",
        "<div class='date'>1445/10/15 هـ - 2024/04/24 م</div>",
        "<div class='date'>الأربعاء ١٥-١٠-١٤٤٥هـ / ٢٤-٠٤-٢٠٢٤م</div>",
        "<div><span>تم التحديث في</span> <time>2 أيار 2024</time></div><div><span>تم النشر في</span> <time>24 نيسان 2024</time></div>",
        "<time class='updated'>2 مايو 2024</time> <time class='published'>24 أبريل 2024</time>",
    ] {
        assert_eq!(days(&arabic("2024-05-02T09:00:00+03:00", line)).0, "2024-04-24", "{line}");
    }
}

#[test]
fn an_arabic_label_of_a_change_is_not_publication() {
    for line in [
        "<div class='date'>آخر تحديث: 5 أيار 2024</div>",
        "<div class='meta'>آخر تحديث <time datetime='2024-05-05T12:00:00Z'>٥ مايو ٢٠٢٤</time></div>",
        "<div class='meta'><span>تم التعديل في</span><span class='date'>5 ماي 2024</span></div>",
    ] {
        assert_eq!(days(&arabic("2024-05-02T09:00:00+03:00", line)).0, "2024-05-02", "{line}");
    }
}

#[test]
fn a_page_without_data_has_the_date_beside_its_title() {
    for (line, want) in [
        ("<div class='meta'>كتب: سامي العلي | ٣ كانون الثاني ٢٠٢٤ - ٩:١٥ مساءً</div>", "2024-01-03T21:15:00"),
        ("<p>تونس في 15 جويلية 2023</p>", "2023-07-15"),
        ("<td><font>1 غشت 2023</font></td>", "2023-08-01"),
        ("<div class='info'>آخر تحديث: 7 آب 2023 <br> نشر: 1 آب 2023</div>", "2023-08-01"),
        ("<div>12 صفر 1445 - 28 آب 2023</div>", "2023-08-28"),
    ] {
        assert_eq!(days(&arabic("", line)).1, want, "{line}");
    }
}
