//! Pages as a news site makes them: with a byline, a date, what machines read, and what surrounds every article.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::json;

use super::script::{self, Shown};
use super::{Clock, address};

const SITE: &str = "The Harbour Post";
const SITE_ARABIC: &str = "بريد الميناء";

const STYLE: &str = "body{margin:0;font:1.05rem/1.65 Georgia,'Noto Naskh Arabic',serif;background:#f7f5f0;color:#1d2530}\
 header,main,footer{max-width:42rem;margin:0 auto;padding:1rem 1.25rem}header{border-bottom:3px double #1d2530}\
 header a{font-weight:700;font-size:1.5rem;color:inherit;text-decoration:none}header nav{font-size:.9rem;color:#5d6672}\
 h1{line-height:1.25}.byline,time,footer{color:#5d6672;font-size:.92rem}main ul{padding-inline-start:1.2rem}a{color:#1c4f78}";

/// An article.
pub(super) fn article(clock: &Clock, shown: &Shown) -> String {
    let text = &shown.text;
    let (published, url) = (clock.day(shown.published), at(clock, shown));
    let arabic = text.language == "ar";
    // No date of a change: the sitemap has it, and what is taken back is the same page again.
    let about = json!({
        "@context": "https://schema.org", "@type": "NewsArticle", "headline": text.title, "inLanguage": text.language,
        "datePublished": published.to_string(), "articleSection": text.section, "mainEntityOfPage": url,
        "author": [{ "@type": "Person", "name": text.author }],
        "publisher": { "@type": "NewsMediaOrganization", "name": SITE },
    });
    // A text with a closing tag in it would end the script.
    let about = about.to_string().replace("</", "<\\/");
    let head = html! {
        meta property="og:type" content="article";
        meta property="og:site_name" content=(SITE);
        meta property="og:title" content=(text.title);
        meta property="article:published_time" content=(published);
        link rel="canonical" href=(url);
        script type="application/ld+json" { (PreEscaped(about)) }
    };
    frame(
        &text.title,
        text.language,
        head,
        html! {
            article {
                h1 { (text.title) }
                p.byline { @if arabic { "بقلم " } @else { "By " } span.author rel="author" { (text.author) } " · "
                    time datetime=(published) { (published.strftime("%Y-%m-%d %H:%M")) } }
                @for paragraph in &text.paragraphs { p { (paragraph) } }
            }
        },
    )
}

/// The newest articles.
pub(super) fn front(clock: &Clock) -> String {
    let mut all = script::at(clock.second());
    all.retain(|shown| !shown.gone);
    all.sort_by_key(|shown| std::cmp::Reverse(shown.published));
    frame(
        "Front page",
        "en",
        html! {},
        html! {
            h1 { "Marsa Qamar today" }
            ul { @for shown in &all { li { a href=(at(clock, shown)) { bdi { (shown.text.title) } } } } }
        },
    )
}

/// Nothing, or nothing any more.
pub(super) fn nothing(sentence: &str) -> String {
    frame(sentence, "en", html! {}, html! { h1 { (sentence) } p { a href="/" { "Front page" } } })
}

/// What is there, and when it last changed.
pub(super) fn sitemap(clock: &Clock) -> String {
    let all = script::at(clock.second());
    let entries = all.iter().filter(|shown| !shown.gone).map(|shown| {
        format!("<url><loc>{}</loc><lastmod>{}</lastmod></url>\n", at(clock, shown), clock.day(shown.changed))
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n{}</urlset>\n",
        entries.collect::<String>()
    )
}

/// Everybody may read everything.
pub(super) fn robots(clock: &Clock) -> String {
    format!("User-agent: *\nAllow: /\n\nSitemap: {}/sitemap.xml\n", address(clock))
}

fn at(clock: &Clock, shown: &Shown) -> String {
    format!("{}/news/{}", address(clock), shown.slug)
}

fn frame(title: &str, language: &str, head: Markup, main: Markup) -> String {
    let direction = if language == "ar" { "rtl" } else { "ltr" };
    let page = html! {
        (DOCTYPE)
        html lang=(language) dir=(direction) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " - " (SITE) }
                (head)
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { a href="/" { (SITE) " · " (SITE_ARABIC) } nav { "Harbour · Town · Sport · Culture" } }
                main { (main) }
                footer { "A made-up newspaper of a made-up town. It comes with the pipeline, and is served to this machine alone." }
            }
        }
    };
    page.into_string()
}
