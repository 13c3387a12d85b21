//! One run of a machine: starts QEMU, moves bytes between it and us, and ends it. What the bytes
//! mean is `watch`'s to say.

use super::Mode;
use super::ending::{Ending, Outcome};
use super::interrupt::Interrupts;
use super::machine::{Machine, ReportPort};
use super::process::Process;
use super::terminal::{Input, RawTerminal, kind};
use super::watch::Watch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, PipeReader, Read, Write};
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes moved at once. A pipe that polls as writable takes at least this many without blocking (`PIPE_BUF`).
const PIECE_BYTES: usize = 4096;

/// What to boot, and when to be content.
#[derive(Debug, Clone)]
pub struct Run {
    /// The machine.
    pub machine: Machine,
    /// Who is PID 1 in it.
    pub mode: Mode,
    /// End the run well as soon as this text comes over the console.
    pub until: Option<String>,
    /// End the run badly after this time.
    pub deadline: Option<Duration>,
}

/// Boots the machine and stays until the run has ended; then no QEMU is left. What comes over the
/// console goes to `console` at once, and `input` goes to the console.
///
/// A serial line has no flow control here: what is sent before the program's kernel has opened the
/// console is partly lost, so a pipe as `input` should wait for a word of the program.
///
/// A terminal as `input` is changed and put back. While `console` blocks, nothing else is watched,
/// but a second Ctrl-C still ends us.
pub fn boot(run: &Run, input: Option<BorrowedFd<'_>>, console: &mut dyn Write) -> Outcome {
    let started = Instant::now();
    let mut watch = Watch::new(run.mode, run.until.as_deref(), run.deadline);
    let ending = match Session::start(&run.machine, input, console, started) {
        Continue(mut session) => session.run(&mut watch),
        Break(ending) => ending,
    };
    let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
    Outcome {
        exit_status: ending.exit_status(),
        last_lines: watch.last_lines(&ending),
        ending,
        seconds: seconds(started.elapsed()),
        first_line_seconds: watch.first_line().map(seconds),
        accelerator: run.machine.accelerator,
        command: run.machine.argv(ReportPort::Discard),
        qemu_lines: watch.qemu_lines(),
    }
}

/// A thing to poll. The order is that of handling: what QEMU said comes before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Console,
    Errors,
    Report,
    Interrupt,
    Input,
    Sink,
    Exit,
}

/// What QEMU prints; each is gone after its end.
struct Outputs {
    console: Option<ChildStdout>,
    errors: Option<ChildStderr>,
    report: Option<PipeReader>,
}

/// What the user types. QEMU's side stays open at the end of the input: a serial line has no end.
struct Keyboard<'a> {
    input: Option<BorrowedFd<'a>>,
    sink: Option<ChildStdin>,
    pending: Vec<u8>,
}

/// A running machine and all that is attached to it. Fields are dropped in their order: first QEMU
/// is killed, then the terminal is restored and Ctrl-C is again what it was.
struct Session<'a> {
    process: Process,
    outputs: Outputs,
    keyboard: Keyboard<'a>,
    _terminal: Option<Arc<RawTerminal>>,
    interrupts: Interrupts,
    screen: &'a mut dyn Write,
    started: Instant,
}

impl<'a> Session<'a> {
    fn start(
        machine: &Machine,
        input: Option<BorrowedFd<'a>>,
        screen: &'a mut dyn Write,
        started: Instant,
    ) -> ControlFlow<Ending, Self> {
        let input = input.filter(|input| kind(*input) != Input::Background);
        let terminal = input.filter(|input| kind(*input) == Input::Terminal);
        let terminal = host("change the terminal", terminal.map(RawTerminal::new).transpose())?.map(Arc::new);
        let interrupts = host("take signals", Interrupts::listen(terminal.clone()))?;
        let (process, outputs, sink) = start_qemu(machine)?;
        let keyboard = Keyboard { input, sink, pending: Vec::new() };
        Continue(Self { process, outputs, keyboard, _terminal: terminal, interrupts, screen, started })
    }

    fn run(&mut self, watch: &mut Watch) -> Ending {
        loop {
            if let Break(ending) = self.step(watch) {
                return ending;
            }
        }
    }

    /// Waits for something to happen and handles it.
    fn step(&mut self, watch: &mut Watch) -> ControlFlow<Ending> {
        or_end(watch.tick(self.started.elapsed()))?;
        let timeout = watch.next_tick().map(|due| due.saturating_sub(self.started.elapsed()));
        for source in host("wait for QEMU", self.ready(timeout))? {
            self.handle(source, watch)?;
        }
        Continue(())
    }

