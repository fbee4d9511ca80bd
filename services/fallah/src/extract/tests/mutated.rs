//! Pages that were cut, flipped and shuffled on their way.

use proptest::prelude::*;

use super::pages;
use crate::extract::{Page, Rules, decode, extract};

const PAGES: &[&str] = &[
    pages::YOAST_ARABIC,
    pages::OLD_ARABIC,
    pages::AGENCY_ARABIC,
    pages::LIVE,
    pages::AMP,
    pages::BUILDER,
    pages::SCRIPTED,
];

fn rules() -> Rules {
    toml::from_str(
        "body = 'article p, td, .x > *'\ndrop = 'div div .y'\npublished_at = 'time@datetime'\ntime_zone = '+03:00'",
    )
    .expect("rules")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_damage_makes_it_panic(
        page in 0..PAGES.len(),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 0..40),
        moves in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_usize..80), 0..12),
    ) {
        let mut bytes = PAGES[page].as_bytes().to_vec();
        for (at, bit) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        for (from, to, len) in &moves {
            let from = from.index(bytes.len());
            let piece = bytes[from..bytes.len().min(from + len)].to_vec();
            let to = to.index(bytes.len());
            bytes.splice(to..to, piece);
        }
        bytes.truncate(cut.index(bytes.len()) + bytes.len() / 4);
        let html = decode(&bytes, None);
        for rules in [Rules::default(), rules()] {
            let _ = extract(&Page { url: "https://n.test/a/2024/01/02/x", html: &html }, &rules);
        }
    }

    #[test]
    fn no_soup_of_tags_makes_it_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "<p>", "</p>", "<div class=byline>", "</div>", "<table>", "<tr>", "<td>", "</table>", "<a href=/author/x>", "</a>", "<b>", "</i>", "<li>", "</ul>", "<h1>", "</h2>", "<article>",
        "<form>", "<button>", "<time datetime=2024>", "<script type=application/ld+json>", "{\"@type\":\"Article\",", "</script>", "<!--", "-->", "<svg>", "</svg>", "<title>", "</title>",
        "<meta name=author content='x y'>", "text of some words ", "نص عربي ", "<br>", "\"", "&amp", "<", ">", "\0", "<body lang=ar>", "<caption>", "<select>", "<template>", "2024-01-01", "By Jo Do",
        "<time class=updated>", "</time>", "<span class=date>", "</span>", "Updated ", "Published ", "آخر تحديث: ", "نُشر ", "١ مايو ٢٠٢٤", "14 March 2024 23:30",
    ]), 0..120)) {
        let html = parts.concat();
        let _ = extract(&Page { url: "https://n.test/a", html: &html }, &Rules::default());
    }
}
