//! Splits text into words and operators.

use std::iter::Peekable;
use std::str::Chars;

use super::parser;
use super::syntax::{Part, Word, Wrong};

/// What text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word.
    Word(Word),
    /// `;`, `&&`, `||`, `|`, `(`, `)`, or a line's end.
    Operator(&'static str),
    /// `2>`: the descriptor and `<`, `>`, `>>`, `>&` or `<&`.
    Redirect(usize, &'static str),
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    tokens: Vec<Token>,
}

/// Splits `text`.
pub(super) fn split(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut lexer = Lexer { rest: text.chars().peekable(), tokens: Vec::new() };
    while let Some(&next) = lexer.rest.peek() {
        lexer.token(next)?;
    }
    Ok(lexer.tokens)
}

impl Lexer<'_> {
    fn token(&mut self, next: char) -> Result<(), Wrong> {
        match next {
            ' ' | '\t' | '\r' => {
                self.rest.next();
            }
            '#' => while self.rest.next_if(|&c| c != '\n').is_some() {},
            '\n' | ';' | '&' | '|' | '(' | ')' => {
                self.rest.next();
                let operator = self.operator(next)?;
                self.tokens.push(Token::Operator(operator));
            }
            '<' | '>' => self.redirect(usize::from(next == '>')),
            _ => self.word_or_number()?,
        }
        Ok(())
    }

    fn operator(&mut self, first: char) -> Result<&'static str, Wrong> {
        let doubled = self.rest.next_if(|&c| c == first && matches!(c, '&' | '|' | ';')).is_some();
        match (first, doubled) {
            ('\n', _) => Ok("\n"),
            (';', false) => Ok(";"),
            ('&', true) => Ok("&&"),
            ('|', true) => Ok("||"),
            ('|', false) => Ok("|"),
            ('(', _) => Ok("("),
            (')', _) => Ok(")"),
            _ => Err(Wrong::Unexpected(first.to_string())),
        }
    }

    fn redirect(&mut self, fd: usize) {
        let first = self.rest.next();
        let second = self.rest.next_if(|&c| c == '&' || (c == '>' && first == Some('>')));
        let operator = match (first, second) {
            (Some('<'), None) => "<",
            (Some('<'), _) => "<&",
            (_, None) => ">",
            (_, Some('>')) => ">>",
            _ => ">&",
        };
        self.tokens.push(Token::Redirect(fd, operator));
    }

    fn word_or_number(&mut self) -> Result<(), Wrong> {
        let word = self.word()?;
        if let [Part::Text { text, quoted: false }] = word.as_slice()
            && let Ok(fd @ 0..=2) = text.parse::<usize>()
            && self.rest.peek().is_some_and(|&c| matches!(c, '<' | '>'))
        {
            self.redirect(fd);
            return Ok(());
        }
        // Nothing but a continued line.
        if !word.is_empty() {
            self.tokens.push(Token::Word(word));
        }
        Ok(())
    }

    fn word(&mut self) -> Result<Word, Wrong> {
        let mut word = Word::new();
        while let Some(&next) = self.rest.peek() {
            if next.is_ascii_whitespace() || matches!(next, ';' | '&' | '|' | '<' | '>' | '(' | ')') {
                break;
            }
            self.rest.next();
            match next {
                '\'' => self.single(&mut word)?,
                '"' => self.double(&mut word)?,
                '\\' => match self.rest.next() {
                    Some('\n') => {}
                    Some(c) => push(&mut word, c, true),
                    None => return Err(Wrong::Unfinished),
                },
                '$' => self.dollar(&mut word, false)?,
                c => push(&mut word, c, false),
            }
        }
        Ok(word)
    }

    fn single(&mut self, word: &mut Word) -> Result<(), Wrong> {
        // Even an empty pair of quotes makes a word.
        word.push(Part::Text { text: String::new(), quoted: true });
        loop {
            match self.rest.next().ok_or(Wrong::Unfinished)? {
                '\'' => return Ok(()),
                c => push(word, c, true),
            }
        }
    }

    fn double(&mut self, word: &mut Word) -> Result<(), Wrong> {
        word.push(Part::Text { text: String::new(), quoted: true });
        loop {
            match self.rest.next().ok_or(Wrong::Unfinished)? {
                '"' => return Ok(()),
                '$' => self.dollar(word, true)?,
                '\\' => match self.rest.next().ok_or(Wrong::Unfinished)? {
                    '\n' => {}
                    c @ ('$' | '"' | '\\' | '`') => push(word, c, true),
                    c => ['\\', c].into_iter().for_each(|c| push(word, c, true)),
                },
                c => push(word, c, true),
            }
        }
    }

    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Result<(), Wrong> {
        let Some(&next) = self.rest.peek() else {
            push(word, '$', quoted);
            return Ok(());
        };
        match next {
            '(' => {
                self.rest.next();
                word.push(self.parenthesis(quoted)?);
            }
            '{' => {
                self.rest.next();
                word.push(self.braces(quoted)?);
            }
            '?' | '#' | '$' | '@' | '*' | '0'..='9' => {
                self.rest.next();
                word.push(Part::Variable { name: next.to_string(), fallback: None, quoted });
            }
            c if c == '_' || c.is_ascii_alphabetic() => {
                let mut name = String::new();
                while let Some(c) = self.rest.next_if(|&c| c == '_' || c.is_ascii_alphanumeric()) {
                    name.push(c);
                }
                word.push(Part::Variable { name, fallback: None, quoted });
            }
            _ => push(word, '$', quoted),
        }
        Ok(())
    }

    fn parenthesis(&mut self, quoted: bool) -> Result<Part, Wrong> {
        let inside = self.until_closed('(', ')')?;
        if let Some(text) = inside.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            return Ok(Part::Sum { text: text.to_owned() });
        }
        Ok(Part::Output { commands: parser::parse(&inside)?, quoted })
    }

    fn braces(&mut self, quoted: bool) -> Result<Part, Wrong> {
        let inside = self.until_closed('{', '}')?;
        let end = inside.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(inside.len());
        let (name, rest) = inside.split_at(if end == 0 { inside.len().min(1) } else { end });
        let fallback = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-')).map(str::to_owned);
        if name.is_empty() || (fallback.is_none() && !rest.is_empty()) {
            return Err(Wrong::Unexpected(format!("${{{inside}}}")));
        }
        Ok(Part::Variable { name: name.to_owned(), fallback, quoted })
    }

    /// The text up to the `close` that ends what is open; quotes hide both.
    fn until_closed(&mut self, open: char, close: char) -> Result<String, Wrong> {
        let (mut text, mut depth, mut quote) = (String::new(), 1_usize, None);
        loop {
            let c = self.rest.next().ok_or(Wrong::Unfinished)?;
            match quote {
                Some(q) if c == q => quote = None,
                None if c == '\'' || c == '"' => quote = Some(c),
                None if c == open => depth += 1,
                None if c == close => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(text);
            }
            text.push(c);
            if c == '\\' && quote != Some('\'') {
                text.push(self.rest.next().ok_or(Wrong::Unfinished)?);
            }
        }
    }
}

fn push(word: &mut Word, c: char, quoted: bool) {
    match word.last_mut() {
        Some(Part::Text { text, quoted: same }) if *same == quoted => text.push(c),
        _ => word.push(Part::Text { text: c.to_string(), quoted }),
    }
}
