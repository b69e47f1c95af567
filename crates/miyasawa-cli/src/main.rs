//! The `miyasawa` command.
fn main() {}
