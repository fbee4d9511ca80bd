//! The page for people: one document with its style and its script in it, made once. It asks the routes as any other caller
//! does, and loads nothing from anywhere.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use sha2::{Digest, Sha256};

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
/// One script, in files of one idea each. The last one begins.
const SCRIPT: [&str; 6] = [
    include_str!("page/words.js"),
    include_str!("page/verdict.js"),
    include_str!("page/charts.js"),
    include_str!("page/calls.js"),
    include_str!("page/dead.js"),
    include_str!("page/page.js"),
];

static PAGE: LazyLock<(String, String)> = LazyLock::new(|| {
    let script = format!("\n\"use strict\";\n{}", SCRIPT.concat());
    let page = HTML.replacen("/* style */", STYLE, 1).replacen("/* script */", &script, 1);
    (page, policy(STYLE, &script))
});

/// What a browser lets the page do: run this very script, look by this very style, ask this relay. No text can become
/// markup, not even by a mistake of ours (`trusted-types`).
fn policy(style: &str, script: &str) -> String {
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        base64(&Sha256::digest(script)),
        base64(&Sha256::digest(style)),
    )
}

pub(crate) async fn page() -> impl IntoResponse {
    let (page, policy) = &*PAGE;
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    ([kind, (header::CONTENT_SECURITY_POLICY, policy.as_str())], page.as_str())
}

fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            text.push(if at <= three.len() { char::from(SIGNS[bits >> (18 - 6 * at) & 63]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_its_standard_says() {
        for (plain, told) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), told);
        }
    }

    #[test]
    fn the_page_is_whole_and_writes_no_markup() {
        let (page, policy) = &*PAGE;
        assert!(page.contains(STYLE) && SCRIPT.iter().all(|part| page.contains(part)));
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " onclick=", "</script><"]
        {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert_eq!(page.matches("<script").count(), 1);
        assert!(
            !page.contains("http://")
                || page.matches("http://").count() == page.matches("http://www.w3.org/2000/svg").count()
        );
        assert!(!policy.contains("inline"));
    }
}
