//! One file for each thing that `cargo xtask` can do.

pub mod doctor;
pub mod gc;
pub mod graph;
pub mod image;
pub mod licenses;
pub mod log;
pub mod pin;
pub mod published;
pub mod qemu;
pub mod sign;
pub mod steps;
pub mod store;
pub mod test;
pub mod vendor;
pub mod verify;
pub mod volume;
pub mod why;
