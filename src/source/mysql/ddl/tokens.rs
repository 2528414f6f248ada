//! The words of a statement: identifiers, literals, symbols, without comments.
//!
//! Promises to end: every call moves forward or says that the text is over. An unclosed quote or comment runs to the end.
//!
//! Version comments count as SQL whatever their number is: a server that skips one overwrites its `!` with a space
//! before the text reaches the binlog, so that only those it did execute still look like version comments there.

/// The settings of `sql_mode` that change where a token ends, or what a word is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqlMode {
    /// `ANSI_QUOTES`: `"x"` is an identifier, not a string.
    pub ansi_quotes: bool,
    /// `NO_BACKSLASH_ESCAPES`: a backslash in a string is a character like any other.
    pub no_backslash_escapes: bool,
    /// `ORACLE` or `MAXDB` of MariaDB: a name of a type means another one. No token ends elsewhere for it.
    pub other_types: bool,
}

impl SqlMode {
    const ANSI_QUOTES: u64 = 1 << 2;
    const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
    const ORACLE: u64 = 1 << 9;
    const MAXDB: u64 = 1 << 12;

    /// From the bits that a `QUERY` event carries (`Q_SQL_MODE_CODE`); both servers use the same ones.
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            ansi_quotes: bits & Self::ANSI_QUOTES != 0,
            no_backslash_escapes: bits & Self::NO_BACKSLASH_ESCAPES != 0,
            other_types: bits & (Self::ORACLE | Self::MAXDB) != 0,
        }
    }
}

/// One token. Literals keep no content: who needs it takes the text at their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An unquoted identifier or a keyword.
    Word(&'a str),
    /// What stands between the quotes of an identifier, doubled quotes still doubled.
    Quoted {
        /// The text between the quotes.
        text: &'a str,
        /// The quote: a backtick or a double quote.
        quote: char,
    },
    /// A string.
    Text,
    /// A number.
    Number,
    /// `@user`, `@@system`, or the host of an account.
    Variable,
    /// Any other ASCII byte.
    Symbol(u8),
}

