//! What a column and a printer of rows are.

use serde_json::{Value, json};

use crate::model::Timestamp;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `date`, ...
    pub kind: &'static str,
    /// `name` for the column that names the object.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always shown, 1 only in wide output.
    pub priority: u8,
}

/// An object and the time at which it is shown.
#[derive(Clone, Copy)]
pub(super) struct Shown<'v> {
    pub object: &'v Value,
    pub now: Timestamp,
}

/// Fills the columns from an object.
pub(super) type Cells = fn(Shown<'_>) -> Vec<Value>;

/// The columns of a resource and how an object fills them.
pub(super) struct Printer {
    pub columns: &'static [Column],
    /// As many cells as there are columns, in their order.
    pub cells: Cells,
    /// Conditions of the row, e.g. that the object has run to its end.
    pub conditions: Option<fn(&Value) -> Option<Value>>,
}

impl Column {
    pub(super) const fn text(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "string", format: "", description, priority: 0 }
    }

    pub(super) const fn number(name: &'static str, description: &'static str) -> Self {
        Self { kind: "integer", ..Self::text(name, description) }
    }

    /// Shown only in wide output.
    pub(super) const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }

    pub(super) fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

pub(super) const NAME: Column =
    Column { format: "name", ..Column::text("Name", "The object's name, unique among its kind in its namespace.") };
pub(super) const AGE: Column = Column::text("Age", "The time since the object was created.");
pub(super) const CONTAINERS: Column =
    Column::text("Containers", "The names of the containers in the pod template.").wide();
pub(super) const IMAGES: Column = Column::text("Images", "The images of the containers in the pod template.").wide();
pub(super) const SELECTOR: Column = Column::text("Selector", "The labels that select the pods.").wide();
