//! What the user types, on its way to the machine's console. A machine that does not listen stops nothing else.

use rustix::io::Errno;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ChildStdin;

/// Bytes taken at once. A pipe that polls as writable takes at least this many without blocking (`PIPE_BUF`).
const PIECE_BYTES: usize = 4096;

/// What the user types. QEMU's side stays open at the end of the input: a serial line has no end.
pub struct Keyboard<'a> {
    input: Option<BorrowedFd<'a>>,
    sink: Option<ChildStdin>,
    pending: Vec<u8>,
}

impl<'a> Keyboard<'a> {
    /// From `input` to QEMU's standard input.
    pub fn new(input: Option<BorrowedFd<'a>>, sink: Option<ChildStdin>) -> Self {
        Self { input, sink, pending: Vec::new() }
    }

    /// To be read, as long as what was read before is on its way.
    pub fn input(&self) -> Option<BorrowedFd<'a>> {
        self.input.filter(|_| self.pending.is_empty() && self.sink.is_some())
    }

    /// To be written, where there is something to write.
    pub fn sink(&self) -> Option<BorrowedFd<'_>> {
        self.sink.as_ref().filter(|_| !self.pending.is_empty()).map(AsFd::as_fd)
    }

    /// Takes what was typed. An input that cannot be read is at its end.
    pub fn listen(&mut self) -> io::Result<()> {
        let Some(input) = self.input else {
            return Ok(());
        };
        let mut bytes = [0; PIECE_BYTES];
        match rustix::io::read(input, &mut bytes) {
            Ok(0) => self.input = None,
            Ok(n_bytes) => self.pending.extend(&bytes[..n_bytes]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.input = None,
        }
        Ok(())
    }

    /// Hands it to QEMU, which may have gone.
    pub fn type_on(&mut self) -> io::Result<()> {
        let Some(sink) = &mut self.sink else {
            return Ok(());
        };
        match sink.write(&self.pending) {
            Ok(n_bytes) => drop(self.pending.drain(..n_bytes)),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.sink = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
