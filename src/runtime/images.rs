//! Images: their names, and (for the `embedded` runtime) where their content lives.

pub mod reference;
