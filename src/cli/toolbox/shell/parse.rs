//! Makes commands of words.

use super::words::{Part, Token, name_length, tokens};

/// Commands within commands; deeper ones are refused.
const MAX_DEPTH: usize = 100;

/// A word, not yet filled in.
pub type Word = Vec<Part>;

/// Commands one after the other; each with whether it runs in the background.
pub type List = Vec<(AndOr, bool)>;

/// Pipelines joined by `&&` (true) and `||` (false).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AndOr {
    /// The first one.
    pub first: Pipeline,
    /// The others.
    pub rest: Vec<(bool, Pipeline)>,
}

/// Commands joined by `|`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// `!` in front.
    pub negated: bool,
    /// At least one.
    pub commands: Vec<Command>,
}

/// A command with its redirections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What to do.
    pub kind: Kind,
    /// Descriptor, operator, target; in order.
    pub redirects: Vec<(u8, &'static str, Word)>,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Assignments, then a program and its arguments.
    Simple(Vec<(String, Word)>, Vec<Word>),
    /// Conditions with what they lead to, and what else.
    If(Vec<(List, List)>, List),
    /// Condition, body, and whether it runs while the condition fails (`until`).
    While(List, List, bool),
    /// Variable, values, body.
    For(String, Vec<Word>, List),
    /// `( ... )`.
    Subshell(List),
    /// `{ ...; }`.
    Group(List),
}

/// Why a script is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// It ends where more must follow.
    Incomplete(char),
    /// Something stands where it must not.
    Unexpected(String),
}

impl Error {
    /// As a person reads it.
    pub fn message(&self) -> String {
        match self {
            Self::Incomplete(wanted) => format!("syntax error: the script ends before a closing {wanted}"),
            Self::Unexpected(what) => format!("syntax error: unexpected {what}"),
        }
    }
}

