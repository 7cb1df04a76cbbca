//! How a new node asks to be let in, and how it is answered.
