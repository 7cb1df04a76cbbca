//! Writes `config/REFERENCE.md` from the table and the defaults.

use std::fmt::Write;

use super::table::{SETTINGS, Value};
use super::{DEFAULTS, file};

/// The text of `config/REFERENCE.md`.
pub fn text() -> String {
    let defaults = file::read(DEFAULTS).unwrap_or_default();
    let mut out = String::from(HEAD);
    for setting in SETTINGS {
        let default = defaults.iter().find(|entry| entry.key == setting.key).map(|entry| &entry.value);
        let default = match default {
            Some(Value::One(text)) if !text.is_empty() => format!("`{text}`"),
            Some(Value::Many(items)) if !items.is_empty() => format!("`{}`", items.join(",")),
            _ => "empty".to_string(),
        };
        let _ = writeln!(
            out,
            "| `{}` | `{}` | {} | {default} | {} |",
            setting.key,
            setting.variable(),
            setting.takes,
            setting.means
        );
    }
    out
}

const HEAD: &str = "# Settings

Written from the table in `src/cli/settings/table.rs` and `config/default.toml`; a test keeps it current
(`SHOAL_TEST_BLESS=1 cargo test --lib settings` rewrites it).

Layers, later ones win: the defaults; `/etc/shoal/config.toml`, or the file that `--config` names; `*.toml` in the
directory beside it that ends in `.d` (`/etc/shoal/config.d/`), by name; the environment; flags of `shoal up`.
A name that is not in this table is refused. Lists are separated by commas in the environment. Durations take `ms`, `s`,
`m`, `h`, `d`; sizes take `Ki`, `Mi`, `Gi`.

| setting | environment | takes | default | meaning |
| --- | --- | --- | --- | --- |
";
