//! What readers type, and what they expect to find: above all in Arabic, where one word is written in many ways.

use std::collections::BTreeSet;

use outbox_tests::{Reading, Told, told};
use serde_json::Value;

/// Articles of our own making: (path, title, lead, body).
const ARABIC: [(&str, &str, &str, &str); 12] = [
    (
        "school",
        "افتتاح مدرسة جديدة في الخليل",
        "افتتحت وزارة التربية والتعليم مدرسةً تضم ٢٤ صفًّا.",
        "قال مُحَمَّد الأحمد، مدير التربية، إنّ المدرسة ستستقبل الطلاب مع بداية العام الدراسي.\n\nوأضاف أن البناء تم بدعم من الأهالي.",
    ),
    (
        "hospital",
        "المستشفى الحكومي يستقبل أجهزة حديثة",
        "وصلت إلى مستشفى المدينة أجهزة للتصوير.",
        "أوضح المسؤولون أن الأجهزة ستخفف عن المرضى عناء السفر.\n\nوشكرت رئيسة القسم كل من أسهم في ذلك.",
    ),
    (
        "budget",
        "الحكومة تقرّ موازنة ٢٠٢٦",
        "أقرّت الحكومة الموازنة بعد نقاش طويل.",
        "وقال رئيس الوزراء إن الموازنة تراعي الأولويات، وإن العجز لن يتجاوز ٥٪.\n\nوللجنة المالية أن تنظر في المشروع خلال أسبوع.",
    ),
    (
        "olives",
        "موسم الزيتون يبدأ مبكرًا",
        "بدأ المزارعون قطاف الزيتون هذا العام قبل موعده.",
        "ويقول المزارعون إن كمية الزيت ستكون أقل بالمقارنة مع العام الماضي، والأسعار أعلى.",
    ),
    (
        "library",
        "مكتبة البلدية تفتح أبوابها للأطفال",
        "آلاف الكتب في انتظار القرّاء الصغار.",
        "تضم المكتبة العــامة قسمًا للكتاب المصوّر، وآخر للقصة. وبالكتاب وحده تبدأ الرحلة، كالكتاب الأول الذي قرأناه.",
    ),
    (
        "port",
        "عودة الصيادين إلى الميناء",
        "عاد الصيادون فجر اليوم بعد انقطاع دام أيامًا.",
        "وفالميناء حركة لم يشهدها منذ شهور؛ والصيادون يأملون أن تستقر الأحوال.",
    ),
    (
        "parents",
        "مجلس أولياء الأمور يجتمع بالمعلمين",
        "ناقش الاجتماع سبل التواصل مع الوالدين.",
        "وأكدت المرشدة أن والدين متعاونين يصنعان الفرق.",
    ),
    (
        "water",
        "انقطاع المياه عن أحياء الشمال",
        "أعلنت مصلحة المياه انقطاع الماء مدة يومين.",
        "ودعت السكان إلى ترشيد الاستهلاك إلى حين انتهاء أعمال الصيانة في الخط الرئيسي.",
    ),
    (
        "league",
        "فريق الشباب يتأهل إلى النهائي",
        "تأهل الفريق بعد فوزه بركلات الترجيح.",
        "وأحرز اللاعب علي الهدف الأول في الدقيقة ٨٨، وشهدت المباراة حضورًا كبيرًا للجمهور في شؤون التشجيع.",
    ),
    (
        "germany",
        "وفد من ألمانيا يزور الجامعة",
        "التقى الوفد الألماني أساتذة كلية الهندسة.",
        "وبحث الجانبان التزام الطرفين باتفاقية تبادل الطلبة، والالتزام بمواعيدها. وقال الوفد إنه يتطلع إلى مؤتمر مشترك.",
    ),
    (
        "opinion",
        "هذا رأيي: عن القراءة والوقت",
        "لا شيء يغني عن القراءة.",
        "قال الله تعالى: اقرأ. وللقراءة وقتها، وللوقت أهله. والإسلام حثّ على العلم.",
    ),
    (
        "clock",
        "الساعة القديمة في ساحة البلدة تدق من جديد",
        "أصلح حِرَفيّ من البلدة الساعةَ بعد توقفها عشرين سنة.",
        "قالت البلدية إنّ آثار البلدة القديمة تستحق العناية، وإنّ الإصلاح كلّف ١٬٢٠٠ دينار.",
    ),
];

