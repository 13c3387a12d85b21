//! `cargo xtask verify`: builds again what was built, elsewhere and otherwise, and compares.
//!
//! The first side is built as always, from the user's store. The second one is built from nothing, by the same `xtask`, in a
//! copy of the checkout, with an empty store, on a host that differs in all that a user may have otherwise. What is the same
//! on both sides came from the sources and the tools, and from nothing else. These rooms must never let the second side
//! see an artifact of the first, and never count a variation that was not seen to be there.

pub mod checkout;
pub mod difference;
pub mod host;
pub mod published;
pub mod second;
pub mod steps;
pub mod tell;
pub mod variations;
