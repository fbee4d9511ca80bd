//! The language of a text, from the text: what pages declare is often the template's.

/// So much of the text is looked at.
const CHARS_MAX: usize = 6000;
/// Fewer words than this prove nothing.
const WORDS_MIN: usize = 8;

/// Frequent small words. A word that two languages share counts for both.
const STOP_WORDS: &[(&str, &[&str])] = &[
    (
        "en",
        &[
            "the", "and", "of", "to", "in", "that", "is", "was", "for", "with", "on", "it", "as", "by", "this",
            "from", "are", "have", "be", "he", "has", "his", "at", "an",
        ],
    ),
    (
        "fr",
        &[
            "le", "la", "les", "des", "et", "est", "une", "dans", "que", "qui", "du", "pour", "sur", "pas", "au",
            "avec", "il", "plus", "ce", "par", "été", "aux",
        ],
    ),
    (
        "de",
        &[
            "der", "die", "und", "das", "den", "von", "zu", "mit", "ist", "des", "auf", "für", "nicht", "ein",
            "eine", "im", "dem", "sich", "auch", "es", "wird", "sind",
        ],
    ),
    (
        "es",
        &[
            "el", "la", "los", "de", "que", "y", "en", "las", "del", "una", "por", "con", "para", "su", "al", "más",
            "se", "como", "pero", "fue", "ha",
        ],
    ),
    (
        "pt",
        &[
            "o", "os", "de", "que", "e", "do", "da", "em", "um", "uma", "para", "com", "não", "na", "no", "dos",
            "mais", "ao", "foi", "são", "das", "pelo",
        ],
    ),
    (
        "it",
        &[
            "il", "di", "che", "la", "della", "per", "un", "una", "del", "con", "non", "sono", "gli", "nel", "alla",
            "è", "anche", "più", "dei", "ha", "le", "e",
        ],
    ),
    (
        "nl",
        &[
            "de", "het", "een", "van", "en", "dat", "niet", "op", "te", "zijn", "met", "voor", "ook", "aan", "er",
            "bij", "naar", "werd", "heeft", "om",
        ],
    ),
    (
        "tr",
        &[
            "ve", "bir", "bu", "için", "ile", "da", "de", "olarak", "olan", "daha", "çok", "gibi", "kadar", "sonra",
            "ise", "ama", "en", "ne",
        ],
    ),
    (
        "pl",
        &[
            "i", "w", "nie", "na", "się", "z", "do", "że", "jest", "to", "o", "po", "jak", "od", "przez", "dla",
            "oraz", "za", "które",
        ],
    ),
    (
        "sv",
        &[
            "och", "att", "det", "som", "på", "är", "av", "för", "med", "den", "inte", "till", "ett", "har", "om",
            "var", "från", "de",
        ],
    ),
    (
        "da",
        &[
            "og", "at", "det", "er", "på", "af", "til", "med", "ikke", "den", "som", "der", "har", "han", "blev",
            "fra", "også", "efter",
        ],
    ),
    (
        "no",
        &[
            "og", "å", "det", "er", "på", "av", "til", "med", "ikke", "den", "som", "har", "han", "ble", "fra",
            "også", "etter", "jeg",
        ],
    ),
    (
        "fi",
        &[
            "ja", "on", "ei", "että", "se", "oli", "hän", "ovat", "myös", "kun", "mutta", "joka", "tai", "mukaan",
            "sen", "ole",
        ],
    ),
    (
        "id",
        &[
            "yang", "dan", "di", "ini", "itu", "dengan", "untuk", "dari", "dalam", "tidak", "pada", "akan", "juga",
            "ke", "karena", "oleh", "ada",
        ],
    ),
    (
        "ro",
        &[
            "și", "de", "în", "la", "cu", "care", "pentru", "din", "nu", "este", "a", "pe", "mai", "sunt", "fost",
            "după", "că", "să",
        ],
    ),
    (
        "hu",
        &[
            "a", "az", "és", "hogy", "nem", "is", "egy", "volt", "meg", "csak", "már", "ez", "még", "szerint",
            "vagy", "de",
        ],
    ),
    (
        "cs",
        &[
            "a", "se", "na", "je", "že", "v", "to", "s", "do", "by", "ale", "jako", "podle", "které", "také", "za",
            "pro", "není",
        ],
    ),
    (
        "vi",
        &[
            "và", "của", "là", "có", "cho", "được", "không", "người", "trong", "một", "các", "với", "đã", "này",
            "những", "từ",
        ],
    ),
];

