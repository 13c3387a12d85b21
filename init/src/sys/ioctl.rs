//! The device calls that no library has: a watchdog's, an input device's, and the random number generator's.
//! Each function here is safe to call, on any file: a device that does not know a call answers with ENOTTY.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Setter, Updater, ioctl, opcode};

/// include/uapi/linux/watchdog.h
const WDIOC_SETOPTIONS: Opcode = opcode::read::<i32>(b'W', 4);
const WDIOC_SETTIMEOUT: Opcode = opcode::read_write::<i32>(b'W', 6);
const WDIOC_GETTIMEOUT: Opcode = opcode::read::<i32>(b'W', 7);
const WDIOS_DISABLECARD: i32 = 1;

/// include/uapi/linux/input.h: `EVIOCGBIT(EV_KEY, ...)`, and how many bytes hold a bit for each of the 0x300 keys.
const EVIOCGBIT_KEY: Opcode = opcode::read::<KeyBits>(b'E', 0x21);
const KEY_BYTES: usize = 0x300 / 8;

/// A bit for each key that a device has.
pub type KeyBits = [u8; KEY_BYTES];

/// include/uapi/linux/random.h. Only the two numbers count for the size that is part of the code.
const RNDADDENTROPY: Opcode = opcode::write::<[i32; 2]>(b'R', 3);

/// include/uapi/asm-generic/ioctls.h, and as old as that: without a direction or a size in its code.
const TIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;

/// `struct rand_pool_info` with its bytes.
#[repr(C)]
struct Pool<const N: usize> {
    entropy_bits: i32,
    length: i32,
    bytes: [u8; N],
}

/// Sets a watchdog's timeout, in seconds, and gives back the one that it took.
pub fn set_watchdog_timeout(device: impl AsFd, mut seconds: i32) -> Result<i32, Errno> {
    // SAFETY: the call reads and writes one int.
    unsafe { ioctl(device, Updater::<WDIOC_SETTIMEOUT, i32>::new(&mut seconds))? };
    Ok(seconds)
}

/// A watchdog's timeout, in seconds.
pub fn watchdog_timeout(device: impl AsFd) -> Result<i32, Errno> {
    // SAFETY: the call writes one int.
    unsafe { ioctl(device, Getter::<WDIOC_GETTIMEOUT, i32>::new()) }
}

/// Stops a watchdog. `BUSY` if it is one that cannot be stopped.
pub fn stop_watchdog(device: impl AsFd) -> Result<(), Errno> {
    // SAFETY: the call reads one int.
    unsafe { ioctl(device, Setter::<WDIOC_SETOPTIONS, i32>::new(WDIOS_DISABLECARD)) }
}

/// How many bytes a terminal has yet to send.
pub fn unsent(device: impl AsFd) -> Result<i32, Errno> {
    // SAFETY: the call writes one int.
    unsafe { ioctl(device, Getter::<TIOCOUTQ, i32>::new()) }
}

/// The keys that an input device has.
pub fn keys(device: impl AsFd) -> Result<KeyBits, Errno> {
    let mut keys = [0; KEY_BYTES];
    // SAFETY: the call writes at most as many bytes as its code says, which are those of `KeyBits`.
    unsafe { ioctl(device, Updater::<EVIOCGBIT_KEY, KeyBits>::new(&mut keys))? };
    Ok(keys)
}

/// Hands `bytes` to the kernel's random number generator as wholly random ones.
pub fn credit_entropy<const N: usize>(device: impl AsFd, bytes: [u8; N]) -> Result<(), Errno> {
    let length = i32::try_from(N).map_err(|_| Errno::INVAL)?;
    let pool = Pool { entropy_bits: length.saturating_mul(8), length, bytes };
    // SAFETY: the call reads two ints, and then as many bytes as the second of them says; that many follow.
    unsafe { ioctl(device, Setter::<RNDADDENTROPY, Pool<N>>::new(pool)) }
}
