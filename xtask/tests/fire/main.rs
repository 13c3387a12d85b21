//! The store under fire: builds that are killed, full disks, flipped bits, many builds at once, stores that are not ours, clocks
//! that jump, gc beside builds. Nothing may be lost, and nothing wrong may ever be served.
//!
//! The builds are real (store, engine, sandbox, fetch, unpack, `target/image`); only the recipes are quick ones, in [`builder`].
//! docs/reliability.md tells what is measured here; `--nocapture` shows the numbers.

mod bench;
mod builder;
mod clock;
mod eight;
mod flips;
mod foreign;
mod full;
mod gc;
mod kill;
mod random;
mod server;
mod small_disk;
