//! Cuts a label query into tokens.

/// What a piece of a query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    Word,
    In,
    NotIn,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    Open,
    Close,
    Comma,
}

/// A piece of a query and its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
}

/// The tokens of a query, one ahead.
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next token, left in place. `in` and `notin` are words here: a key or a value may be called so.
    pub(super) fn peek(&self) -> Token<'a> {
        as_word(cut(self.rest).0)
    }

    /// The next token, where a key or a value is expected.
    pub(super) fn next_word(&mut self) -> Token<'a> {
        as_word(self.next_operator())
    }

    /// The next token, where an operator is expected.
    pub(super) fn next_operator(&mut self) -> Token<'a> {
        let (token, rest) = cut(self.rest);
        self.rest = rest;
        token
    }
}

fn as_word(token: Token<'_>) -> Token<'_> {
    let kind = if matches!(token.kind, Kind::In | Kind::NotIn) { Kind::Word } else { token.kind };
    Token { kind, ..token }
}

const SYMBOLS: [(&str, Kind); 9] = [
    ("==", Kind::DoubleEquals),
    ("!=", Kind::NotEquals),
    ("=", Kind::Equals),
    ("!", Kind::Not),
    (">", Kind::Greater),
    ("<", Kind::Less),
    ("(", Kind::Open),
    (")", Kind::Close),
    (",", Kind::Comma),
];

fn cut(text: &str) -> (Token<'_>, &str) {
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    for (symbol, kind) in SYMBOLS {
        if let Some(rest) = text.strip_prefix(symbol) {
            return (Token { kind, text: symbol }, rest);
        }
    }
    let end = text.find(is_boundary).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let kind = match word {
        "" => Kind::End,
        "in" => Kind::In,
        "notin" => Kind::NotIn,
        _ => Kind::Word,
    };
    (Token { kind, text: word }, rest)
}

fn is_boundary(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '=' | '!' | '(' | ')' | ',' | '>' | '<')
}
