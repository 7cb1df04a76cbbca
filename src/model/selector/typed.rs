//! Reads `metav1.LabelSelector`: in an object there is a difference between no selector and an empty one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Typed;
use serde_json::Value;

use super::label::{check_key, check_value, check_values};
use super::{Error, LabelSelector, Operator, Requirement};

impl LabelSelector {
    /// Reads the JSON of a `metav1.LabelSelector`. `None` (for a null) selects nothing, the empty selector everything.
    ///
    /// # Errors
    /// Where it is not a label selector, or an operator, key or value is not legal.
    pub fn from_value(value: &Value) -> Result<Option<Self>, Error> {
        if value.is_null() {
            return Ok(None);
        }
        let typed: Typed = serde::Deserialize::deserialize(value)
            .map_err(|error| Error::new(format!("not a label selector: {error}")))?;
        Self::from_typed(Some(&typed))
    }

    /// Reads a `metav1.LabelSelector`. `None` (for no selector) selects nothing, the empty selector everything.
    ///
    /// # Errors
    /// Where an operator, key or value is not legal.
    pub fn from_typed(selector: Option<&Typed>) -> Result<Option<Self>, Error> {
        let Some(selector) = selector else { return Ok(None) };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            check_key("key", key)?;
            check_value(key, 0, value)?;
            requirements.push(Requirement { key: key.clone(), operator: Operator::In(vec![value.clone()]) });
        }
        for expression in selector.match_expressions.iter().flatten() {
            check_key("key", &expression.key)?;
            let values = expression.values.clone().unwrap_or_default();
            let operator = operator(&expression.key, &expression.operator, values)?;
            requirements.push(Requirement { key: expression.key.clone(), operator });
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Some(Self { requirements }))
    }
}

fn operator(key: &str, name: &str, values: Vec<String>) -> Result<Operator, Error> {
    let no_values = |operator: Operator, values: &[String]| {
        if values.is_empty() {
            return Ok(operator);
        }
        let list = Value::from(values.to_vec());
        Err(Error::new(format!(
            "values: Invalid value: {list}: values set must be empty for exists and does not exist"
        )))
    };
    match name {
        "In" => Ok(Operator::In(check_values(key, values)?)),
        "NotIn" => Ok(Operator::NotIn(check_values(key, values)?)),
        "Exists" => no_values(Operator::Exists, &values),
        "DoesNotExist" => no_values(Operator::Absent, &values),
        other => Err(Error::new(format!("{other:?} is not a valid label selector operator"))),
    }
}
