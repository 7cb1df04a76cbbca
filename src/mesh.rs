//! Who is there, how to reach them, who they are. One node so far: only [`identity`] lives here.

pub mod identity;
