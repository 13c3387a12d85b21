//! A DHCPv4 client (RFC 2131) as a state machine over bytes and time: packets and the time go in, packets and settings
//! come out. It opens no socket and asks no clock, so every hour of a lease can be tested in no time.
//!
//! The codec is our own. `edge-dhcp` 0.8 was weighed for it: an option 3 or 6 whose length is no multiple of four makes
//! it panic, which one packet from anywhere on the wire could do to PID 1; padding between options and one malformed
//! option lose the whole packet; it sees neither option overload nor long options split in parts (RFC 3396); it sets
//! the wrong bit for the broadcast flag; and it brings derive macros.
//!
//! Left out: looking whether somebody else uses the address (RFC 5227). The server does that, and here it would delay
//! every boot by seconds. Option 61, too: a server then knows the machine by its card, as the firmware's boot did.

pub mod client;
pub mod frame;
pub mod lease;
pub mod message;
mod random;

pub use client::{Action, Client};
pub use lease::Lease;

/// The client's UDP port.
pub const CLIENT_PORT: u16 = 68;
/// The server's UDP port.
pub const SERVER_PORT: u16 = 67;
