//! Makes commands of tokens.

use super::lexer::{self, Token};
use super::syntax::{Command, Joint, Kind, List, Part, Pipeline, Redirect, Target, Word, Wrong};

/// Deepest nesting of commands in commands.
const DEPTH: usize = 64;

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
}

/// Reads commands.
pub(super) fn parse(text: &str) -> Result<List, Wrong> {
    let mut parser = Parser { tokens: lexer::split(text)?.into_iter().peekable(), depth: 0 };
    let list = parser.list()?;
    match parser.tokens.next() {
        None => Ok(list),
        Some(token) => Err(unexpected(&token)),
    }
}

fn unexpected(token: &Token) -> Wrong {
    Wrong::Unexpected(match token {
        Token::Word(word) => plain(word).unwrap_or("word").to_owned(),
        Token::Operator("\n") => "end of line".to_owned(),
        Token::Operator(operator) | Token::Redirect(_, operator) => (*operator).to_owned(),
    })
}

/// A word that is nothing but text without quotes.
fn plain(word: &Word) -> Option<&str> {
    match word.as_slice() {
        [Part::Text { text, quoted: false }] => Some(text),
        _ => None,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && text.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

/// Splits `NAME=value` where the word is one.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let (first, rest) = word.split_first()?;
    let Part::Text { text, quoted: false } = first else { return None };
    let (name, value) = text.split_once('=').filter(|(name, _)| is_name(name))?;
    let value = Part::Text { text: value.to_owned(), quoted: false };
    Some((name.to_owned(), std::iter::once(value).chain(rest.iter().cloned()).collect()))
}

impl Parser {
    fn reserved(&mut self) -> Option<&str> {
        match self.tokens.peek()? {
            Token::Word(word) => plain(word),
            _ => None,
        }
    }

    fn at(&mut self, words: &[&str]) -> bool {
        self.reserved().is_some_and(|word| words.contains(&word))
    }

    fn take_operator(&mut self, operators: &[&str]) -> Option<&'static str> {
        match self.tokens.next_if(|token| matches!(token, Token::Operator(found) if operators.contains(found)))? {
            Token::Operator(operator) => Some(operator),
            _ => None,
        }
    }

    fn expect(&mut self, wanted: &str) -> Result<(), Wrong> {
        if self.at(&[wanted]) {
            self.tokens.next();
            return Ok(());
        }
        Err(self.tokens.peek().map_or(Wrong::Unfinished, unexpected))
    }

    fn lines(&mut self) {
        while self.take_operator(&["\n"]).is_some() {}
    }

    /// Pipelines up to a word that ends a list, a `)` or the end.
    fn list(&mut self) -> Result<List, Wrong> {
        let (mut list, mut joint) = (Vec::new(), Joint::Always);
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Wrong::Unexpected("nesting".to_owned()));
        }
        loop {
            self.lines();
            let ends = self.at(&["then", "elif", "else", "fi", "do", "done", "}"])
                || matches!(self.tokens.peek(), None | Some(Token::Operator(")")));
            if ends {
                self.depth -= 1;
                return if joint == Joint::Always { Ok(List(list)) } else { Err(Wrong::Unfinished) };
            }
            list.push((joint, self.pipeline()?));
            joint = match self.take_operator(&["\n", ";", "&&", "||"]) {
                Some("&&") => Joint::And,
                Some("||") => Joint::Or,
                _ => Joint::Always,
            };
        }
    }

    /// A list that has something in it.
    fn body(&mut self) -> Result<List, Wrong> {
        let list = self.list()?;
        if list.0.is_empty() { Err(self.tokens.peek().map_or(Wrong::Unfinished, unexpected)) } else { Ok(list) }
    }

    fn pipeline(&mut self) -> Result<Pipeline, Wrong> {
        let mut negated = false;
        while self.at(&["!"]) {
            self.tokens.next();
            negated = !negated;
        }
        let mut commands = vec![self.command()?];
        while self.take_operator(&["|"]).is_some() {
            self.lines();
            commands.push(self.command()?);
        }
        Ok(Pipeline { negated, commands })
    }

    fn command(&mut self) -> Result<Command, Wrong> {
        let word = self.reserved().unwrap_or_default().to_owned();
        let kind = match word.as_str() {
            "if" => self.branches()?,
            "while" | "until" => self.repeat(word == "until")?,
            "for" => self.each()?,
            "{" => {
                self.tokens.next();
                let body = self.body()?;
                self.expect("}")?;
                Kind::Group(body)
            }
            _ if self.take_operator(&["("]).is_some() => {
                let body = self.body()?;
                self.take_operator(&[")"]).ok_or(Wrong::Unfinished)?;
                Kind::Subshell(body)
            }
            _ => return self.simple(),
        };
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(Command { kind, redirects })
    }

    fn branches(&mut self) -> Result<Kind, Wrong> {
        let (mut branches, mut otherwise) = (Vec::new(), List::default());
        while self.at(&["if", "elif"]) {
            self.tokens.next();
            let condition = self.body()?;
            self.expect("then")?;
            branches.push((condition, self.body()?));
            // An `if` here would be another command; only `elif` goes on.
            if !self.at(&["elif"]) {
                break;
            }
        }
        if self.at(&["else"]) {
            self.tokens.next();
            otherwise = self.body()?;
        }
        self.expect("fi")?;
        Ok(Kind::If { branches, otherwise })
    }

    fn repeat(&mut self, until: bool) -> Result<Kind, Wrong> {
        self.tokens.next();
        let condition = self.body()?;
        Ok(Kind::Loop { until, condition, body: self.do_done()? })
    }

    fn do_done(&mut self) -> Result<List, Wrong> {
        self.expect("do")?;
        let body = self.body()?;
        self.expect("done")?;
        Ok(body)
    }

    fn each(&mut self) -> Result<Kind, Wrong> {
        self.tokens.next();
        let name = self.reserved().ok_or(Wrong::Unfinished)?.to_owned();
        self.tokens.next();
        if !is_name(&name) {
            return Err(Wrong::Unexpected(name));
        }
        self.lines();
        let mut words = None;
        if self.at(&["in"]) {
            self.tokens.next();
            let mut given = Vec::new();
            while let Some(Token::Word(word)) = self.tokens.next_if(|token| matches!(token, Token::Word(_))) {
                given.push(word);
            }
            words = Some(given);
        }
        self.take_operator(&[";"]);
        self.lines();
        Ok(Kind::For { name, words, body: self.do_done()? })
    }

    fn simple(&mut self) -> Result<Command, Wrong> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::<Word>::new(), Vec::new());
        loop {
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
            } else if let Some(Token::Word(word)) = self.tokens.next_if(|token| matches!(token, Token::Word(_))) {
                match assignment(&word).filter(|_| words.is_empty()) {
                    Some(assignment) => assignments.push(assignment),
                    None => words.push(word),
                }
            } else {
                break;
            }
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.tokens.peek().map_or(Wrong::Unfinished, unexpected));
        }
        Ok(Command { kind: Kind::Simple { assignments, words }, redirects })
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, Wrong> {
        let Some(Token::Redirect(fd, operator)) = self.tokens.next_if(|token| matches!(token, Token::Redirect(..)))
        else {
            return Ok(None);
        };
        let word = match self.tokens.next() {
            Some(Token::Word(word)) => word,
            other => return Err(other.as_ref().map_or(Wrong::Unfinished, unexpected)),
        };
        let to = match operator {
            "<" => Target::Read(word),
            ">" => Target::Write(word),
            ">>" => Target::Append(word),
            _ => match plain(&word).and_then(|word| word.parse().ok()) {
                Some(same @ 0..=2) => Target::Same(same),
                _ => return Err(Wrong::Unexpected(operator.to_owned())),
            },
        };
        Ok(Some(Redirect { fd, to }))
    }
}
