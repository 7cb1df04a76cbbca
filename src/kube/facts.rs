//! What the schemas of the types leave unsaid: list types, map keys, patch strategies. A table of our own, `facts.txt`.

use std::collections::HashMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("facts.txt");

/// How a list is merged by server-side apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Replaced whole.
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects, told apart by [`Facts::map_keys`].
    Map,
}

/// What is known about a field (or about a whole type) beyond its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// For lists; `None` where nothing is declared (then atomic).
    pub list_type: Option<ListType>,
    /// Keys of a [`ListType::Map`] list.
    pub map_keys: Vec<&'static str>,
    /// `atomic` for a map or object that is replaced whole, `granular` for one that is not.
    pub map_type: Option<&'static str>,
    /// The key by which strategic merge patch tells list items apart.
    pub merge_key: Option<&'static str>,
    /// `merge`, `replace`, `retainKeys`.
    pub patch_strategies: Vec<&'static str>,
    /// Of a type whose fields exclude each other: the field that says which one is set (may be empty), and those fields.
    pub union: Option<(&'static str, &'static str)>,
    /// Fields of a type that its schema requires and Kubernetes does not.
    pub optional: Option<&'static str>,
    /// Fields that Kubernetes requires of a type, comma separated, where the schema says something else.
    pub required: Option<&'static str>,
}

/// Nothing special.
pub static NONE: Facts = Facts {
    list_type: None,
    map_keys: Vec::new(),
    map_type: None,
    merge_key: None,
    patch_strategies: Vec::new(),
    union: None,
    optional: None,
    required: None,
};

impl Facts {
    /// Whether strategic merge patch merges the field instead of replacing it.
    pub fn merges(&self) -> bool {
        self.patch_strategies.contains(&"merge")
    }

    /// Whether strategic merge patch honours `$retainKeys` for the field.
    pub fn retains_keys(&self) -> bool {
        self.patch_strategies.contains(&"retainKeys")
    }
}

/// The facts of a field of a type (full schema name, e.g. `io.k8s.api.core.v1.Container`); [`NONE`] where none are known.
pub fn of(type_name: &str, field: &str) -> &'static Facts {
    let fields = table().get(short(type_name));
    fields.and_then(|fields| fields.iter().find(|(name, _)| *name == field)).map_or(&NONE, |(_, facts)| facts)
}

/// The facts of a type itself.
pub fn of_type(type_name: &str) -> &'static Facts {
    of(type_name, ".")
}

type Fields = Vec<(&'static str, Facts)>;

fn table() -> &'static HashMap<&'static str, Fields> {
    static PARSED: OnceLock<HashMap<&'static str, Fields>> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut types: HashMap<&str, Fields> = HashMap::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ');
            if let (Some(type_name), Some(field)) = (words.next(), words.next()) {
                types.entry(type_name).or_default().push((field, parse(words)));
            }
        }
        types
    })
}

fn parse(words: impl Iterator<Item = &'static str>) -> Facts {
    let mut facts = NONE.clone();
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        match (key, value) {
            ("list", "atomic") => facts.list_type = Some(ListType::Atomic),
            ("list", "set") => facts.list_type = Some(ListType::Set),
            ("list", "map") => facts.list_type = Some(ListType::Map),
            ("keys", keys) => facts.map_keys = keys.split(',').collect(),
            ("map", kind) => facts.map_type = Some(kind),
            ("merge", key) => facts.merge_key = Some(key),
            ("union", text) => facts.union = text.split_once(':'),
            ("optional", fields) => facts.optional = Some(fields),
            ("required", fields) => facts.required = Some(fields),
            ("patch", names) => facts.patch_strategies = names.split(',').collect(),
            _ => {}
        }
    }
    facts
}

/// The name as the table has it: without the prefixes that nearly all types share.
fn short(type_name: &str) -> &str {
    let rest = type_name.strip_prefix("io.k8s.api.");
    rest.or_else(|| type_name.strip_prefix("io.k8s.apimachinery.pkg.apis.")).unwrap_or(type_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            assert!(words.len() >= 3, "{line}");
            assert_ne!(parse(words[2..].iter().copied()), NONE, "{line}");
        }
    }

    #[test]
    fn ports_of_containers_have_two_map_keys_but_one_merge_key() {
        let facts = of("io.k8s.api.core.v1.Container", "ports");
        assert_eq!(facts.list_type, Some(ListType::Map));
        assert_eq!(facts.map_keys, ["containerPort", "protocol"]);
        assert_eq!(facts.merge_key, Some("containerPort"));
        assert!(facts.merges());
    }

    #[test]
    fn volumes_and_strategies_retain_keys_and_plain_fields_have_no_facts() {
        assert!(of("io.k8s.api.core.v1.PodSpec", "volumes").retains_keys());
        assert!(of("io.k8s.api.apps.v1.DeploymentSpec", "strategy").retains_keys());
        assert_eq!(of("io.k8s.api.core.v1.PodSpec", "hostname"), &NONE);
        assert_eq!(of_type("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector").map_type, Some("atomic"));
    }
}
