//! The machine: one QEMU, booted to see a program run in it.
//!
//! What is pure decides; little of the rest does more than move bytes:
//!
//! - [`cmdline`]: the kernel's command line and the program's arguments in it
//! - [`machine`], [`devices`], [`shell`]: a [`Machine`] → QEMU's command, and that as text to paste
//! - [`forward`], [`volume`], `holder`: ports and disk files of the host, and who else has them
//! - [`kernel_options`]: what the kernel can do, so that what it cannot is said before it boots
//! - [`accel`]: KVM or TCG, found out by running a guest
//! - `run`: [`boot`] starts the machine, moves bytes and times, and ends it
//! - `stop`: how a machine is asked to end, and when it is made to; `monitor`: what QEMU tells of it
//! - `watch`: bytes and times → how it ended; with `transcript` (what
//!   came), `kernel_lines` (what the kernel says) and [`mod@panic`] (what a panic means)
//! - [`diagnose`]: why the program failed, read from what it printed; `host_words`: why QEMU did not start, in our words
//! - [`ending`]: the exit status, the words and the data of an [`Outcome`]
//! - `process`, `terminal`, `keyboard`, `interrupt`: what must be put back: no QEMU stays, the terminal
//!   gets its settings, Ctrl-C works
//!
//! Nothing here prints: the console goes to the writer that the caller gives, all else is returned.
//! No other room spawns a machine.

pub mod accel;
pub mod cmdline;
pub mod devices;
pub mod diagnose;
pub mod ending;
pub mod forward;
mod holder;
mod host_words;
pub mod interrupt;
mod kernel_lines;
pub mod kernel_options;
mod keyboard;
pub mod machine;
mod monitor;
pub mod panic;
mod process;
mod run;
pub mod shell;
mod stop;
mod terminal;
mod transcript;
pub mod volume;
mod watch;

pub use accel::{Accelerator, Choice, KvmError, Selected, select};
pub use cmdline::{PANIC_WORD, REPORT_WORD, TIMER_WORD, command_line};
pub use devices::{Addresses, Devices, Network};
pub use diagnose::Diagnosis;
pub use ending::{Ending, Outcome};
pub use forward::Forward;
pub use kernel_options::KernelOptions;
pub use machine::{Machine, QEMU};
pub use run::{Opened, Run, Screen, boot};
pub use volume::VolumeArg;

/// Who is PID 1 in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Our init, which reports how the program ended. A machine that stops without a report has failed.
    Supervised,
    /// The program itself. It stops the machine when it is done.
    Direct,
}

#[cfg(test)]
mod tests;