/// The language as a two-letter code, when the text is long enough to tell.
pub(super) fn language(text: &str) -> Option<&'static str> {
    let mut scripts = [0_usize; 12];
    let (mut persian, mut urdu, mut ukrainian, mut kana) = (0, 0, 0, 0);
    for c in text.chars().take(CHARS_MAX) {
        let script = match c {
            'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => 0,
            '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' => 1,
            '\u{400}'..='\u{52f}' => 2,
            '\u{370}'..='\u{3ff}' => 3,
            '\u{590}'..='\u{5ff}' => 4,
            '\u{4e00}'..='\u{9fff}' => 5,
            '\u{3040}'..='\u{30ff}' => 6,
            '\u{ac00}'..='\u{d7af}' => 7,
            '\u{900}'..='\u{97f}' => 8,
            '\u{e00}'..='\u{e7f}' => 9,
            '\u{980}'..='\u{9ff}' => 10,
            '\u{b80}'..='\u{bff}' => 11,
            _ => continue,
        };
        scripts[script] += 1;
        match c {
            'پ' | 'چ' | 'ژ' | 'گ' | 'ی' | 'ک' => persian += 1,
            'ٹ' | 'ڈ' | 'ڑ' | 'ے' | 'ں' | 'ھ' => urdu += 1,
            'і' | 'ї' | 'є' | 'ґ' => ukrainian += 1,
            '\u{3040}'..='\u{30ff}' => kana += 1,
            _ => {}
        }
    }
    let (most, count) = scripts.iter().enumerate().max_by_key(|(_, n)| **n)?;
    if *count < 20 {
        return None;
    }
    Some(match most {
        0 => return latin(text),
        1 if urdu * 25 > *count => "ur",
        1 if persian * 20 > *count => "fa",
        1 => "ar",
        2 if ukrainian * 60 > *count => "uk",
        2 => "ru",
        3 => "el",
        4 => "he",
        5 if kana > 0 && kana * 8 > *count => "ja",
        5 => "zh",
        6 => "ja",
        7 => "ko",
        8 => "hi",
        9 => "th",
        10 => "bn",
        _ => "ta",
    })
}

fn latin(text: &str) -> Option<&'static str> {
    let mut hits = [0_usize; STOP_WORDS.len()];
    let mut words = 0;
    let end = text.char_indices().nth(CHARS_MAX).map_or(text.len(), |(n, _)| n);
    for word in text[..end].split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()) {
        words += 1;
        let word = word.to_lowercase();
        for (hit, (_, stop)) in hits.iter_mut().zip(STOP_WORDS) {
            *hit += usize::from(stop.contains(&word.as_str()));
        }
    }
    let (at, most) = hits.iter().enumerate().max_by_key(|(at, n)| (**n, std::cmp::Reverse(*at)))?;
    (words >= WORDS_MIN && most * 12 >= words).then(|| STOP_WORDS[at].0)
}

/// The primary part of a declared language: `ar` of `ar-JO`.
pub(super) fn declared(tag: &str) -> Option<String> {
    let primary = tag.split(['-', '_', ',', ' ']).next()?.trim().to_ascii_lowercase();
    ((2..=3).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_alphabetic())).then_some(primary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_languages_are_told_apart() {
        for (text, want) in [
            (
                "The minister said that the talks in the capital were useful and that both sides have agreed to go on.",
                "en",
            ),
            ("قال الوزير إن المحادثات التي جرت في العاصمة كانت مفيدة وإن الجانبين اتفقا على مواصلتها", "ar"),
            ("وزیر گفت که گفتگوها در پایتخت مفید بود و دو طرف برای ادامه آن توافق کردند", "fa"),
            (
                "Le ministre a déclaré que les discussions dans la capitale ont été utiles et que les deux parties sont d'accord.",
                "fr",
            ),
            (
                "Der Minister sagte, dass die Gespräche in der Hauptstadt nützlich waren und dass es weiter geht, auch für die anderen.",
                "de",
            ),
            (
                "El ministro dijo que las conversaciones en la capital fueron útiles y que los dos lados van a seguir con el plan.",
                "es",
            ),
            ("Министр сказал, что переговоры в столице были полезными и что стороны договорились продолжать", "ru"),
            ("Міністр сказав, що переговори в столиці були корисними і що сторони домовилися їх продовжити", "uk"),
            ("部長は首都での会談は有益だったと述べ、双方は継続することで合意したという", "ja"),
        ] {
            assert_eq!(language(text), Some(want), "{text}");
        }
    }

    #[test]
    fn too_little_text_has_no_language() {
        assert_eq!(language("OK"), None);
        assert_eq!(language("12 34"), None);
        assert_eq!(declared("en-US").as_deref(), Some("en"));
        assert_eq!(declared("english"), None);
    }
}
