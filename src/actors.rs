//! The supervised actors of a node: the only place where the parts below meet.