const ENGLISH: [(&str, &str, &str, &str); 3] = [
    (
        "en-port",
        "The old port opens again",
        "Ships return after ten years.",
        "The prime minister opened the port on Monday. Café owners hope for guests.",
    ),
    (
        "en-minister",
        "A quiet week in parliament",
        "Little was decided.",
        "The minister spoke. Prime time was over when the vote came; the port was not mentioned again.",
    ),
    (
        "en-bread",
        "What bread costs",
        "Prices of flour rise.",
        "A loaf of bread costs 12 cents more than in 2025, bakers say.",
    ),
];

/// What a reader types, and which articles they expect among those found.
const EXPECTED: [(&str, &[&str]); 62] = [
    // Marks and tatweel, on either side.
    ("محمد", &["school"]),
    ("مُحَمَّد", &["school"]),
    ("مـحـمـد", &["school"]),
    ("العامة", &["library"]),
    ("مدرسةً", &["school"]),
    ("حرفي", &["clock"]),
    ("القرّاء", &["library"]),
    // Forms of alef and hamza.
    ("الاحمد", &["school"]),
    ("أحمد", &["school"]),
    ("احمد", &["school"]),
    ("اجهزة", &["hospital"]),
    ("إجهزة", &["hospital"]),
    ("الاف الكتب", &["library"]),
    ("اثار", &["clock"]),
    ("المانيا", &["germany"]),
    ("الإسلام", &["opinion"]),
    ("اسلام", &["opinion"]),
    ("مسئولون", &["hospital"]),
    ("المسوولون", &["hospital"]),
    ("شئون", &["league"]),
    ("موتمر", &["germany"]),
    ("رييس", &["budget"]),
    ("شئ", &["opinion"]),
    ("الاصلاح", &["clock"]),
    // Ta marbuta and alef maqsura.
    ("مدرسه", &["school"]),
    ("رئيسه القسم", &["hospital"]),
    ("موازنه", &["budget"]),
    ("مستشفي", &["hospital"]),
    ("مستشفى", &["hospital"]),
    ("المرضي", &["hospital"]),
    ("القديمه", &["clock"]),
    ("الماليه", &["budget"]),
    // The article, and what stands before it.
    ("مدرسة", &["school"]),
    ("المدرسة", &["school"]),
    ("والمدرسة", &["school"]),
    ("كتاب", &["library"]),
    ("الكتاب", &["library"]),
    ("للكتاب", &["library"]),
    ("بالكتاب", &["library"]),
    ("كالكتاب", &["library"]),
    ("وبالكتاب", &["library"]),
    ("مقارنة", &["olives"]),
    ("اسعار", &["olives"]),
    ("الأسعار", &["olives"]),
    ("ميناء", &["port"]),
    ("صيادون", &["port"]),
    ("لجنة", &["budget"]),
    ("اللجنة المالية", &["budget"]),
    ("جمهور", &["league"]),
    ("الالتزام", &["germany"]),
    ("التزام", &["germany"]),
    ("وقت", &["opinion"]),
    // Digits.
    ("2026", &["budget"]),
    ("٢٠٢٦", &["budget"]),
    ("۲۰۲۶", &["budget"]),
    ("88", &["league"]),
    ("24", &["school"]),
    ("1,200", &["clock"]),
    // Phrases, and a last word that is not finished.
    ("\"رئيس الوزراء\"", &["budget"]),
    ("«وزارة التربية»", &["school"]),
    ("المزارع", &["olives"]),
    ("مصلحة الميا", &["water"]),
];

