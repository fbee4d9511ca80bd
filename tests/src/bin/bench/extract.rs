//! What it takes to understand a page, beside parsing it alone.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use fallah::extract::{Page, Rules, decode, extract};
use outbox_tests::{article, text};
use select::document::Document;

use crate::options::Options;
use crate::progress;
use crate::table::{Line, Section, Target, Unit};
use outbox_tests::Samples;

/// Above this the extractor has to keep deep trees from the parser, and so does this program.
const LEVELS_MAX: usize = 512;

pub fn section(options: &Options) -> Result<Section> {
    let pages = match &options.pages {
        Some(folder) => read(folder)?,
        None => made(),
    };
    let (mut parsing, mut both, mut bytes) = <(Samples, Samples, Samples)>::default();
    let rounds = options.rounds();
    for round in 1..=rounds {
        progress::show(&format!("extract: round {round} of {rounds}"));
        for page in &pages {
            let began = Instant::now();
            std::hint::black_box(Document::from(page.as_str()));
            parsing.push(began.elapsed().as_secs_f64() * 1e3);
            let began = Instant::now();
            let page_at = Page { url: "https://example.org/2026/03/04/a", html: page };
            let _ = std::hint::black_box(extract(&page_at, &Rules::default()));
            both.push(began.elapsed().as_secs_f64() * 1e3);
            bytes.push(page.len() as f64 / 1e6);
        }
    }
    let each = |what: &str, of: &Samples| Line::new(what, Unit::Milliseconds, of);
    let slowest = both.percentile(0.99);
    Ok(Section {
        name: "extract",
        conditions: format!(
            "{} pages of {:.0} kB in the middle, on one core; parsing alone by the same library",
            pages.len(),
            bytes.median() * 1e3
        ),
        lines: vec![
            each("parsing a page", &parsing),
            each("parsing and understanding it", &both)
                .target(Target::AtMost(10.0))
                .beside("parsing a page", &parsing)
                .note(format!("one of a hundred takes longer than {slowest:.1} ms")),
        ],
    })
}

/// Pages as news sites make them: some paragraphs among a lot of everything else.
fn made() -> Vec<String> {
    let link = |nth: u32| format!("<li class=\"menu-item\"><a href=\"/{nth}\"><span>Item {nth}</span></a></li>");
    (1..=100)
        .map(|nth| {
            let links: String = (0..nth * 10).map(link).collect();
            let body = (0..nth % 10 + 1).map(text).collect::<Vec<_>>().join("\n\n");
            let script = format!("<script>{}</script>", "var something = {a: [1, 2, 3]};\n".repeat(500));
            article(&format!("Headline number {nth}"), "Salma Haddad", &body)
                .replace("</nav>", &format!("<ul>{links}</ul></nav>"))
                .replace("</footer>", &format!("<ul>{links}</ul></footer>{script}"))
        })
        .collect()
}

/// The pages of a folder, those that the parser alone survives.
fn read(folder: &Path) -> Result<Vec<String>> {
    let mut pages = vec![];
    for file in std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let html = decode(&std::fs::read(file?.path())?, None);
        if html.matches("<div").count() < LEVELS_MAX * 100 {
            pages.push(html);
        }
    }
    Ok(pages)
}
