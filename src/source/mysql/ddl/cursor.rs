//! A place in a statement, with the few ways of moving on that reading DDL takes.
//!
//! An *item* is what stands between the commas of a list. Parentheses are skipped whole, so a comma in a default or in
//! a `CHECK` does not end an item. No recursion: nesting costs a counter, never stack.

use super::tokens::{SqlMode, Token, Tokens};
use crate::model::Names;

/// A place in a statement. A copy is a bookmark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    tokens: Tokens<'a>,
    next: Option<(Token<'a>, usize)>,
    names: Names,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(sql: &'a str, mode: SqlMode) -> Self {
        let mut tokens = Tokens::new(sql, mode);
        let next = tokens.advance();
        Self { tokens, next, names: Names::Exact }
    }

    /// With the rule for names of databases and tables of the server that ran the statement.
    pub(super) fn under(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// The rule for names of databases and tables.
    pub(super) fn names(&self) -> Names {
        self.names
    }

    /// The next token, not taken.
    pub(super) fn peek(&self) -> Option<Token<'a>> {
        self.next.map(|(token, _)| token)
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.next = self.tokens.advance();
        token
    }

    /// Where the next token starts, or the end of the text.
    pub(super) fn offset(&self) -> usize {
        self.next.map_or(self.tokens.sql().len(), |(_, at)| at)
    }

    /// The text from `from` up to the next token.
    pub(super) fn text_since(&self, from: usize) -> &'a str {
        self.tokens.sql().get(from..self.offset()).unwrap_or_default().trim()
    }

    /// The text of the next token, with its quotes.
    pub(super) fn source(&self) -> &'a str {
        self.tokens.sql().get(self.offset()..self.end()).unwrap_or_default()
    }

    /// The text from the next token on.
    pub(super) fn rest(&self) -> &'a str {
        self.tokens.sql().get(self.offset()..).unwrap_or_default()
    }

    /// Where the next token ends.
    fn end(&self) -> usize {
        self.tokens.at()
    }

    /// Takes the tokens that make up the next `len` bytes; `false` when one of them goes beyond.
    pub(super) fn take_exactly(&mut self, len: usize) -> bool {
        let goal = self.offset().saturating_add(len);
        loop {
            let end = self.end();
            if self.take().is_none() || end > goal {
                return false;
            }
            if end == goal {
                return true;
            }
        }
    }

    /// The settings the text is read under.
    pub(super) fn mode(&self) -> SqlMode {
        self.tokens.mode()
    }

    /// Whether the statement is over.
    pub(super) fn at_end(&self) -> bool {
        matches!(self.peek(), None | Some(Token::Symbol(b';')))
    }

    /// Whether the next token is this keyword, unquoted.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword))
    }

    /// Whether the next token is one of these keywords.
    pub(super) fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Whether these keywords stand next, in order.
    pub(super) fn is_all(mut self, keywords: &[&str]) -> bool {
        keywords.iter().all(|keyword| self.eat(keyword))
    }

    /// Takes this keyword if it stands next.
    pub(super) fn eat(&mut self, keyword: &str) -> bool {
        let found = self.is(keyword);
        if found {
            self.take();
        }
        found
    }

    /// Takes one of these keywords if it stands next.
    pub(super) fn eat_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.eat(keyword))
    }

    /// Takes these keywords if all of them stand next, in order.
    pub(super) fn eat_all(&mut self, keywords: &[&str]) -> bool {
        let found = self.is_all(keywords);
        if found {
            for _ in keywords {
                self.take();
            }
        }
        found
    }

    /// Whether this symbol stands next.
    pub(super) fn is_symbol(&self, symbol: u8) -> bool {
        self.peek() == Some(Token::Symbol(symbol))
    }

    /// Takes this symbol if it stands next.
    pub(super) fn eat_symbol(&mut self, symbol: u8) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.take();
        }
        found
    }

    /// Takes `IF EXISTS` if it stands next.
    pub(super) fn eat_if_exists(&mut self) -> bool {
        self.eat_all(&["IF", "EXISTS"])
    }

    /// Takes `IF NOT EXISTS` if it stands next.
    pub(super) fn eat_if_not_exists(&mut self) -> bool {
        self.eat_all(&["IF", "NOT", "EXISTS"])
    }

    /// Takes MariaDB's `WAIT n` or `NOWAIT` if it stands next.
    pub(super) fn eat_wait(&mut self) {
        let mut ahead = *self;
        if ahead.eat("WAIT") && ahead.peek() == Some(Token::Number) {
            ahead.take();
            *self = ahead;
        } else {
            self.eat("NOWAIT");
        }
    }

    /// Takes an identifier, with or without quotes.
    pub(super) fn identifier(&mut self) -> Option<String> {
        let name = match self.peek()? {
            Token::Word(word) => word.to_owned(),
            Token::Quoted { text, quote } if !text.is_empty() => {
                let (doubled, mut single) = ([quote, quote], [0; 4]);
                text.replace(&String::from_iter(doubled), quote.encode_utf8(&mut single))
            }
            _ => return None,
        };
        self.take();
        Some(name)
    }

    /// The next token of the item, with a parenthesis taken whole and told as its opening; `None` at the item's end.
    pub(super) fn take_in_item(&mut self) -> Option<Token<'a>> {
        match self.peek()? {
            Token::Symbol(b',' | b')' | b';') => None,
            Token::Symbol(b'(') => {
                self.skip_parenthesis();
                Some(Token::Symbol(b'('))
            }
            token => {
                self.take();
                Some(token)
            }
        }
    }

    /// Moves to the end of the item.
    pub(super) fn skip_item(&mut self) {
        while self.take_in_item().is_some() {}
    }

    /// Moves to the end of the statement.
    pub(super) fn skip_all(&mut self) {
        while !self.at_end() {
            self.take();
        }
    }

    fn skip_parenthesis(&mut self) {
        let mut open = 0_u32;
        loop {
            match self.take() {
                None => return,
                Some(Token::Symbol(b'(')) => open = open.saturating_add(1),
                Some(Token::Symbol(b')')) => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        return;
                    }
                }
                Some(_) => {}
            }
        }
    }
}
