//! A whole machine that says hello, once a second. Edit me, then run `cargo xtask qemu`.

use std::{thread, time::Duration};

fn main() {
    loop {
        println!("Hello from Rust");
        thread::sleep(Duration::from_secs(1));
    }
}
