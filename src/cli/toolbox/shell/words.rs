//! Cuts a script into words and operators, with quotes and expansions recognized but not yet carried out.

use super::parse::Error;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// Literal text that was quoted: it makes a word even where it is empty.
    Quoted(String),
    /// Something to fill in; with whether it stood in double quotes.
    Fill(Fill, bool),
}

/// Something to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fill {
    /// `$NAME`, `${NAME}`.
    Variable(String),
    /// `${NAME:-WORD}` and its kin: name, operator (`-`, `:-`, `=`, `:=`, `+`, `:+`, `?`, `:?`), text.
    Conditional(String, String, String),
    /// `${#NAME}`.
    Length(String),
    /// `$(...)`.
    Command(String),
    /// `$((...))`.
    Arithmetic(String),
}

/// A word or an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A word.
    Word(Vec<Part>),
    /// `;`, `&&`, `>`, a line's end, ...
    Operator(&'static str),
    /// A redirection of descriptor 0, 1 or 2.
    Redirect(u8, &'static str),
}

const OPERATORS: [&str; 10] = ["&&", "||", ";;", ";", "&", "|", "(", ")", "\n", "\r\n"];

/// All tokens of a script.
pub fn tokens(script: &str) -> Result<Vec<Token>, Error> {
    let mut reader = Reader { rest: script };
    let mut tokens = Vec::new();
    while let Some(token) = reader.token()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn token(&mut self) -> Result<Option<Token>, Error> {
        self.skip_blanks();
        if self.rest.is_empty() {
            return Ok(None);
        }
        if let Some(redirect) = self.redirect() {
            return Ok(Some(redirect));
        }
        for operator in OPERATORS {
            if self.take(operator) {
                return Ok(Some(Token::Operator(if operator == "\r\n" { "\n" } else { operator })));
            }
        }
        self.word().map(|word| Some(Token::Word(word)))
    }

    fn skip_blanks(&mut self) {
        loop {
            let trimmed = self.rest.trim_start_matches([' ', '\t']);
            self.rest = trimmed.strip_prefix("\\\n").unwrap_or(trimmed);
            if self.rest.starts_with('#') {
                self.rest = self.rest.get(self.rest.find('\n').unwrap_or(self.rest.len())..).unwrap_or("");
            } else if trimmed.len() == self.rest.len() {
                return;
            }
        }
    }

    fn redirect(&mut self) -> Option<Token> {
        let (descriptor, length) = match self.rest.bytes().next()? {
            b'<' => (0, 0),
            b'>' => (1, 0),
            digit @ b'0'..=b'2' if self.rest.get(1..)?.starts_with(['<', '>']) => (digit - b'0', 1),
            _ => return None,
        };
        self.rest = self.rest.get(length..)?;
        let operator = [">>", ">&", "<&", ">", "<"].into_iter().find(|operator| self.take(operator))?;
        Some(Token::Redirect(descriptor, operator))
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest.strip_prefix(text);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn word(&mut self) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        let mut text = String::new();
        while let Some(c) = self.rest.chars().next() {
            if c.is_whitespace() || ";&|()<>".contains(c) {
                break;
            }
            self.next();
            match c {
                '\\' => text.extend(self.next().filter(|c| *c != '\n')),
                '\'' => {
                    flush(&mut parts, &mut text);
                    parts.push(Part::Quoted(self.until('\'')?));
                }
                '"' => {
                    flush(&mut parts, &mut text);
                    self.double_quoted(&mut parts)?;
                }
                '$' | '`' => match self.fill(c)? {
                    Some(fill) => {
                        flush(&mut parts, &mut text);
                        parts.push(Part::Fill(fill, false));
                    }
                    None => text.push(c),
                },
                c => text.push(c),
            }
        }
        flush(&mut parts, &mut text);
        Ok(parts)
    }

    fn until(&mut self, end: char) -> Result<String, Error> {
        let (text, rest) = self.rest.split_once(end).ok_or(Error::Incomplete(end))?;
        self.rest = rest;
        Ok(text.into())
    }

    fn double_quoted(&mut self, parts: &mut Vec<Part>) -> Result<(), Error> {
        let mut text = String::new();
        // Quoted even where it is empty.
        parts.push(Part::Quoted(String::new()));
        loop {
            match self.next().ok_or(Error::Incomplete('"'))? {
                '"' => break,
                '\\' => match self.next().ok_or(Error::Incomplete('"'))? {
                    '\n' => {}
                    c if "$`\"\\".contains(c) => text.push(c),
                    c => text.extend(['\\', c]),
                },
                c @ ('$' | '`') => match self.fill(c)? {
                    Some(fill) => {
                        parts.push(Part::Quoted(std::mem::take(&mut text)));
                        parts.push(Part::Fill(fill, true));
                    }
                    None => text.push(c),
                },
                c => text.push(c),
            }
        }
        parts.push(Part::Quoted(text));
        Ok(())
    }

    /// What follows a `$` or a back-quote; `None` where it is only that sign.
    fn fill(&mut self, sign: char) -> Result<Option<Fill>, Error> {
        if sign == '`' {
            return Ok(Some(Fill::Command(self.until('`')?)));
        }
        if self.take("((") {
            let text = self.balanced()?;
            return if self.take(")") { Ok(Some(Fill::Arithmetic(text))) } else { Err(Error::Incomplete(')')) };
        }
        if self.take("(") {
            return Ok(Some(Fill::Command(self.balanced()?)));
        }
        if self.take("{") {
            return self.until('}').map(|inner| Some(braced(&inner)));
        }
        if let Some(special) = self.rest.chars().next().filter(|c| "?$#@*!0123456789".contains(*c)) {
            self.next();
            return Ok(Some(Fill::Variable(special.into())));
        }
        let length = name_length(self.rest);
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok((!name.is_empty()).then(|| Fill::Variable(name.into())))
    }

    /// Text up to the parenthesis that closes one which is open already; quotes hide parentheses.
    fn balanced(&mut self) -> Result<String, Error> {
        let mut text = String::new();
        let mut depth = 1;
        let mut quote = None;
        loop {
            let c = self.next().ok_or(Error::Incomplete(')'))?;
            match (quote, c) {
                (None, '(') => depth += 1,
                (None, ')') => depth -= 1,
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), c) if open == c => quote = None,
                _ => {}
            }
            if depth == 0 {
                return Ok(text);
            }
            text.push(c);
            if c == '\\' {
                text.extend(self.next());
            }
        }
    }
}

fn braced(inner: &str) -> Fill {
    if let Some(name) = inner.strip_prefix('#').filter(|name| !name.is_empty()) {
        return Fill::Length(name.into());
    }
    let special = inner.starts_with(|c: char| "?$#@*".contains(c) || c.is_ascii_digit());
    let (name, rest) = inner.split_at(if special { 1 } else { name_length(inner) });
    let operator_length = rest.len().min(if rest.starts_with(':') { 2 } else { 1 });
    match rest.split_at_checked(operator_length) {
        Some((operator, text)) if !operator.is_empty() => Fill::Conditional(name.into(), operator.into(), text.into()),
        _ => Fill::Variable(name.into()),
    }
}

/// Length of the variable name that a text begins with.
pub fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn flush(parts: &mut Vec<Part>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}
