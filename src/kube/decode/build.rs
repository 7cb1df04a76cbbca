//! Builds a JSON value in one pass over any deserializer, counting depth and nodes and noting duplicate keys.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Limits;

/// Most duplicate keys that are remembered for one body.
const MAX_DUPLICATES: usize = 64;
/// Most elements for which room is made on the word of the input alone.
const MAX_RESERVE: usize = 64;

/// What has been seen of a body so far.
pub(super) struct Seen {
    pub duplicates: Vec<String>,
    limits: Limits,
    nodes: usize,
}

impl Seen {
    pub(super) fn new(limits: Limits) -> Self {
        Self { duplicates: Vec::new(), limits, nodes: 0 }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    fn count(&mut self) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > self.limits.max_nodes {
            return Err(format!("more than {} values", self.limits.max_nodes));
        }
        Ok(())
    }
}

/// The way from the root to a value, as a list on the call stack: it costs nothing until it is printed.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The seed (and visitor) of one value.
pub(super) struct Builder<'a> {
    seen: &'a mut Seen,
    path: &'a Path<'a>,
    depth: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn root(seen: &'a mut Seen) -> Self {
        Self { seen, path: &Path::Root, depth: 0 }
    }

    fn enter<E: Error>(&self) -> Result<usize, E> {
        let (depth, max) = (self.depth + 1, self.seen.limits.max_depth);
        if depth > max {
            return Err(E::custom(format!("exceeded max depth of {max} at {}", self.path)));
        }
        Ok(depth)
    }
}

impl<'de> DeserializeSeed<'de> for Builder<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.seen.count().map_err(D::Error::custom)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Builder<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that JSON does not have"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut list = Vec::with_capacity(access.size_hint().unwrap_or(0).min(MAX_RESERVE));
        loop {
            let path = Path::Index(self.path, list.len());
            let Some(value) = access.next_element_seed(Builder { seen: self.seen, path: &path, depth })? else {
                return Ok(Value::Array(list));
            };
            list.push(value);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key_seed(Key)? {
            self.seen.count().map_err(A::Error::custom)?;
            let path = Path::Key(self.path, &key);
            let value = access.next_value_seed(Builder { seen: self.seen, path: &path, depth })?;
            if map.contains_key(&key) && self.seen.duplicates.len() < MAX_DUPLICATES {
                let path = path.to_string();
                if !self.seen.duplicates.contains(&path) {
                    self.seen.duplicates.push(path);
                }
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The seed of a key. YAML has keys of other types; they become the text that JSON would need.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_string<E>(self, value: String) -> Result<String, E> {
        Ok(value)
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }
}
