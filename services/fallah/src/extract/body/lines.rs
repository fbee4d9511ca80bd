//! The lines of a body, without those that are not its text: a repeated title, a byline, a pointer to another article.

/// What a line is on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    Paragraph,
    Heading,
    Item,
    Row,
    Pre,
}

/// A line of the body.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) kind: LineKind,
    /// Letters, and those that stand in links.
    pub(super) chars: u32,
    pub(super) linked: u32,
    /// It goes on the paragraph before, behind a single line break.
    pub(super) soft: bool,
}

/// Lines among which a date is the article's own.
const FRONT_LINES: usize = 4;
/// A line of this many letters is taken for a sentence.
const SENTENCE_CHARS_MIN: usize = 60;

/// Drops what is not text and joins the rest.
pub(super) fn finish(mut lines: Vec<Line>, title: Option<&str>, names: &[String]) -> String {
    drop_pointers(&mut lines);
    lines.retain(|line| {
        let told = line.text.chars().any(char::is_alphanumeric);
        told && !is_small_print(line) && !is_call(line) && !is_bracketed(line)
    });
    drop_link_runs(&mut lines);
    drop_biography(&mut lines, names);
    drop_front(&mut lines, title, names);
    drop_empty_headings(&mut lines);
    let mut out = String::new();
    let mut last: Option<&Line> = None;
    for line in &lines {
        if let Some(before) = last {
            if before.text == line.text && line.chars > 20 {
                continue;
            }
            let tight = line.soft || before.kind == line.kind && matches!(line.kind, LineKind::Item | LineKind::Row);
            out.push_str(if tight { "\n" } else { "\n\n" });
        }
        out.push_str(&line.text);
        last = Some(line);
    }
    out
}

/// Drops pointers to other pages, and the label above them: "Read also:".
fn drop_pointers(lines: &mut Vec<Line>) {
    let mut kept: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines.drain(..) {
        if is_pointer(&line) {
            while kept.last().is_some_and(|l| is_colon_label(&l.text)) {
                kept.pop();
            }
        } else {
            kept.push(line);
        }
    }
    *lines = kept;
}

fn is_colon_label(text: &str) -> bool {
    text.trim_end().ends_with([':', '：']) && text.chars().count() < 40
}

/// A line that is a link and nothing more, or a label and a link: "Read also: ...".
fn is_pointer(line: &Line) -> bool {
    if line.linked == 0 || matches!(line.kind, LineKind::Pre | LineKind::Row) {
        return false;
    }
    let plain = line.chars - line.linked;
    match line.kind {
        LineKind::Heading | LineKind::Item => false,
        _ => plain * 10 <= line.chars || (plain < 20 && plain * 3 < line.chars && ends_label(line)),
    }
}

/// Who owns the text, in the form that lawyers of all countries share.
fn is_small_print(line: &Line) -> bool {
    const SMALL_PRINT_CHARS_MAX: usize = 250;
    let lower = line.text.to_lowercase();
    let marked = lower.starts_with('©')
        || lower.starts_with("copyright")
        || lower.starts_with("(c) ")
        || lower.contains("all rights reserved")
        || lower.contains("جميع الحقوق محفوظة")
        || lower.contains("alle rechte vorbehalten")
        || lower.contains("tous droits réservés")
        || lower.contains("todos los derechos reservados");
    marked && line.text.chars().count() <= SMALL_PRINT_CHARS_MAX
}

/// A line with a link that asks readers to do something other than to read.
fn is_call(line: &Line) -> bool {
    const CALL_CHARS_MAX: usize = 260;
    const WORDS: &[&str] = &[
        "newsletter",
        "sign up",
        "subscribe",
        "follow us",
        "النشرة البريدية",
        "نشرتنا",
        "تابعونا",
        "تابعنا",
        "اشترك",
        "انضم إلى قناة",
        "abonnez",
        "suscríbete",
        "suscribete",
        "jetzt abonnieren",
    ];
    if line.linked == 0 || line.text.chars().count() > CALL_CHARS_MAX {
        return false;
    }
    let lower = line.text.to_lowercase();
    WORDS.iter().any(|w| lower.contains(w))
}

/// "(Photo: somebody)" on a line of its own.
fn is_bracketed(line: &Line) -> bool {
    let around = [('[', ']'), ('(', ')')].iter().any(|(a, b)| line.text.starts_with(*a) && line.text.ends_with(*b));
    around && line.text.chars().count() < 100 && !line.text[1..line.text.len() - 1].contains(['(', '['])
}

