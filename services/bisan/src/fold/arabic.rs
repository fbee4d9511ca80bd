//! What Arabic writes in several ways: letters, hamzas, and the article that clings to its word.

/// What remains must be a word: so many letters at least behind the article,
const STEM_MIN: usize = 2;
/// and behind the article with a conjunction or preposition before it, where chance meets more easily.
const STEM_BEHIND_PREFIX_MIN: usize = 3;

/// Conjunctions and prepositions that are written together with the article.
const PREFIXED: [&str; 8] = ["وال", "فال", "بال", "كال", "وبال", "فبال", "وكال", "فكال"];
/// Before an article the preposition ل swallows its alef.
const TO_THE: [&str; 3] = ["لل", "ولل", "فلل"];

/// Words that only look as if an article stood before them, and that are too frequent to be mistaken. Folded.
const WHOLE: [&str; 30] = [
    "الله",
    "والله",
    "بالله",
    "تالله",
    "فالله",
    "اللهم",
    "الان",
    "والان",
    "التي",
    "والتي",
    "الذي",
    "والذي",
    "الذين",
    "والذين",
    "اللذان",
    "اللتان",
    "والدها",
    "والدهم",
    "والدنا",
    "والدته",
    "والدتها",
    "والدتي",
    "والدتهم",
    "والدين",
    "والدان",
    "والديه",
    "والديها",
    "والديهم",
    "والدات",
    "بالغين",
];

/// Words that begin with ل, as news use them: `للجنة` is to the committee rather than to the garden.
const WITH_LAM: [&str; 14] =
    ["لجن", "لجان", "لغه", "لغات", "لغوي", "لقا", "لبنان", "لاعب", "لاجي", "ليبي", "ليل", "لحظ", "لندن", "لوا"];

/// A letter in its one spelling. Hamzas on و and ي wait for [`hamzas`].
pub(super) fn letter(letter: char) -> char {
    match letter {
        'أ' | 'إ' | 'آ' | 'ٱ' | 'ٲ' | 'ٳ' | 'ٵ' => 'ا',
        'ى' | 'ی' | 'ې' | 'ۍ' | 'ے' => 'ي',
        'ة' | 'ہ' | 'ھ' | 'ۀ' | 'ە' | 'ۃ' => 'ه',
        'ک' | 'ڪ' => 'ك',
        '٠'..='٩' => digit(letter, '٠'),
        '۰'..='۹' => digit(letter, '۰'),
        // Full stops of ayat and the like are no letters.
        letter if !letter.is_alphanumeric() => ' ',
        letter => letter,
    }
}

fn digit(letter: char, zero: char) -> char {
    char::from_digit(letter as u32 - zero as u32, 10).unwrap_or(letter)
}

/// Hamzas on و and ي, by what stands behind them: مسؤول and مسئول are one word, and so are شيء and شئ.
pub(super) fn hamzas(letters: &mut Vec<char>) {
    for at in 0..letters.len() {
        let before_waw = letters.get(at + 1) == Some(&'و');
        letters[at] = match letters[at] {
            'ؤ' => 'و',
            'ئ' | 'ء' if before_waw => 'و',
            'ئ' => 'ي',
            letter => letter,
        };
    }
    if letters.ends_with(&['ي', 'ء']) {
        letters.pop();
    }
}

/// Writes what a word is searched by: itself, without the article and what clings to it.
pub(super) fn stems(word: &[char], tokens: &mut String) {
    let spelled: String = word.iter().collect();
    let mut rest = spelled.as_str();
    // Again and again, since ال may also begin a word: so الالتزام and التزام meet.
    while let Some(shorter) = without_article(rest) {
        rest = shorter;
    }
    let to_the = TO_THE.iter().find_map(|prefix| rest.strip_prefix(prefix));
    match to_the.filter(|stem| stem.chars().count() >= STEM_MIN) {
        None => tokens.push_str(rest),
        // Two words are written alike. The likelier one stands last, beside what follows.
        Some(stem) => {
            let with_lam = WITH_LAM.iter().any(|known| stem.starts_with(&known['ل'.len_utf8()..]));
            let (first, last) = if with_lam { ("", "ل") } else { ("ل", "") };
            for part in [first, stem, " ", last, stem] {
                tokens.push_str(part);
            }
        }
    }
}

fn without_article(word: &str) -> Option<&str> {
    if WHOLE.contains(&word) {
        return None;
    }
    let long = |stem: &&str, least: usize| stem.chars().count() >= least;
    word.strip_prefix("ال").filter(|stem| long(stem, STEM_MIN)).or_else(|| {
        let mut stems = PREFIXED.iter().filter_map(|prefix| word.strip_prefix(prefix));
        stems.find(|stem| long(stem, STEM_BEHIND_PREFIX_MIN))
    })
}
