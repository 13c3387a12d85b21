//! The user's terminal while a machine has it: keys go to the guest at once and unechoed, Ctrl-C
//! stays ours. Its settings are put back however the run ends.

use rustix::process::getpgrp;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Turns a key of the terminal off (`_POSIX_VDISABLE`), so the guest gets it.
const DISABLED: u8 = 0;

/// A terminal that was changed; dropping it restores it.
pub struct RawTerminal {
    terminal: OwnedFd,
    saved: Termios,
}

impl RawTerminal {
    /// Changes the terminal; the caller has checked by [`kind`] that it may.
    pub fn new(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let terminal = terminal.try_clone_to_owned()?;
        let saved = tcgetattr(&terminal)?;
        tcsetattr(&terminal, OptionalActions::Now, &raw(&saved))?;
        Ok(Self { terminal, saved })
    }

    /// Puts the settings back. A terminal that is gone has none.
    pub fn restore(&self) {
        tcsetattr(&self.terminal, OptionalActions::Now, &self.saved).ok();
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.restore();
    }
}

/// What an input is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A terminal that we may read and change.
    Terminal,
    /// A terminal that another job has: reading it would stop us.
    Background,
    /// A file, a pipe, a closed input: to be read as it is.
    Plain,
}

/// What this input is to us. A terminal that does not control us has no jobs, so it is ours.
pub fn kind(input: BorrowedFd<'_>) -> Input {
    match (isatty(input), tcgetpgrp(input.as_fd())) {
        (false, _) => Input::Plain,
        (true, Ok(group)) if group != getpgrp() => Input::Background,
        (true, _) => Input::Terminal,
    }
}

/// The settings for a guest's console: no line editing, no echo, no translation. Ctrl-C still sends
/// its signal, and our own output still gets its carriage returns.
fn raw(saved: &Termios) -> Termios {
    let mut raw = saved.clone();
    raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL | LocalModes::IEXTEN;
    raw.local_modes |= LocalModes::ISIG;
    raw.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::ISTRIP;
    raw.input_modes -= InputModes::IXON | InputModes::BRKINT | InputModes::PARMRK;
    raw.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
    raw.special_codes[SpecialCodeIndex::VQUIT] = DISABLED;
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    raw
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    /// A new pseudo-terminal: the side of the keyboard and screen, and the side of the program.
    pub fn pseudo_terminal() -> (OwnedFd, OwnedFd) {
        let outside =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudo-terminal");
        grantpt(&outside).expect("it is ours");
        unlockpt(&outside).expect("it can be unlocked");
        let name = ptsname(&outside, Vec::new()).expect("it has a name");
        let inside = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("it opens");
        (outside, inside)
    }

    /// Whether the terminal edits and echoes lines.
    pub fn is_cooked(terminal: impl AsFd) -> bool {
        let modes = tcgetattr(terminal).expect("a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    #[test]
    fn the_settings_come_back() {
        let (_outside, inside) = pseudo_terminal();
        let before = format!("{:?}", tcgetattr(&inside).expect("a terminal"));
        let raw = RawTerminal::new(inside.as_fd()).expect("it can be changed");
        assert!(!is_cooked(inside.as_fd()));
        drop(raw);
        assert_eq!(format!("{:?}", tcgetattr(&inside).expect("a terminal")), before);
    }

    #[test]
    fn inputs_are_told_apart() {
        let (_outside, inside) = pseudo_terminal();
        assert_eq!(kind(inside.as_fd()), Input::Terminal);
        let null = open("/dev/null", OFlags::RDONLY, Mode::empty()).expect("it opens");
        assert_eq!(kind(null.as_fd()), Input::Plain);
    }
}