    /// What can be handled now, after at most `timeout`.
    fn ready(&self, timeout: Option<Duration>) -> io::Result<Vec<Source>> {
        let timeout = timeout.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let sources = self.sources();
        let mut polled: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let happened = sources.iter().zip(&polled).filter(|(_, polled)| !polled.revents().is_empty());
        Ok(happened.map(|((source, ..), _)| *source).collect())
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let Keyboard { input, sink, pending } = &self.keyboard;
        let input = input.as_ref().filter(|_| pending.is_empty() && sink.is_some());
        let sink = sink.as_ref().filter(|_| !pending.is_empty());
        let sources = [
            (Source::Console, self.outputs.console.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Errors, self.outputs.errors.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Report, self.outputs.report.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Interrupt, Some(self.interrupts.event()), PollFlags::IN),
            (Source::Input, input.map(AsFd::as_fd), PollFlags::IN),
            (Source::Sink, sink.map(AsFd::as_fd), PollFlags::OUT),
            (Source::Exit, Some(self.process.exit_event()), PollFlags::IN),
        ];
        sources.into_iter().filter_map(|(source, fd, flags)| Some((source, fd?, flags))).collect()
    }

    fn handle(&mut self, source: Source, watch: &mut Watch) -> ControlFlow<Ending> {
        match source {
            Source::Console => self.show(watch),
            Source::Errors => or_end(watch.qemu(&host("read QEMU's messages", read(&mut self.outputs.errors))?)),
            Source::Report => {
                watch.report(self.started.elapsed(), &host("read init's report", read(&mut self.outputs.report))?);
                Continue(())
            }
            Source::Interrupt => {
                Break(Ending::Interrupted { signal: host("read a signal", self.interrupts.signal())? })
            }
            Source::Input => host("read the input", self.keyboard.listen()),
            Source::Sink => host("write to the machine's console", self.keyboard.type_on()),
            Source::Exit => Break(self.finish(watch)),
        }
    }

    /// Copies the console to the screen.
    fn show(&mut self, watch: &mut Watch) -> ControlFlow<Ending> {
        let bytes = host("read the console", read(&mut self.outputs.console))?;
        let shown = self.screen.write_all(&bytes).and_then(|()| self.screen.flush());
        host("print the console", shown)?;
        or_end(watch.console(self.started.elapsed(), &bytes))
    }

    /// QEMU has ended: takes what is still in the pipes, then asks what that meant.
    fn finish(&mut self, watch: &mut Watch) -> Ending {
        if let Break(ending) = self.drain(watch) {
            return ending;
        }
        match self.process.wait() {
            Ok(exit) => watch.ended(self.started.elapsed(), exit),
            Err(error) => failed("wait for QEMU", &error),
        }
    }

    /// Handles what has come already. A helper of QEMU may keep a pipe open, so this does not wait for the end.
    fn drain(&mut self, watch: &mut Watch) -> ControlFlow<Ending> {
        loop {
            let ready = host("wait for QEMU", self.ready(Some(Duration::ZERO)))?;
            let outputs = [Source::Console, Source::Errors, Source::Report];
            let ready: Vec<Source> = ready.into_iter().filter(|source| outputs.contains(source)).collect();
            if ready.is_empty() {
                return Continue(());
            }
            ready.into_iter().try_for_each(|source| self.handle(source, watch))?;
        }
    }
}

impl Keyboard<'_> {
    /// Takes what was typed. An input that cannot be read is at its end.
    fn listen(&mut self) -> io::Result<()> {
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
    fn type_on(&mut self) -> io::Result<()> {
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

fn start_qemu(machine: &Machine) -> ControlFlow<Ending, (Process, Outputs, Option<ChildStdin>)> {
    let (report, port) = host("open a pipe", io::pipe())?;
    let argv = machine.argv(ReportPort::Descriptor(port.as_raw_fd()));
    let mut process = match Process::spawn(&argv, Some(port.into())) {
        Ok(process) => process,
        Err(error) => return Break(not_started(&machine.qemu, &error)),
    };
    let (sink, console, errors) = process.take_streams();
    Continue((process, Outputs { console, errors, report: Some(report) }, sink))
}

fn not_started(qemu: &str, error: &io::Error) -> Ending {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let hint = missing.then(|| "`cargo xtask doctor` tells how to install QEMU".to_owned());
    Ending::HostFailed { cause: format!("failed to start `{qemu}`: {error}"), hint }
}

/// Reads what is there; at the end of the stream, closes it.
fn read(stream: &mut Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PIECE_BYTES];
    let n_bytes = match stream {
        Some(open) => open.read(&mut bytes)?,
        None => 0,
    };
    if n_bytes == 0 {
        *stream = None;
    }
    bytes.truncate(n_bytes);
    Ok(bytes)
}

fn or_end(ending: Option<Ending>) -> ControlFlow<Ending> {
    ending.map_or(Continue(()), Break)
}

/// A failure on our side ends the run.
fn host<T>(verb: &str, result: io::Result<T>) -> ControlFlow<Ending, T> {
    match result {
        Ok(value) => Continue(value),
        Err(error) => Break(failed(verb, &error)),
    }
}

fn failed(verb: &str, error: &io::Error) -> Ending {
    Ending::HostFailed { cause: format!("failed to {verb}: {error}"), hint: None }
}
