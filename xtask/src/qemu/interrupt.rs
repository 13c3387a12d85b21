//! Ctrl-C and its kin: while a machine runs they end it in good order, at other times they do what
//! they always do. Who does not get to the end in good order is ended all the same: see [`Patience`].
//!
//! Only one place of a process can take signals in this way: with a second taker, "as always" and
//! the second's own end would race. Whoever else needs to hear of them listens here too.

use super::terminal::RawTerminal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::fs::read_to_string;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The signals that ask a program to end.
const SIGNALS: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// How long a listener that was told has, after a second signal, to end by itself.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Nobody presses Ctrl-C twice within this time.
const ECHO: Duration = Duration::from_millis(100);

/// How many signals it takes to end this process, whatever its listener does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Two: the first asks, the second ends it at once.
    One,
    /// Three: the listener hears of the second, too, and has a moment for it.
    Two,
}

/// A run that wants to hear of signals.
struct Listener {
    id: u64,
    sender: UnixStream,
    terminal: Option<Arc<RawTerminal>>,
    patience: Patience,
    n_signals: u8,
    /// The last one, and when it came.
    last: Option<(i32, Instant)>,
}

struct Listeners {
    next_id: u64,
    listeners: Vec<Listener>,
}

static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { next_id: 0, listeners: Vec::new() });

/// Hears of signals as long as it lives.
pub struct Interrupts {
    id: u64,
    receiver: UnixStream,
}

impl Interrupts {
    /// Starts to listen. The terminal, if any, is restored should another signal end us.
    pub fn listen(terminal: Option<Arc<RawTerminal>>, patience: Patience) -> io::Result<Self> {
        start_thread()?;
        let (sender, receiver) = UnixStream::pair()?;
        let mut list = lock();
        let id = list.next_id;
        list.next_id += 1;
        list.listeners.push(Listener { id, sender, terminal, patience, n_signals: 0, last: None });
        Ok(Self { id, receiver })
    }

    /// Readable once a signal came.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }

    /// For a thread that waits: reading gives a byte for each signal, and the end when `self` is dropped.
    pub fn waiter(&self) -> io::Result<UnixStream> {
        self.receiver.try_clone()
    }

    /// The number of the signal that came.
    pub fn signal(&mut self) -> io::Result<u8> {
        let mut number = [0];
        self.receiver.read_exact(&mut number)?;
        Ok(number[0])
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        lock().listeners.retain(|listener| listener.id != self.id);
    }
}

fn lock() -> MutexGuard<'static, Listeners> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the one thread that takes the signals; it lives as long as the process, because a handler
/// cannot be taken back without losing the default one.
fn start_thread() -> io::Result<()> {
    static STARTED: OnceLock<Result<(), io::ErrorKind>> = OnceLock::new();
    STARTED.get_or_init(|| take_signals().map_err(|error| error.kind())).map_err(io::Error::from)
}

fn take_signals() -> io::Result<()> {
    let status = read_to_string("/proc/self/status")?;
    // Who started us with `nohup`, or in the background of a script, wants these ignored.
    let mut signals = Signals::new(SIGNALS.iter().filter(|signal| !is_ignored(&status, **signal)))?;
    let take = move || signals.forever().for_each(deliver);
    thread::Builder::new().name("signals".to_owned()).spawn(take).map(drop)
}

/// Whether the text of `/proc/self/status` says that the signal is ignored.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn deliver(signal: i32) {
    let mut list = lock();
    if list.listeners.iter_mut().any(|listener| listener.is_echo(signal)) {
        return;
    }
    if list.listeners.is_empty() {
        // It ends this process, as these signals do.
        emulate_default_handler(signal).ok();
    }
    if list.listeners.iter().any(Listener::has_had_enough) {
        end_now(&list, signal);
    }
    for listener in &mut list.listeners {
        listener.n_signals += 1;
        // Fails only if the run is over already.
        listener.sender.write_all(&[u8::try_from(signal).unwrap_or_default()]).ok();
        if listener.has_had_enough() && listener.patience == Patience::Two {
            end_soon(listener.id, signal);
        }
    }
}

impl Listener {
    /// Whether this signal is one that came a moment ago: timeout(1) and some shells send each to us and to our group.
    fn is_echo(&mut self, signal: i32) -> bool {
        let now = Instant::now();
        let before = self.last.replace((signal, now));
        before.is_some_and(|(same, at)| same == signal && now - at < ECHO)
    }

    /// Whether one more signal ends this process.
    fn has_had_enough(&self) -> bool {
        match self.patience {
            Patience::One => self.n_signals >= 1,
            Patience::Two => self.n_signals >= 2,
        }
    }
}

/// Ends this process in a moment, if this listener is still there then: it may be stuck in a write to a screen.
fn end_soon(id: u64, signal: i32) {
    let wait = move || {
        thread::sleep(LAST_MOMENT);
        let list = lock();
        if list.listeners.iter().any(|listener| listener.id == id) {
            end_now(&list, signal);
        }
    };
    // Without the thread there is still the third signal.
    thread::Builder::new().name("last moment".to_owned()).spawn(wait).ok();
}

/// Ends this process; the kernel then kills its QEMU.
fn end_now(list: &Listeners, signal: i32) -> ! {
    list.listeners.iter().filter_map(|listener| listener.terminal.as_ref()).for_each(|terminal| terminal.restore());
    std::process::exit(128 + signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &str, signal: i32, expect: bool) {
        assert_eq!(is_ignored(status, signal), expect);
    }

    #[test]
    fn a_waiter_ends_with_its_listener() {
        let interrupts = Interrupts::listen(None, Patience::One).expect("signals can be taken");
        let mut waiter = interrupts.waiter().expect("it can be shared");
        drop(interrupts);
        let mut numbers = Vec::new();
        waiter.read_to_end(&mut numbers).expect("it ends");
        assert!(numbers.is_empty());
    }

    #[test]
    fn ignored_signals_are_bits() {
        check("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n", 13, true);
        check("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n", SIGHUP, false);
        check("SigIgn:\t0000000000000001\n", SIGHUP, true);
        check("", SIGHUP, false);
    }
}
