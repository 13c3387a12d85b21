//! The seed of the kernel's random numbers. A program that asks for its first one before they are ready would wait, a
//! second or more on a machine where nothing happens.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::console::debug;
use crate::sys::ioctl;

/// The 256 bits that the kernel wants before it calls itself ready.
const SEED: usize = 32;

/// Gives the kernel a seed from the machine's hardware if it lacks one. Never waits: where the hardware is slow the kernel
/// will be ready all the same, only later.
pub fn seed() {
    if is_ready() {
        return;
    }
    match from_hardware() {
        Ok(()) => debug("the random numbers are seeded from /dev/hwrng"),
        Err(_) if is_ready() => {}
        Err(error) => debug(&format!(
            "the first random numbers may take a second ({error}): give the machine a virtio-rng device and the kernel the \
             fragment `virtio`, or a processor with RDRAND"
        )),
    }
}

fn is_ready() -> bool {
    let mut byte = [0; 1];
    getrandom(&mut byte, GetRandomFlags::NONBLOCK).is_ok()
}

fn from_hardware() -> io::Result<()> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut hardware = OpenOptions::new().read(true).custom_flags(flags).open("/dev/hwrng")?;
    let mut bytes = [0; SEED];
    hardware.read_exact(&mut bytes)?;
    ioctl::credit_entropy(File::open("/dev/urandom")?, bytes)?;
    Ok(())
}