/// A whole script.
pub fn program(script: &str) -> Result<List, Error> {
    let mut parser = Parser { tokens: tokens(script)?, at: 0, depth: 0 };
    let list = parser.list(&[])?;
    match parser.peek() {
        None => Ok(list),
        Some(token) => Err(unexpected(token)),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn operator(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Operator(operator)) if *operator == wanted);
        self.at += usize::from(found);
        found
    }

    /// The plain text of the next word, where it is one: only such words can be `if`, `do`, ...
    fn keyword(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(parts)) => match parts.as_slice() {
                [Part::Text(text)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    fn take_keyword(&mut self, wanted: &str) -> bool {
        let found = self.keyword() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &'static str) -> Result<(), Error> {
        if self.take_keyword(wanted) {
            return Ok(());
        }
        Err(self.wrong())
    }

    fn wrong(&self) -> Error {
        self.peek().map_or(Error::Incomplete(';'), unexpected)
    }

    fn skip_lines(&mut self) {
        while self.operator("\n") {}
    }

    /// Commands up to one of the words in `ends`, which is left in place.
    fn list(&mut self, ends: &[&str]) -> Result<List, Error> {
        let mut list = List::new();
        loop {
            while self.operator("\n") || (!list.is_empty() && self.operator(";")) {}
            let ended = match self.peek() {
                None => true,
                Some(Token::Operator(")")) => true,
                Some(_) => self.keyword().is_some_and(|word| ends.contains(&word)),
            };
            if ended {
                return Ok(list);
            }
            let command = self.and_or()?;
            let background = self.operator("&");
            list.push((command, background));
            let separated = background || matches!(self.peek(), None | Some(Token::Operator(";" | "\n" | ")")));
            if !separated {
                return Err(self.wrong());
            }
        }
    }

    fn body(&mut self, ends: &[&str]) -> Result<List, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::Unexpected("depth of commands within commands".into()));
        }
        let list = self.list(ends)?;
        self.depth -= 1;
        if list.is_empty() { Err(self.wrong()) } else { Ok(list) }
    }

    fn and_or(&mut self) -> Result<AndOr, Error> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            let and = self.operator("&&");
            if !and && !self.operator("||") {
                return Ok(AndOr { first, rest });
            }
            self.skip_lines();
            rest.push((and, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, Error> {
        let negated = self.take_keyword("!");
        let mut commands = vec![self.command()?];
        while self.operator("|") {
            self.skip_lines();
            commands.push(self.command()?);
        }
        Ok(Pipeline { negated, commands })
    }

    fn command(&mut self) -> Result<Command, Error> {
        let kind = if self.operator("(") {
            let list = self.body(&[])?;
            if !self.operator(")") {
                return Err(self.peek().map_or(Error::Incomplete(')'), unexpected));
            }
            Kind::Subshell(list)
        } else {
            match self.keyword().unwrap_or_default() {
                "if" => self.conditional()?,
                "while" => self.repeat(false)?,
                "until" => self.repeat(true)?,
                "for" => self.each()?,
                "{" => {
                    self.at += 1;
                    let list = self.body(&["}"])?;
                    self.expect("}")?;
                    Kind::Group(list)
                }
                "then" | "do" | "done" | "fi" | "else" | "elif" | "}" => return Err(self.wrong()),
                _ => return self.simple(),
            }
        };
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(Command { kind, redirects })
    }

    fn conditional(&mut self) -> Result<Kind, Error> {
        let mut branches = Vec::new();
        while self.take_keyword("if") || self.take_keyword("elif") {
            let condition = self.body(&["then"])?;
            self.expect("then")?;
            branches.push((condition, self.body(&["elif", "else", "fi"])?));
        }
        let otherwise = if self.take_keyword("else") { self.body(&["fi"])? } else { List::new() };
        self.expect("fi")?;
        Ok(Kind::If(branches, otherwise))
    }

    fn repeat(&mut self, until: bool) -> Result<Kind, Error> {
        self.at += 1;
        let condition = self.body(&["do"])?;
        self.expect("do")?;
        let body = self.body(&["done"])?;
        self.expect("done")?;
        Ok(Kind::While(condition, body, until))
    }

    fn each(&mut self) -> Result<Kind, Error> {
        self.at += 1;
        let name = self.keyword().map(String::from).ok_or_else(|| self.wrong())?;
        self.at += 1;
        let mut values = vec![vec![Part::Fill(super::words::Fill::Variable("@".into()), true)]];
        if self.take_keyword("in") {
            values.clear();
            while let Some(Token::Word(word)) = self.peek() {
                values.push(word.clone());
                self.at += 1;
            }
        }
        while self.operator(";") || self.operator("\n") {}
        self.expect("do")?;
        let body = self.body(&["done"])?;
        self.expect("done")?;
        Ok(Kind::For(name, values, body))
    }

    fn simple(&mut self) -> Result<Command, Error> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            let Some(Token::Word(word)) = self.peek() else { break };
            match assignment(word).filter(|_| words.is_empty()) {
                Some(assignment) => assignments.push(assignment),
                None => words.push(word.clone()),
            }
            self.at += 1;
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.wrong());
        }
        Ok(Command { kind: Kind::Simple(assignments, words), redirects })
    }

    fn redirect(&mut self) -> Result<Option<(u8, &'static str, Word)>, Error> {
        let Some(&Token::Redirect(descriptor, operator)) = self.peek() else { return Ok(None) };
        self.at += 1;
        let Some(Token::Word(target)) = self.peek() else { return Err(self.wrong()) };
        let target = target.clone();
        self.at += 1;
        Ok(Some((descriptor, operator, target)))
    }
}

/// `NAME=VALUE`, taken apart.
pub fn assignment(word: &Word) -> Option<(String, Word)> {
    let (first, rest) = word.split_first()?;
    let Part::Text(text) = first else { return None };
    let (name, value) = text.split_at(name_length(text));
    let value = value.strip_prefix('=').filter(|_| !name.is_empty())?;
    let mut parts = vec![Part::Quoted(value.to_string())];
    parts.extend_from_slice(rest);
    Some((name.into(), parts))
}

fn unexpected(token: &Token) -> Error {
    Error::Unexpected(match token {
        Token::Operator("\n") => "end of line".into(),
        Token::Operator(operator) => format!("{operator:?}"),
        Token::Redirect(_, operator) => format!("{operator:?}"),
        Token::Word(parts) => match parts.first() {
            Some(Part::Text(text) | Part::Quoted(text)) => format!("{text:?}"),
            _ => "word".into(),
        },
    })
}