/// And what must not be found by it.
const UNEXPECTED: [(&str, &[&str]); 14] = [
    ("دين ", &["parents"]),
    ("ما ", &["water"]),
    ("\"الوزراء رئيس\"", &["budget"]),
    ("«التربية وزارة»", &["school"]),
    ("جنوب", &["water"]),
    ("كتابة ", &["library"]),
    ("2025 ", &["budget"]),
    ("8 ", &["league"]),
    ("زيت ", &["port", "school"]),
    ("مدرسة كتاب", &["school", "library"]),
    ("\"prime minister\"", &["en-minister"]),
    ("bread port", &["en-bread", "en-port"]),
    ("له ", &["opinion"]),
    ("الان ", &["parents", "olives"]),
];

async fn library() -> Reading {
    let reading = Reading::open().await;
    let of = |language: &str, (path, title, lead, body): (&str, &str, &str, &str)| {
        told(path, 1, title, body).lead(lead).language(language).export()
    };
    let mut events: Vec<_> = ARABIC.into_iter().map(|one| of("ar", one)).collect();
    events.extend(ENGLISH.into_iter().map(|one| of("en", one)));
    put(&reading, &events);
    reading
}

/// Through the verb that reads an export, which needs no stream.
fn put(reading: &Reading, events: &[contract::Export]) {
    let lines: Vec<_> = events.iter().map(|event| serde_json::to_string(event).expect("JSON")).collect();
    let file = reading.file().with_extension("ndjson");
    std::fs::write(&file, lines.join("\n")).expect("written");
    let output = reading.verb(&["rebuild", "--without-end", "--from-hasad", file.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn found(reading: &Reading, query: &str, flags: &[&str]) -> Value {
    reading.json(&[&["search", "--json", "--size", "100", query][..], flags].concat())
}

fn paths(found: &Value) -> Vec<String> {
    let hits = found["hits"].as_array().expect("a list").iter();
    hits.map(|hit| hit["source_url"].as_str().expect("an address").rsplit('/').next().expect("a path").to_owned())
        .collect()
}

#[tokio::test]
async fn what_a_reader_would_expect_is_found_however_it_is_written() {
    let reading = library().await;
    let mut missed = vec![];
    for (query, expected) in EXPECTED {
        let found = paths(&found(&reading, query, &[]));
        if let Some(path) = expected.iter().find(|path| !found.iter().any(|one| one == *path)) {
            missed.push(format!("{query}: not {path}, only {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{} of {} queries miss: {missed:#?}", missed.len(), EXPECTED.len());
}

#[tokio::test]
async fn what_nobody_asked_for_is_not_found() {
    let reading = library().await;
    let mut wrong = vec![];
    for (query, unexpected) in UNEXPECTED {
        let found = paths(&found(&reading, query, &[]));
        wrong.extend(
            unexpected
                .iter()
                .filter(|path| found.iter().any(|one| one == *path))
                .map(|path| format!("{query}: {path}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn english_is_found_without_its_case_and_diacritics() {
    let reading = library().await;
    for (query, path) in [
        ("PORT", "en-port"),
        ("cafe", "en-port"),
        ("Café", "en-port"),
        ("\"prime minister\"", "en-port"),
        ("loaf BREAD", "en-bread"),
    ] {
        assert!(paths(&found(&reading, query, &[])).contains(&path.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn a_word_in_a_title_ranks_above_a_lead_above_a_body_and_equals_by_their_date() {
    let reading = Reading::open().await;
    let filler = "كلمات كثيرة لا تعني شيئا هنا ".repeat(10);
    let of = |path: &str, title: &str, lead: &str, body: &str, day: u8| -> contract::Export {
        let lead = format!("{lead} مقدمة");
        Told::published(
            told(path, 1, title, &format!("{filler}{body}")).lead(&lead),
            &format!("2026-01-{day:02}T00:00:00Z"),
        )
        .export()
    };
    put(
        &reading,
        &[
            of("body-new", "خبر", "", "زلزال", 28),
            of("body-many", "خبر", "", &"زلزال ".repeat(12), 3),
            of("lead", "خبر", "زلزال", "", 2),
            of("title-old", "زلزال اليوم", "", "", 1),
            of("title-new", "زلزال أمس", "", "", 9),
            of("title-middle", "زلزال غدا", "", "", 5),
        ],
    );
    let order = paths(&found(&reading, "الزلزال", &[]));
    assert_eq!(order, ["title-new", "title-middle", "title-old", "lead", "body-many", "body-new"]);
}

#[tokio::test]
async fn filters_and_pages_leave_nothing_out_and_nothing_in() {
    let reading = Reading::open().await;
    let events: Vec<_> = (1..=28_u64)
        .map(|n| {
            let source = if n % 2 == 0 { "daily" } else { "weekly" };
            let one =
                told(&format!("{n}"), 1, "خبر الميناء", "نص").source(source).by(&format!("كاتب {}", n % 3), None);
            let one = one.published(&format!("2026-01-{n:02}T12:00:00+02:00"));
            if n % 4 == 0 { one.language("fa").export() } else { one.export() }
        })
        .collect();
    put(&reading, &events);
    let ids = |flags: &[&str]| -> BTreeSet<u64> {
        paths(&found(&reading, "ميناء", flags)).iter().map(|path| path.parse().expect("a number")).collect()
    };
    assert_eq!(ids(&["--source", "daily"]), (1..=28).filter(|n| n % 2 == 0).collect());
    assert_eq!(ids(&["--language", "fa"]), (1..=28).filter(|n| n % 4 == 0).collect());
    assert_eq!(
        ids(&["--from", "2026-01-10", "--until", "2026-01-12"]),
        (10..=12).collect(),
        "both days belong to it"
    );
    assert_eq!(ids(&["--until", "2026-01-03T10:00:00Z"]), (1..=2).collect(), "a time does not");
    let people = reading.json(&["authors", "list", "كاتب 1", "--source", "daily", "--json"]);
    let author = people[0]["id"].to_string();
    assert_eq!(ids(&["--author", &author]), (1..=28).filter(|n| n % 2 == 0 && n % 3 == 1).collect());
    assert_eq!(ids(&["--source", "daily", "--language", "ar", "--from", "2026-01-20"]), [22, 26].into());

    let mut seen = vec![];
    for page in 1..=6 {
        let page = reading.json(&["search", "ميناء", "--json", "--size", "5", "--page", &page.to_string()]);
        assert_eq!(page["total"], 28);
        seen.extend(paths(&page));
    }
    let different: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), different.len()), (28, 28), "each once");
}

#[tokio::test]
async fn what_is_shown_is_the_original_with_its_marks() {
    let reading = library().await;
    let found = found(&reading, "محمد", &[]);
    let snippet = &found["hits"][0]["snippet"];
    let letters: Vec<char> = snippet["text"].as_str().expect("a text").chars().collect();
    let marked: Vec<String> = snippet["marks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|mark| {
            let at = |nth: usize| mark[nth].as_u64().expect("a place") as usize;
            letters[at(0)..at(1)].iter().collect()
        })
        .collect();
    assert_eq!(marked, ["مُحَمَّد"]);
    let titled = self::found(&reading, "المدرسه", &[]);
    assert_eq!(titled["hits"][0]["title_marks"], serde_json::json!([[7, 12]]));
}

#[tokio::test]
async fn a_word_that_is_everywhere_still_finds_titles_first() {
    let reading = Reading::open().await;
    let many: Vec<_> = (0..2_500).map(|n| told(&format!("{n}"), 1, "خبر", "في المدينة اليوم").export()).collect();
    let mut events = vec![told("oldest", 1, "المدينة القديمة", "نص").published("2020-01-01").export()];
    events.extend(many);
    put(&reading, &events);
    let found = reading.json(&["search", "المدينة", "--json"]);
    assert_eq!(paths(&found)[0], "oldest");
    assert_eq!(found["more"], true);
}