/// The tokens of a text. A copy is a bookmark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    sql: &'a str,
    at: usize,
    mode: SqlMode,
    version_comments: u32,
    after_dot: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(sql: &'a str, mode: SqlMode) -> Self {
        Self { sql, at: 0, mode, version_comments: 0, after_dot: false }
    }

    /// The text itself.
    pub(super) fn sql(&self) -> &'a str {
        self.sql
    }

    /// The settings it is read under.
    pub(super) fn mode(&self) -> SqlMode {
        self.mode
    }

    /// Where the last token ended.
    pub(super) fn at(&self) -> usize {
        self.at.min(self.sql.len())
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.sql.as_bytes().get(self.at.saturating_add(ahead)).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.sql.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Text from `from` to the current place. Both lie beside an ASCII byte or at an end, hence on character borders.
    fn since(&self, from: usize) -> &'a str {
        self.sql.get(from..self.at).unwrap_or_default()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        self.at += self.rest().iter().take_while(|byte| wanted(**byte)).count();
    }

    fn skip_past(&mut self, end: &[u8]) {
        let found = self.rest().windows(end.len()).position(|window| window == end);
        self.at = found.map_or(self.sql.len(), |place| self.at + place + end.len());
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(byte), _) if byte.is_ascii_whitespace() || byte == 0x0b => self.at += 1,
                (Some(b'#'), _) => self.skip_past(b"\n"),
                (Some(b'-'), Some(b'-')) if self.byte(2).is_none_or(|byte| byte <= b' ') => self.skip_past(b"\n"),
                (Some(b'/'), Some(b'*')) => self.open_comment(),
                (Some(b'*'), Some(b'/')) if self.version_comments > 0 => {
                    self.version_comments -= 1;
                    self.at += 2;
                }
                _ => return,
            }
        }
    }

    /// At `/*`: an ordinary comment is skipped whole, of a version comment only the opening.
    fn open_comment(&mut self) {
        let opening = match (self.byte(2), self.byte(3)) {
            (Some(b'!'), _) => 3,
            (Some(b'M'), Some(b'!')) => 4,
            _ => {
                self.at += 2;
                self.skip_past(b"*/");
                return;
            }
        };
        self.at += opening;
        self.version_comments = self.version_comments.saturating_add(1);
        // The version has five digits or six; fewer are the first word of the content.
        let digits = self.rest().iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
        if digits >= 5 {
            self.at += digits;
        }
    }

    /// At an opening quote: the text between the quotes.
    fn quoted(&mut self, quote: u8, backslash: bool) -> &'a str {
        self.at += 1;
        let from = self.at;
        loop {
            match self.byte(0) {
                None => {
                    self.at = self.sql.len();
                    return self.since(from);
                }
                Some(b'\\') if backslash => self.at += 2,
                Some(byte) if byte == quote && self.byte(1) == Some(quote) => self.at += 2,
                Some(byte) if byte == quote => {
                    let text = self.since(from);
                    self.at += 1;
                    return text;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn word_or_number(&mut self) -> Token<'a> {
        let from = self.at;
        self.skip_while(is_word_byte);
        let word = self.since(from);
        // Behind a dot even digits are a name.
        if self.after_dot || !is_number(word) {
            return Token::Word(word);
        }
        if self.byte(0) == Some(b'.') && self.byte(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            self.skip_while(is_word_byte);
        }
        Token::Number
    }

    fn variable(&mut self) -> Token<'a> {
        self.skip_while(|byte| byte == b'@');
        match self.byte(0) {
            Some(quote @ (b'`' | b'\'' | b'"')) => {
                let backslash = quote != b'`' && !self.mode.no_backslash_escapes;
                self.quoted(quote, backslash);
            }
            _ => self.skip_while(|byte| is_word_byte(byte) || byte == b'.'),
        }
        Token::Variable
    }

    /// The next token and the offset it starts at.
    pub(super) fn advance(&mut self) -> Option<(Token<'a>, usize)> {
        self.skip_blanks_and_comments();
        let from = self.at;
        let token = match self.byte(0)? {
            b'`' => Token::Quoted { text: self.quoted(b'`', false), quote: '`' },
            b'"' if self.mode.ansi_quotes => Token::Quoted { text: self.quoted(b'"', false), quote: '"' },
            quote @ (b'\'' | b'"') => {
                self.quoted(quote, !self.mode.no_backslash_escapes);
                Token::Text
            }
            b'@' => self.variable(),
            byte if is_word_byte(byte) => self.word_or_number(),
            byte => {
                self.at += 1;
                Token::Symbol(byte)
            }
        };
        self.after_dot = token == Token::Symbol(b'.');
        Some((token, from))
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

/// Whether an unquoted run is a number rather than a name that starts with a digit, as `1st` is.
fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(hex) = word.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    if let Some(bits) = word.strip_prefix("0b") {
        return !bits.is_empty() && bits.bytes().all(|byte| matches!(byte, b'0' | b'1'));
    }
    digits(word) || word.split_once(['e', 'E']).is_some_and(|(mantissa, exponent)| digits(mantissa) && digits(exponent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_offsets(sql: &str, mode: SqlMode) -> impl Iterator<Item = (Token<'_>, usize)> {
        let mut tokens = Tokens::new(sql, mode);
        std::iter::from_fn(move || tokens.advance())
    }

    fn all(sql: &str, mode: SqlMode) -> Vec<Token<'_>> {
        with_offsets(sql, mode).map(|(token, _)| token).collect()
    }

    fn words(sql: &str) -> Vec<Token<'_>> {
        all(sql, SqlMode::default())
    }

    use Token::{Number, Symbol, Text, Variable, Word};

    #[test]
    fn comments_separate_words_and_leave_nothing() {
        let expected = vec![Word("a"), Word("b"), Word("c"), Word("d"), Word("e")];
        assert_eq!(words("/* x */a/* '*/b # it's\n c -- \"\n d --\te'\ne --"), expected);
    }

    #[test]
    fn two_dashes_without_a_blank_are_no_comment() {
        assert_eq!(words("5--1"), vec![Number, Symbol(b'-'), Symbol(b'-'), Number]);
    }

    #[test]
    fn version_comments_are_sql_and_their_number_is_not() {
        assert_eq!(words("/*!50001 a*/ b"), vec![Word("a"), Word("b")]);
        assert_eq!(words("/*!100100a */b"), vec![Word("a"), Word("b")]);
        assert_eq!(words("/*M!100500 a /* inner */ b */ c"), vec![Word("a"), Word("b"), Word("c")]);
        assert_eq!(words("/*! a */"), vec![Word("a")]);
        assert_eq!(words("/*+ hint */ a"), vec![Word("a")]);
        assert_eq!(words("/* 99999 skipped by the server */ a"), vec![Word("a")]);
        assert_eq!(words("/*!50001 '*/' */ a"), vec![Text, Word("a")]);
    }

    #[test]
    fn outside_a_version_comment_a_star_and_a_slash_are_symbols() {
        assert_eq!(words("a */ b"), vec![Word("a"), Symbol(b'*'), Symbol(b'/'), Word("b")]);
    }

    #[test]
    fn strings_end_at_their_quote_and_nowhere_else() {
        assert_eq!(words(r"'it''s' a"), vec![Text, Word("a")]);
        assert_eq!(words(r"'it\'s' a"), vec![Text, Word("a")]);
        assert_eq!(words(r#""a""b\"" c"#), vec![Text, Word("c")]);
        assert_eq!(words("'\\\u{e9}' a"), vec![Text, Word("a")]);
        let mode = SqlMode { no_backslash_escapes: true, ..SqlMode::default() };
        assert_eq!(all(r"'\' a", mode), vec![Text, Word("a")]);
    }

    #[test]
    fn double_quotes_hold_a_name_under_ansi_quotes() {
        let mode = SqlMode { ansi_quotes: true, ..SqlMode::default() };
        assert_eq!(all(r#""a""\""#, mode), vec![Token::Quoted { text: r#"a""\"#, quote: '"' }]);
        assert_eq!(words("`a``b`"), vec![Token::Quoted { text: "a``b", quote: '`' }]);
    }

    #[test]
    fn digits_are_a_name_behind_a_dot_and_when_letters_follow() {
        assert_eq!(words("1 1.5e3 0x1F 0b01 1e5"), vec![Number; 5]);
        assert_eq!(words("1st d.1e5"), vec![Word("1st"), Word("d"), Symbol(b'.'), Word("1e5")]);
        assert_eq!(words("\u{e9}t\u{e9} $a _b"), vec![Word("\u{e9}t\u{e9}"), Word("$a"), Word("_b")]);
    }

    #[test]
    fn variables_and_hosts_are_one_token() {
        let expected = vec![Variable, Variable, Word("joe"), Variable, Text, Variable, Variable];
        assert_eq!(words("@a @@global.b joe@localhost 'joe'@'%' @`a b`"), expected);
    }

    #[test]
    fn what_is_not_closed_runs_to_the_end() {
        for open in ["'", "\"", "/* ", "# ", "-- ", "@'", "'\\"] {
            let sql = format!("{open} a b c");
            assert!(words(&sql).len() <= 1, "{open}");
        }
        assert_eq!(words("`a b"), vec![Token::Quoted { text: "a b", quote: '`' }]);
        assert_eq!(words("/*!50001 a"), vec![Word("a")]);
    }

    #[test]
    fn the_mode_is_read_from_the_bits_of_the_event() {
        assert_eq!(SqlMode::from_bits(0), SqlMode::default());
        assert_eq!(SqlMode::from_bits(4), SqlMode { ansi_quotes: true, ..SqlMode::default() });
        assert_eq!(SqlMode::from_bits(0x10_0000), SqlMode { no_backslash_escapes: true, ..SqlMode::default() });
    }

    proptest! {
        #[test]
        fn every_text_ends_and_offsets_only_grow(sql in ".{0,200}", ansi_quotes: bool, no_backslash_escapes: bool) {
            let mut last = None;
            for (_, at) in with_offsets(&sql, SqlMode { ansi_quotes, no_backslash_escapes, ..SqlMode::default() }) {
                prop_assert!(last < Some(at) && at < sql.len());
                last = Some(at);
            }
        }

        #[test]
        fn quotes_and_comments_in_any_order_end(sql in "[-/*!M`'\"#\\\\ \na1.@(\u{e9}]{0,80}", ansi_quotes: bool) {
            let mode = SqlMode { ansi_quotes, ..SqlMode::default() };
            prop_assert!(with_offsets(&sql, mode).count() <= sql.len());
        }
    }
}
