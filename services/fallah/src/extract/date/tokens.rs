//! A short text as numbers, folded words and signs: the form in which dates of all languages look alike.

/// A piece of a text that may hold a date.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A number and how many digits it was written with.
    Number(u64, usize),
    /// Letters in lower case, without marks, alefs alike.
    Word(String),
    /// Any other visible sign, or a blank (one for many).
    Sign(char),
}

impl Token {
    pub(super) fn number(&self) -> Option<(u64, usize)> {
        match self {
            Token::Number(value, digits) => Some((*value, *digits)),
            _ => None,
        }
    }

    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn is(&self, sign: char) -> bool {
        matches!(self, Token::Sign(c) if *c == sign)
    }
}

/// Cuts a text into tokens.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut grows = false;
    for c in text.chars() {
        let Some(c) = fold(c) else { continue };
        // East Asian dates: the sign for "year" separates, the one for "day" ends.
        let c = match c {
            '年' | '月' | '년' | '월' => '-',
            '日' | '일' => ' ',
            c => c,
        };
        if let Some(digit) = digit(c) {
            match tokens.last_mut() {
                Some(Token::Number(value, digits)) if grows && *digits < 16 => {
                    *value = *value * 10 + digit;
                    *digits += 1;
                }
                _ => tokens.push(Token::Number(digit, 1)),
            }
            grows = true;
        } else if c.is_alphabetic() {
            match tokens.last_mut() {
                Some(Token::Word(word)) if grows => word.extend(c.to_lowercase()),
                _ => tokens.push(Token::Word(c.to_lowercase().collect())),
            }
            grows = true;
        } else {
            grows = false;
            let sign = if c.is_whitespace() { ' ' } else { c };
            if !(sign == ' ' && tokens.last().is_some_and(|t| t.is(' '))) {
                tokens.push(Token::Sign(sign));
            }
        }
    }
    tokens
}

/// Vowel marks and signs without width vanish, and letters that stand for one another become one.
fn fold(c: char) -> Option<char> {
    match c {
        '\u{64b}'..='\u{65f}'
        | '\u{670}'
        | '\u{640}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => None,
        'أ' | 'إ' | 'آ' | 'ٱ' => Some('ا'),
        'ى' | 'ی' => Some('ي'),
        'ة' => Some('ه'),
        'ک' => Some('ك'),
        '–' | '—' | '−' | '‐' | '‑' => Some('-'),
        '：' => Some(':'),
        '⁄' | '／' => Some('/'),
        c => Some(c),
    }
}

fn digit(c: char) -> Option<u64> {
    let value = match c {
        '0'..='9' => c as u32 - '0' as u32,
        '٠'..='٩' => c as u32 - '٠' as u32,
        '۰'..='۹' => c as u32 - '۰' as u32,
        '０'..='９' => c as u32 - '０' as u32,
        _ => return None,
    };
    Some(u64::from(value))
}
