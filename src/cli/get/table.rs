//! Tables as the server makes them, with columns of even width.

use serde_json::Value;

use crate::cli::client::resources::{items, text};

/// Blanks between columns.
const GAP: usize = 3;

/// Rows of one resource.
pub struct Table {
    wide: bool,
    with_namespace: bool,
    prefix: String,
    columns: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    /// An empty table; `wide` shows columns of low priority too.
    pub fn new(wide: bool, with_namespace: bool) -> Self {
        Self { wide, with_namespace, prefix: String::new(), columns: Vec::new(), rows: Vec::new(), widths: Vec::new() }
    }

    /// A table that no server made: names of columns, and rows.
    pub fn plain(columns: &[&str], rows: Vec<Vec<String>>) -> Self {
        let columns = columns.iter().map(|name| (name.to_uppercase(), true)).collect();
        Self { columns, rows, ..Self::new(false, false) }
    }

    /// Puts a text in front of every name.
    pub fn prefix(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the rows of a server's table.
    pub fn add(&mut self, table: &Value) {
        let columns = items(table, "columnDefinitions");
        if self.columns.is_empty() && !columns.is_empty() {
            let shown = |column: &Value| self.wide || column.get("priority").and_then(Value::as_i64).unwrap_or(0) == 0;
            self.columns = columns.iter().map(|column| (text(column, "/name").to_uppercase(), shown(column))).collect();
        }
        for row in items(table, "rows") {
            let cells = self.cells(row);
            self.rows.push(cells);
        }
    }

    /// The table as text.
    pub fn render(&mut self, no_headers: bool) -> String {
        let mut header: Vec<String> =
            self.columns.iter().filter(|(_, shown)| *shown).map(|(name, _)| name.clone()).collect();
        if self.with_namespace {
            header.insert(0, "NAMESPACE".into());
        }
        let mut lines = if no_headers || self.columns.is_empty() { Vec::new() } else { vec![header] };
        lines.append(&mut self.rows);
        for line in &lines {
            self.widen(line);
        }
        lines.iter().map(|line| self.line(line)).collect()
    }

    /// The rows of a change of this table, under the columns that were printed.
    pub fn render_change(&mut self, change: &Value) -> String {
        self.add(change);
        self.render(true)
    }

    fn cells(&self, row: &Value) -> Vec<String> {
        let cells = items(row, "cells").iter().zip(&self.columns).filter(|(_, (_, shown))| *shown);
        let mut cells: Vec<String> = cells.map(|(cell, _)| plain(cell)).collect();
        if let Some(first) = cells.first_mut() {
            first.insert_str(0, &self.prefix);
        }
        if self.with_namespace {
            cells.insert(0, text(row, "/object/metadata/namespace"));
        }
        cells
    }

    fn widen(&mut self, line: &[String]) {
        self.widths.resize(self.widths.len().max(line.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }

    fn line(&self, cells: &[String]) -> String {
        let mut out = String::new();
        for (cell, width) in cells.iter().zip(&self.widths) {
            out.push_str(cell);
            out.push_str(&" ".repeat(width.saturating_sub(cell.chars().count()) + GAP));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

fn plain(cell: &Value) -> String {
    match cell {
        Value::String(text) if text.is_empty() => String::new(),
        Value::String(text) => text.lines().next().unwrap_or_default().to_string(),
        Value::Null => "<none>".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_even_and_those_of_low_priority_only_show_when_wide() {
        let server = json!({
            "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "IP", "priority": 1}],
            "rows": [
                {"cells": ["a", "1/1", "10.0.0.1"], "object": {"metadata": {"namespace": "default"}}},
                {"cells": ["longer", 7, null], "object": {"metadata": {"namespace": "x"}}},
            ],
        });
        let render = |wide, namespaced| {
            let mut table = Table::new(wide, namespaced);
            table.add(&server);
            table.render(false)
        };
        assert_eq!(render(false, false), "NAME     READY\na        1/1\nlonger   7\n");
        assert_eq!(
            render(true, true),
            "NAMESPACE   NAME     READY   IP\ndefault     a        1/1     10.0.0.1\nx           longer   7       <none>\n"
        );
    }
}
