//! What the numbers of a message's fields are called in JSON, from a table of our own, `numbers.txt`.

use std::collections::HashMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("numbers.txt");

/// What a number stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// A field.
    Field {
        /// Its name in JSON.
        name: &'static str,
        /// Whether a zero means something; elsewhere senders write zeros for what is unset.
        keeps_zero: bool,
    },
    /// A message whose fields JSON has in the outer object.
    Inline(String),
}

type Slots = HashMap<u64, Slot>;

/// The slot of a message's number; `None` for numbers that are not known here.
pub(super) fn slot(message: &str, number: u64) -> Option<&'static Slot> {
    static SLOTS: OnceLock<HashMap<String, Slots>> = OnceLock::new();
    SLOTS.get_or_init(compile).get(message)?.get(&number)
}

fn compile() -> HashMap<String, Slots> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(name, fields)| (full(name), slots(fields))).collect()
}

fn slots(fields: &'static str) -> Slots {
    let one = |field: &'static str| {
        let (number, name) = field.split_once(':')?;
        let slot = match (name.strip_prefix('+'), name.strip_suffix('!')) {
            (Some(inner), _) => Slot::Inline(full(inner)),
            (None, Some(name)) => Slot::Field { name, keeps_zero: true },
            (None, None) => Slot::Field { name, keeps_zero: false },
        };
        Some((number.parse().ok()?, slot))
    };
    fields.split(' ').filter_map(one).collect()
}

fn full(name: &str) -> String {
    let home = if name.starts_with("meta.") { "io.k8s.apimachinery.pkg.apis" } else { "io.k8s.api" };
    format!("{home}.{name}")
}
