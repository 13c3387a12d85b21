//! The program's terminal: a pseudo terminal in front of the console, through which everything passes that the program
//! says. So its last words are known when it fails, and a console that nobody reads can stop the program, but not init.
//!
//! It must be a real terminal and no pipe: C programs hold back what they print into a pipe, and shells want one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::{clock, console, sys};

/// How much of the output is kept. Some lines of a panic, with their backtrace.
const KEPT_BYTES: usize = 4096;
/// How many lines are shown when the program fails.
const N_SHOWN: usize = 10;
/// Longer lines are cut when they are shown.
const SHOWN_CHARACTERS: usize = 200;
/// How both sides are opened.
const PTY: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);
/// Bytes moved at once: what the kernel's terminals hold.
const PIECE_BYTES: usize = 4096;
/// How long the output of a program that ended may take to come through. Others may still be writing.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// A pseudo terminal and the console behind it.
pub struct Terminal {
    master: OwnedFd,
    /// Held open, so that the terminal outlives the program; else what it said last could be lost.
    slave: OwnedFd,
    /// As the kernel makes it.
    settings: Option<Termios>,
    console: Option<OwnedFd>,
    /// The console has nothing more to say.
    is_deaf: bool,
    /// Typed, and not yet taken by the program.
    typed: Vec<u8>,
    kept: Vec<u8>,
}

impl Terminal {
    /// Makes it the terminal of PID 1's session. Without the kernel's pseudo terminals the console itself is, and there is
    /// nothing to show later.
    pub fn open() -> Option<Self> {
        sys::ignore_terminal_stops();
        let _ = setsid();
        let terminal = Self::with_pty();
        match &terminal {
            Ok(terminal) => {
                let _ = ioctl_tiocsctty(&terminal.slave);
                console::make_raw();
            }
            Err(error) => {
                console::debug(&format!(
                    "the program runs on the console itself, for there is no pseudo terminal: {error}"
                ));
                let _ = ioctl_tiocsctty(stdio::stdin());
            }
        }
        terminal.ok()
    }

    fn with_pty() -> Result<Self, Errno> {
        let master = openpt(PTY)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, PTY)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let settings = tcgetattr(&slave).ok();
        let console = console::device();
        Ok(Self { master, slave, settings, console, is_deaf: false, typed: Vec::new(), kept: Vec::new() })
    }

    /// What the program gets as its standard streams: as new, whatever the run before it did. A program may have left it
    /// without an echo or without waiting, and one that called vhangup(2) has cut off all who had it open.
    pub fn program_side(&mut self) -> BorrowedFd<'_> {
        if let Ok(slave) = ioctl_tiocgptpeer(&self.master, PTY) {
            self.slave = slave;
            // After a hangup it is nobody's; otherwise this changes nothing.
            let _ = ioctl_tiocsctty(&self.slave);
        }
        if let Some(settings) = &self.settings {
            let _ = tcsetattr(&self.slave, OptionalActions::Now, settings);
        }
        self.kept.clear();
        self.slave.as_fd()
    }

    /// What to poll for reading, as long as the console keeps up: the program's output.
    pub fn output(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// What to poll for reading: the console's input. None while the program has not taken what was typed before.
    pub fn input(&self) -> Option<BorrowedFd<'_>> {
        self.console.as_ref().filter(|_| self.typed.is_empty() && !self.is_deaf).map(AsFd::as_fd)
    }

    /// Whether there is something for the program; then [`Terminal::output`] should be polled for writing.
    pub fn has_input(&self) -> bool {
        !self.typed.is_empty()
    }

    /// The console itself, to poll for writing.
    pub fn console(&self) -> Option<BorrowedFd<'_>> {
        self.console.as_ref().map(AsFd::as_fd)
    }

    /// Moves one piece of the program's output on. False if there was none.
    pub fn pass_output(&mut self) -> bool {
        let mut bytes = [0; PIECE_BYTES];
        let n_bytes = rustix::io::read(&self.master, &mut bytes).unwrap_or(0);
        let Some(bytes) = bytes.get(..n_bytes).filter(|bytes| !bytes.is_empty()) else { return false };
        console::pass(bytes);
        self.kept.extend(bytes);
        let surplus = self.kept.len().saturating_sub(KEPT_BYTES);
        self.kept.drain(..surplus);
        true
    }

    /// Takes what was typed, and hands it to the program.
    pub fn pass_input(&mut self) {
        if let Some(console) = self.input() {
            let mut bytes = [0; PIECE_BYTES];
            match rustix::io::read(console, &mut bytes) {
                Ok(n_bytes @ 1..) => self.typed.extend(bytes.get(..n_bytes).unwrap_or_default()),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // A console that hung up would be readable for ever.
                Ok(0) | Err(_) => self.is_deaf = true,
            }
        }
        if self.typed.is_empty() {
            return;
        }
        match rustix::io::write(&self.master, &self.typed) {
            Ok(n_bytes) => drop(self.typed.drain(..n_bytes.min(self.typed.len()))),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.typed.clear(),
        }
    }

    /// Moves on what a program said that has ended, so that the next line of the log comes after it.
    pub fn drain(&mut self) {
        let deadline = clock::now() + DRAIN_PATIENCE;
        while clock::now() < deadline && self.pass_output() {
            console::drain_pending(clock::until(deadline));
        }
    }

    /// The last lines of the output, and forgets them.
    pub fn take_last_lines(&mut self) -> Vec<String> {
        let bytes = std::mem::take(&mut self.kept);
        let text = String::from_utf8_lossy(&bytes);
        let readable = |line: &str| -> String {
            line.chars().filter(|c| !c.is_control() || *c == '\t').take(SHOWN_CHARACTERS).collect()
        };
        let lines: Vec<String> = text.lines().map(readable).filter(|line| !line.trim_ascii().is_empty()).collect();
        lines.into_iter().rev().take(N_SHOWN).rev().collect()
    }
}
