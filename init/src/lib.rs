//! What an image asks of its PID 1, and what PID 1 tells its host: shared by `init` and `xtask`.
//!
//! Everything in this library is pure. It reads no file, asks no clock and cannot fail hard: whatever is wrong with
//! its input becomes a [`Complaint`] beside the part that could be understood, for a machine that stops at a typing
//! error helps nobody.
//!
//! The rooms of `init` itself, in the order of a boot:
//!
//! | room | what happens there |
//! | --- | --- |
//! | `main` | the whole boot in one page; it never returns |
//! | `panic` | one epitaph, then a restart |
//! | `mounts` | the file systems every program expects |
//! | `console` | standard streams, and the log |
//! | `terminal` | the program's terminal, in front of the console |
//! | `events` | the one loop: what happens, and what is done about it |
//! | `volumes`, `disks` | the disks: found, mounted, unmounted |
//! | `folders` | made, and listed |
//! | `clock` | the time that only goes on |
//! | `watchdog` | who restarts a machine that hangs |
//! | `net` | links, the lease, /etc/resolv.conf; `no_net` in images without a network |
//! | `service` | starts the program |
//! | `reap` | takes everything that dies |
//! | `report` | the line to the host: how the program ended, and whether to stop |
//! | `buttons` | the power button and Ctrl-Alt-Del |
//! | `seed`, `oom` | random numbers; who dies when memory ends |
//! | `boot_times` | boot times, for programs to show |
//! | `shutdown` | ends what is left, and the machine |
//! | `sys` | the only `unsafe` |

pub mod cmdline;
pub mod complaint;
pub mod config;
pub mod dhcp;
pub mod ending;
pub mod input;
pub mod interpreter;
pub mod ipv4;
pub mod memory;
pub mod mount_table;
pub mod netlink;
pub mod superblock;
pub mod supervise;
pub mod time;

pub use cmdline::{LogLevel, Off, Overrides};
pub use complaint::Complaint;
pub use config::Config;
pub use ending::{Ending, Report};
