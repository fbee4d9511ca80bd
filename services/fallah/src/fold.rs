//! Names that are spelled differently and mean the same.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A name with everything removed that people leave out or vary: case, vowel marks, tatweel, forms of alef, blanks.
pub(crate) fn fold(name: &str) -> String {
    let letters = name.nfkc().filter_map(|letter| match letter {
        'أ' | 'إ' | 'آ' | 'ٱ' => Some('ا'),
        'ى' => Some('ي'),
        'ة' => Some('ه'),
        'ـ' => None,
        letter if is_combining_mark(letter) => None,
        letter => Some(letter),
    });
    let folded: String = letters.flat_map(char::to_lowercase).collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn spellings_of_one_name_are_one() {
        assert_eq!(fold("أحـمَد  الزّهراء"), fold("احمد الزهراء"));
        assert_eq!(fold("Salma  ABU"), "salma abu");
        assert_ne!(fold("أحمد"), fold("محمد"));
    }
}