/// A run of items that are links and nothing else is a list of other pages, and so is the label above it.
fn drop_link_runs(lines: &mut Vec<Line>) {
    let is_link = |l: &Line| l.kind == LineKind::Item && l.linked * 10 >= l.chars * 9;
    let mut keep = vec![true; lines.len()];
    let mut at = 0;
    while at < lines.len() {
        if lines[at].kind != LineKind::Item {
            at += 1;
            continue;
        }
        let end = (at..lines.len()).find(|&n| lines[n].kind != LineKind::Item).unwrap_or(lines.len());
        if lines[at..end].iter().all(is_link) {
            keep[at..end].fill(false);
            // "Read next:" above the list.
            if at > 0 && is_colon_label(&lines[at - 1].text) {
                keep[at - 1] = false;
            }
        }
        at = end;
    }
    let mut n = 0;
    lines.retain(|_| {
        n += 1;
        keep[n - 1]
    });
}

/// Behind the text stands who wrote it, in the third person.
fn drop_biography(lines: &mut Vec<Line>, names: &[String]) {
    const LINES_MAX: usize = 5;
    const CHARS_MAX: usize = 500;
    let from = lines.len().saturating_sub(LINES_MAX).max(lines.len() / 2);
    let mut n = 0;
    lines.retain(|line| {
        n += 1;
        let start = line.text.trim_start_matches(|c: char| !c.is_alphanumeric());
        let of_author = names.iter().any(|name| name.contains(' ') && start.starts_with(name.as_str()));
        let address = line.text.contains('@') && !line.text.contains('“') && !line.text.contains('"');
        !(n > from
            && line.kind == LineKind::Paragraph
            && line.text.chars().count() < CHARS_MAX
            && (of_author || address))
    });
}

/// Whether what stands before the link ends like a label.
fn ends_label(line: &Line) -> bool {
    let head: String = line.text.chars().take(40).collect();
    head.contains([':', '»', '>', '|', '←', '→', '：'])
}

/// Above the first sentence stand the title again, bylines, dates and labels.
fn drop_front(lines: &mut Vec<Line>, title: Option<&str>, names: &[String]) {
    let fold = crate::extract::site::fold;
    let title = title.map(fold).unwrap_or_default();
    let names: Vec<String> = names.iter().map(|n| fold(n)).collect();
    let first = lines.iter().position(is_sentence).unwrap_or(0);
    let mut at = 0;
    lines.retain(|line| {
        at += 1;
        let text = fold(&line.text);
        if !title.is_empty() && text == title {
            return false;
        }
        if at > first {
            // A date may stand below the deck.
            return !(at <= FRONT_LINES && is_date(&line.text));
        }
        let byline = names.iter().any(|n| text.contains(n.as_str()));
        !(byline || line.kind == LineKind::Paragraph && is_label(&line.text))
    });
}

/// Many digits among few letters.
fn is_date(text: &str) -> bool {
    let count = text.chars().count();
    count < 50 && text.chars().filter(|c| c.is_numeric()).count() >= 6
}

/// A short line, or one of date and time.
fn is_label(text: &str) -> bool {
    let count = text.chars().count();
    count < 30 || (count < 70 && text.chars().filter(|c| c.is_numeric()).count() >= 4)
}

fn is_sentence(line: &Line) -> bool {
    line.kind != LineKind::Heading && line.text.chars().count() >= SENTENCE_CHARS_MIN
}

/// A heading with nothing below headed something that was dropped, and so did a label or a button.
fn drop_empty_headings(lines: &mut Vec<Line>) {
    const LINES_MIN: usize = 3;
    const LABEL_CHARS_MAX: usize = 30;
    let is_over = |line: &Line| {
        let text = line.text.trim_end();
        let ended = text.ends_with(['.', '!', '?', '؟', '…', '"', '”', '’', '\'', '»', ')', '。', '*', '۔', '“']);
        let label = text.ends_with([':', '：']) || (!ended && text.chars().count() < LABEL_CHARS_MAX);
        line.kind == LineKind::Heading || line.kind == LineKind::Paragraph && label && !line.soft
    };
    while lines.last().is_some_and(|l| l.kind == LineKind::Heading || lines.len() > LINES_MIN && is_over(l)) {
        lines.pop();
    }
}
