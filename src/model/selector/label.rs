//! Reads the query form of label selectors. Grammar and wording: `k8s.io/apimachinery/pkg/labels`.

use super::lexer::{Kind, Token, Tokens};
use super::{Error, LabelSelector, Operator, Requirement};

/// Longest name part of a label key, and longest label value, in bytes.
const NAME_MAX: usize = 63;
/// Longest prefix (a DNS subdomain) of a label key, in bytes.
const PREFIX_MAX: usize = 253;

pub(super) fn parse(text: &str) -> Result<LabelSelector, Error> {
    let mut tokens = Tokens::new(text);
    let mut requirements = Vec::new();
    loop {
        match tokens.peek() {
            Token { kind: Kind::Word | Kind::Not, .. } => {
                let requirement = requirement(&mut tokens)
                    .map_err(|error| Error::new(format!("unable to parse requirement: {}", error.reason)))?;
                requirements.push(requirement);
                if !another(&mut tokens)? {
                    break;
                }
            }
            Token { kind: Kind::End, .. } => break,
            other => return Err(unexpected(other, "!, identifier, or 'end of string'")),
        }
    }
    requirements.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(LabelSelector { requirements })
}

/// Reads what follows a requirement: a comma and the start of another one, or the end.
fn another(tokens: &mut Tokens<'_>) -> Result<bool, Error> {
    let token = tokens.next_word();
    match token.kind {
        Kind::End => Ok(false),
        Kind::Comma => match tokens.peek() {
            Token { kind: Kind::Word | Kind::Not, .. } => Ok(true),
            other => Err(unexpected(other, "identifier after ','")),
        },
        _ => Err(unexpected(token, "',' or 'end of string'")),
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, Error> {
    let mut token = tokens.next_word();
    let negated = token.kind == Kind::Not;
    if negated {
        token = tokens.next_word();
    }
    if token.kind != Kind::Word {
        return Err(unexpected(token, "identifier"));
    }
    check_key("<nil>", token.text)?;
    let key = token.text.to_owned();
    let operator = if negated {
        Operator::Absent
    } else if matches!(tokens.peek().kind, Kind::End | Kind::Comma) {
        Operator::Exists
    } else {
        operator(tokens, &key)?
    };
    Ok(Requirement { key, operator })
}

fn operator(tokens: &mut Tokens<'_>, key: &str) -> Result<Operator, Error> {
    let token = tokens.next_operator();
    match token.kind {
        Kind::In => Ok(Operator::In(values(tokens, key)?)),
        Kind::NotIn => Ok(Operator::NotIn(values(tokens, key)?)),
        Kind::Equals | Kind::DoubleEquals => Ok(Operator::In(vec![exact(tokens, key)?])),
        Kind::NotEquals => Ok(Operator::NotIn(vec![exact(tokens, key)?])),
        Kind::Greater => Ok(Operator::Greater(number(&exact(tokens, key)?)?)),
        Kind::Less => Ok(Operator::Less(number(&exact(tokens, key)?)?)),
        _ => Err(unexpected(token, "in, notin, =, ==, !=, gt, lt")),
    }
}

fn exact(tokens: &mut Tokens<'_>, key: &str) -> Result<String, Error> {
    if matches!(tokens.peek().kind, Kind::End | Kind::Comma) {
        return Ok(String::new());
    }
    let token = tokens.next_word();
    if token.kind != Kind::Word {
        return Err(unexpected(token, "identifier"));
    }
    check_value(key, 0, token.text)?;
    Ok(token.text.to_owned())
}

fn number(text: &str) -> Result<i64, Error> {
    text.parse().map_err(|_| {
        Error::new(format!(
            "values[0]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer"
        ))
    })
}

/// Reads `(a,b)`; a missing value, as in `(a,)`, is the empty one.
fn values(tokens: &mut Tokens<'_>, key: &str) -> Result<Vec<String>, Error> {
    let open = tokens.next_word();
    if open.kind != Kind::Open {
        return Err(Error::new(format!("found '{}' expected: '('", open.text)));
    }
    if tokens.peek().kind == Kind::Close {
        tokens.next_word();
        return check_values(key, Vec::new());
    }
    let mut values = Vec::new();
    let mut expects_value = true;
    loop {
        let token = tokens.next_word();
        match (token.kind, expects_value) {
            (Kind::Word, true) => {
                values.push(token.text.to_owned());
                expects_value = false;
            }
            (Kind::Comma, was_value_missing) => {
                if was_value_missing {
                    values.push(String::new());
                }
                expects_value = true;
            }
            (Kind::Close, was_value_missing) => {
                if was_value_missing {
                    values.push(String::new());
                }
                return check_values(key, values);
            }
            (_, true) => return Err(unexpected(token, "',', ')' or identifier")),
            (_, false) => return Err(unexpected(token, "',' or ')'")),
        }
    }
}

/// Orders the values of a set and checks each; a set without values matches nothing and is refused.
pub(super) fn check_values(key: &str, mut values: Vec<String>) -> Result<Vec<String>, Error> {
    values.sort();
    values.dedup();
    if values.is_empty() {
        return Err(Error::new("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"));
    }
    for (index, value) in values.iter().enumerate() {
        check_value(key, index, value)?;
    }
    Ok(values)
}

fn unexpected(token: Token<'_>, expected: &str) -> Error {
    Error::new(format!("found '{}', expected: {expected}", token.text))
}

/// Checks a label key: an optional DNS prefix and a name. `path` names the place in the message.
pub(super) fn check_key(path: &str, key: &str) -> Result<(), Error> {
    let problems = key_problems(key);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!("{path}: Invalid value: {key:?}: {}", problems.join("; "))))
}

pub(super) fn check_value(key: &str, index: usize, value: &str) -> Result<(), Error> {
    let problem = if value.len() > NAME_MAX {
        "must be no more than 63 bytes"
    } else if !value.is_empty() && !is_name(value) {
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
         and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
         validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    } else {
        return Ok(());
    };
    Err(Error::new(format!("values[{index}][{key}]: Invalid value: {value:?}: {problem}")))
}

const NAME_RULE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PREFIX_RULE: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
    validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SHAPE_RULE: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start \
    and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
    'example.com/MyName')";

fn key_problems(key: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((_, name)) if name.contains('/') => return vec![SHAPE_RULE],
        Some((prefix, name)) => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty");
            } else if prefix.len() > PREFIX_MAX {
                problems.push("prefix part must be no more than 253 bytes");
            } else if !prefix.split('.').all(is_dns_label) {
                problems.push(PREFIX_RULE);
            }
            name
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty");
    } else if name.len() > NAME_MAX {
        problems.push("name part must be no more than 63 bytes");
    }
    if !is_name(name) {
        problems.push(NAME_RULE);
    }
    problems
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_dns_label(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
}
