//! Arabic pages in the markup of widespread systems, written for these tests: titles, bylines and dates.

use super::{names, read};

const STORY: &str = "<p>هطلت الأمطار فجر اليوم على سهول الجنوب للمرة الأولى منذ خمسة أشهر، وخرج المزارعون إلى حقولهم يستقبلونها \
    بعد موسم جاف طويل أنهك الآبار والمراعي.</p><p>وقال رئيس جمعية المزارعين إن الكميات التي سُجلت حتى الظهر تجاوزت ثلاثين \
    مليمترًا في بعض القرى، وإنها تكفي لإنقاذ المحاصيل الصيفية إذا استمرت أيامًا.</p>";

const TITLE: &str = "عودة الأمطار إلى سهول الجنوب بعد غياب";

/// A page of such a head and such lines around its title.
fn page(title: &str, head: &str, above: &str, below: &str) -> String {
    format!(
        "<html lang=ar dir=rtl><head><title>{title}</title>{head}</head><body><header class=site-header><div class=today>الجمعة 31 مايو 2024</div></header>
        <main>{above}<h1>{TITLE}</h1>{below}<div class=entry-content>{STORY}</div></main><footer>جميع الحقوق محفوظة</footer></body></html>"
    )
}

#[test]
fn the_sites_name_is_cut_off_a_title_on_either_side() {
    for title in [
        "عودة الأمطار إلى سهول الجنوب بعد غياب - صحيفة المثال",
        "عودة الأمطار إلى سهول الجنوب بعد غياب | صحيفة المثال",
        "صحيفة المثال | عودة الأمطار إلى سهول الجنوب بعد غياب",
        "عودة الأمطار إلى سهول الجنوب بعد غياب – محليات – صحيفة المثال",
        "صحيفة المثال :: عودة الأمطار إلى سهول الجنوب بعد غياب",
    ] {
        let head =
            format!("<meta property=og:site_name content='صحيفة المثال'><meta property=og:title content='{title}'>");
        let article = read("https://mithal.test/n/1", &page(title, &head, "", ""));
        assert_eq!(article.title.as_deref(), Some(TITLE), "{title}");
    }
}

#[test]
fn bylines_of_every_manner_name_their_people() {
    for (below, want) in [
        ("<div class=byline>بقلم: رنا عودة</div>", vec!["رنا عودة"]),
        ("<div class=author>كتب: سامي العلي</div>", vec!["سامي العلي"]),
        ("<p>كتبت رنا عودة</p>", vec!["رنا عودة"]),
        ("<div class=news-author>تقرير: سامي العلي</div>", vec!["سامي العلي"]),
        ("<span class=writer>إعداد: رنا عودة، سامي العلي</span>", vec!["رنا عودة", "سامي العلي"]),
        ("<div class=byline>رنا عودة، سامي العلي ووليد كامل</div>", vec!["رنا عودة", "سامي العلي", "وليد كامل"]),
        (
            "<div class=meta><a rel=author href=/author/5>رنا عودة</a> - <time>1 مايو 2024</time></div>",
            vec!["رنا عودة"],
        ),
        (
            "<div class='field field--name-field-author'><div class=field__label>الكاتب</div><div class=field__item>رنا عودة</div></div>",
            vec!["رنا عودة"],
        ),
        ("<div class=submitted>بواسطة <span class=username>رنا عودة</span> في 1 مايو 2024</div>", vec!["رنا عودة"]),
        ("<div class=byline>رنا عودة - عمّان الأربعاء 1 مايو 2024</div>", vec!["رنا عودة"]),
        ("<p>تقرير: سامي العلي</p>", vec!["سامي العلي"]),
        ("<p>تقرير يكشف أسرار السدود</p>", vec![]),
        ("<div class=byline>صحيفة المثال - وكالات</div>", vec![]),
        ("<div class=byline>الأربعاء 1 مايو 2024</div>", vec![]),
        ("<div class=author>فريق التحرير</div>", vec![]),
        ("<div class=source>المصدر: رويترز</div>", vec![]),
    ] {
        let head = "<meta property=og:site_name content='صحيفة المثال'>";
        let article = read("https://mithal.test/n/1", &page(TITLE, head, "", below));
        assert_eq!(names(&article), want, "{below}");
    }
}

#[test]
fn dates_of_every_manner_are_read_and_the_day_of_today_is_not() {
    for (above, below) in [
        ("", "<span class='posted-on'><time>الأربعاء، ١ مايو ٢٠٢٤</time></span>"),
        ("", "<div class='field--name-created'>أربعاء, 05/01/2024 - 10:30</div>"),
        ("", "<ul class=info><li>تاريخ النشر: 01-05-2024</li><li>عدد المشاهدات: 20240</li></ul>"),
        ("<div class=date>22 شوال 1445هـ - 1 مايو 2024م</div>", ""),
        ("", "<div>الأربعاء 1 أيار/مايو 2024 الساعة 22:15 بتوقيت القدس</div>"),
        ("", "<p><small>نشر الأربعاء 01 ماي 2024 على الساعة 10:30</small></p>"),
        ("", "<div class=time>2024/05/01 - 10:30 ص</div>"),
    ] {
        let article = read("https://mithal.test/n/1", &page(TITLE, "", above, below));
        let day = article.published_at.map(|m| m.day().to_string());
        assert_eq!(day.as_deref(), Some("2024-05-01"), "{above}{below}");
    }
}
