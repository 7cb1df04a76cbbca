//! Names, labels, ports, quantities: the syntax rules that fields share, with Kubernetes' explanations.

use serde_json::Value;

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

fn longer(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    bounded(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), inner)
}

/// Whether the text is not empty, begins and ends with `edge` bytes and has only `inner` bytes between.
fn bounded(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|byte| edge(*byte)) && bytes.last().is_some_and(|byte| edge(*byte));
    ends && bytes.iter().all(|byte| inner(*byte))
}

fn with_length(text: &str, max: usize, fits: bool, complaint: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if text.len() > max {
        complaints.push(longer(max));
    }
    if !fits {
        complaints.push(complaint.to_owned());
    }
    complaints
}

/// RFC 1123 label: names of containers, volumes, namespaces.
pub(super) fn label_name(text: &str) -> Vec<String> {
    with_length(
        text,
        LABEL_MAX,
        is_label(text),
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    )
}

/// RFC 1123 subdomain: most names.
pub(super) fn subdomain_name(text: &str) -> Vec<String> {
    with_length(
        text,
        SUBDOMAIN_MAX,
        text.split('.').all(is_label),
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    )
}

fn is_qualified_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    bounded(text, |byte| byte.is_ascii_alphanumeric(), inner)
}

const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Keys of labels and annotations, finalizers: `name` or `prefix/name`.
pub(super) fn qualified_name(text: &str) -> Vec<String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let mut complaints = Vec::new();
    match prefix {
        Some("") => complaints.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            complaints.extend(subdomain_name(prefix).into_iter().map(|complaint| format!("prefix part {complaint}")));
        }
        None => {}
    }
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    }
    for complaint in with_length(name, LABEL_MAX, is_qualified_part(name), QUALIFIED) {
        complaints.push(format!("name part {complaint}"));
    }
    complaints
}

/// Values of labels.
pub(super) fn label_value(text: &str) -> Vec<String> {
    with_length(
        text,
        LABEL_MAX,
        text.is_empty() || is_qualified_part(text),
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    )
}

/// Keys of config maps and secrets: names of files.
pub(super) fn data_key(text: &str) -> Vec<String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = !text.is_empty() && text.bytes().all(inner);
    let mut complaints = with_length(
        text,
        SUBDOMAIN_MAX,
        fits,
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    );
    if text == "." || text == ".." {
        complaints.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        complaints.push("must not start with '..'".to_owned());
    }
    complaints
}

/// Names of environment variables: anything printable but `=`.
pub(super) fn variable_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// Names of ports of containers: IANA service names.
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |fits: bool, complaint: &str| {
        if !fits {
            complaints.push(complaint.to_owned());
        }
    };
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    complain(text.len() <= 15, "must be no more than 15 characters");
    complain(text.bytes().all(allowed), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    complain(text.bytes().any(|byte| byte.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    complain(!text.contains("--"), "must not contain consecutive hyphens");
    complain(!text.starts_with('-') && !text.ends_with('-'), "must not begin or end with a hyphen");
    complaints
}

/// Numbers of ports.
pub(super) fn port_number(number: i64) -> Option<String> {
    (!(1..=65_535).contains(&number)).then(|| "must be between 1 and 65535, inclusive".to_owned())
}

/// A port of a container by number or name.
pub(super) fn port_reference(port: &Value) -> Vec<String> {
    match port {
        Value::String(name) => port_name(name),
        other => port_number(other.as_i64().unwrap_or(0)).into_iter().collect(),
    }
}
