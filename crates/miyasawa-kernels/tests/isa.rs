//! That `MIYASAWA_ISA` chooses the instruction set: without this, a run of the tests under
//! `portable` could run the widest one and pass. A test of its own process, since the choice is
//! made once.

use miyasawa_kernels::isa::{ISA_VARIABLE, Isa};

#[test]
fn the_variable_or_else_the_widest_is_selected() {
    let asked = std::env::var(ISA_VARIABLE).ok().filter(|name| !name.is_empty());
    let expected = asked.unwrap_or_else(|| Isa::available()[0].to_string());
    println!("selected: {}", Isa::current());
    assert_eq!(Isa::current().to_string(), expected);
}
