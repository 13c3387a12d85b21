//! One run of a machine: starts QEMU, moves bytes between it and us, and ends it. What the bytes
//! mean is `watch`'s to say.

use super::Mode;
use super::diagnose::diagnose;
use super::ending::{Ending, Outcome};
use super::interrupt::{Interrupts, Patience};
use super::kernel_options::KernelOptions;
use super::keyboard::Keyboard;
use super::machine::{Machine, Wires};
use super::monitor;
use super::process::Process;
use super::stop::{self, Action, Stop};
use super::terminal::{Input, RawTerminal, kind};
use super::watch::Watch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes moved at once.
const PIECE_BYTES: usize = 4096;

/// What to boot, and when to be content.
#[derive(Debug)]
pub struct Run {
    /// The machine.
    pub machine: Machine,
    /// What it boots.
    pub opened: Opened,
    /// Who is PID 1 in it.
    pub mode: Mode,
    /// End the run well as soon as this text comes over the console.
    pub until: Option<String>,
    /// End the run badly after this time.
    pub deadline: Option<Duration>,
    /// How long the program has to end when it is asked to.
    pub stop_timeout: Duration,
    /// What the machine's kernel can do, if that is known.
    pub options: Option<KernelOptions>,
}

/// The machine's kernel and initramfs. Opened, so that they stay these also when others take their places.
#[derive(Debug)]
pub struct Opened {
    /// [`Machine::kernel`].
    pub kernel: File,
    /// [`Machine::initramfs`].
    pub initramfs: Option<File>,
}

/// Where a run is shown: the console is written to it.
pub trait Screen: Write {
    /// A line of ours, about a machine that goes on.
    fn say(&mut self, _line: &str) {}
}

/// Boots the machine and stays until the run has ended; then no QEMU is left. What comes over the
/// console goes to `screen` at once, and `input` goes to the console.
///
/// A serial line has no flow control here: what is sent before the program's kernel has opened the
/// console is partly lost, so a pipe as `input` should wait for a word of the program.
///
/// A terminal as `input` is changed and put back. While `screen` blocks, nothing else is watched,
/// but a second Ctrl-C still ends us.
pub fn boot(run: &Run, input: Option<BorrowedFd<'_>>, screen: &mut dyn Screen) -> Outcome {
    let started = Instant::now();
    let mut watch = Watch::new(run.mode, run.until.as_deref(), run.deadline).with_restarts(run.machine.restarts);
    let ending = match Session::start(run, input, screen, started) {
        Continue(mut session) => session.run(&mut watch),
        Break(ending) => ending,
    };
    let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
    let diagnosis = ending.wants_diagnosis().then(|| diagnose(&watch.lines(&ending), run.options.as_ref())).flatten();
    Outcome {
        exit_status: ending.exit_status(),
        last_lines: watch.last_lines(&ending),
        ending,
        seconds: seconds(started.elapsed()),
        first_line_seconds: watch.first_line().map(seconds),
        accelerator: run.machine.accelerator,
        command: run.machine.argv(Wires::None),
        qemu_lines: watch.qemu_lines(),
        said: watch.said(),
        diagnosis,
    }
}

/// A thing to poll. The order is that of handling: what QEMU said comes before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Console,
    Errors,
    Report,
    Monitor,
    Interrupt,
    Input,
    Sink,
    Exit,
}

/// What QEMU prints, and the two lines on which we answer; each is gone after its end.
struct Outputs {
    console: Option<ChildStdout>,
    errors: Option<ChildStderr>,
    report: Option<UnixStream>,
    monitor: Option<UnixStream>,
}

/// A running machine and all that is attached to it. Fields are dropped in their order: first QEMU
/// is killed, then the terminal is restored and Ctrl-C is again what it was.
struct Session<'a> {
    process: Process,
    outputs: Outputs,
    keyboard: Keyboard<'a>,
    _terminal: Option<Arc<RawTerminal>>,
    interrupts: Interrupts,
    screen: &'a mut dyn Screen,
    stop: Stop,
    started: Instant,
}

impl<'a> Session<'a> {
    fn start(
        run: &Run,
        input: Option<BorrowedFd<'a>>,
        screen: &'a mut dyn Screen,
        started: Instant,
    ) -> ControlFlow<Ending, Self> {
        let input = input.filter(|input| kind(*input) != Input::Background);
        let terminal = input.filter(|input| kind(*input) == Input::Terminal);
        let terminal = host("change the terminal", terminal.map(RawTerminal::new).transpose())?.map(Arc::new);
        let interrupts = host("take signals", Interrupts::listen(terminal.clone(), Patience::Two))?;
        let (process, outputs, sink) = start_qemu(&run.machine, &run.opened)?;
        let keyboard = Keyboard::new(input, sink);
        let stop = Stop::new(run.mode, run.stop_timeout);
        Continue(Self { process, outputs, keyboard, _terminal: terminal, interrupts, screen, stop, started })
    }

    fn run(&mut self, watch: &mut Watch) -> Ending {
        loop {
            if let Break(ending) = self.step(watch) {
                return self.stopped(ending);
            }
        }
    }

    /// Waits for something to happen and handles it.
    fn step(&mut self, watch: &mut Watch) -> ControlFlow<Ending> {
        or_end(watch.tick(self.started.elapsed()))?;
        if let Some(action) = self.stop.tick(self.started.elapsed()) {
            self.act(action)?;
        }
        let due = [watch.next_tick(), self.stop.next_tick()].into_iter().flatten().min();
        let timeout = due.map(|due| due.saturating_sub(self.started.elapsed()));
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
        let sources = [
            (Source::Console, self.outputs.console.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Errors, self.outputs.errors.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Report, self.outputs.report.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Monitor, self.outputs.monitor.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Interrupt, Some(self.interrupts.event()), PollFlags::IN),
            (Source::Input, self.keyboard.input(), PollFlags::IN),
            (Source::Sink, self.keyboard.sink(), PollFlags::OUT),
            (Source::Exit, Some(self.process.exit_event()), PollFlags::IN),
        ];
        sources.into_iter().filter_map(|(source, fd, flags)| Some((source, fd?, flags))).collect()
    }

    fn handle(&mut self, source: Source, watch: &mut Watch) -> ControlFlow<Ending> {
        match source {
            Source::Console => self.show(watch),
            Source::Errors => or_end(watch.qemu(&host("read QEMU's messages", read(&mut self.outputs.errors))?)),
            Source::Report => {
                let bytes = host("read init's report", read(&mut self.outputs.report))?;
                if watch.report(self.started.elapsed(), &bytes) {
                    self.stop.on_answer();
                }
                Continue(())
            }
            Source::Monitor => {
                if let Some(why) = watch.monitor(&host("read QEMU's events", read(&mut self.outputs.monitor))?) {
                    self.screen.say(&format!("the machine restarts: {why}"));
                }
                Continue(())
            }
            Source::Interrupt => {
                let signal = host("read a signal", self.interrupts.signal())?;
                let action = self.stop.on_signal(self.started.elapsed(), signal);
                self.act(action)
            }
            Source::Input => host("read the input", self.keyboard.listen()),
            Source::Sink => host("write to the machine's console", self.keyboard.type_on()),
            Source::Exit => Break(self.finish(watch)),
        }
    }

    /// Does what the stop asks for. A machine that is gone hears nothing, and its end is seen elsewhere.
    fn act(&mut self, action: Action) -> ControlFlow<Ending> {
        let send = |line: &mut Option<UnixStream>, text: &str| {
            line.as_mut().is_some_and(|line| line.write_all(text.as_bytes()).is_ok())
        };
        match action {
            Action::Ask => {
                self.screen.say("stopping the machine; Ctrl-C again kills it");
                send(&mut self.outputs.report, stop::REQUEST);
            }
            Action::Insist => {
                send(&mut self.outputs.report, stop::REQUEST);
                send(&mut self.outputs.monitor, monitor::POWER_BUTTON);
            }
            Action::Kill { too_slow } => {
                let signal = self.stop.signal().unwrap_or_default();
                return Break(Ending::Interrupted { signal, then: None, too_slow });
            }
        }
        Continue(())
    }

    /// An ending that was asked for.
    fn stopped(&self, ending: Ending) -> Ending {
        match (self.stop.signal(), ending) {
            (None, ending) | (_, ending @ (Ending::Interrupted { .. } | Ending::HostFailed { .. })) => ending,
            (Some(signal), ending) => Ending::Interrupted { signal, then: Some(Box::new(ending)), too_slow: false },
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
            let outputs = [Source::Console, Source::Errors, Source::Report, Source::Monitor];
            let ready: Vec<Source> = ready.into_iter().filter(|source| outputs.contains(source)).collect();
            if ready.is_empty() {
                return Continue(());
            }
            ready.into_iter().try_for_each(|source| self.handle(source, watch))?;
        }
    }
}

fn start_qemu(machine: &Machine, opened: &Opened) -> ControlFlow<Ending, (Process, Outputs, Option<ChildStdin>)> {
    let (report, report_end) = host("open a socket", UnixStream::pair())?;
    let (mut monitor, monitor_end) = host("open a socket", UnixStream::pair())?;
    let kernel = host("hand the kernel to QEMU", opened.kernel.try_clone())?;
    let initramfs = opened.initramfs.as_ref().map(File::try_clone).transpose();
    let initramfs = host("hand the initramfs to QEMU", initramfs)?;
    let argv = machine.argv(Wires::Inherited {
        report: report_end.as_raw_fd(),
        monitor: monitor_end.as_raw_fd(),
        kernel: kernel.as_raw_fd(),
        initramfs: initramfs.as_ref().map(File::as_raw_fd),
    });
    let files = [kernel].into_iter().chain(initramfs).map(OwnedFd::from);
    let inherited = [report_end, monitor_end].map(OwnedFd::from).into_iter().chain(files).collect();
    let mut process = match Process::spawn(&argv, inherited) {
        Ok(process) => process,
        Err(error) => return Break(not_started(&machine.qemu, &error)),
    };
    // A QEMU that is gone already tells why on its way out.
    monitor.write_all(monitor::START.as_bytes()).ok();
    let (sink, console, errors) = process.take_streams();
    let outputs = Outputs { console, errors, report: Some(report), monitor: Some(monitor) };
    Continue((process, outputs, sink))
}

fn not_started(qemu: &str, error: &io::Error) -> Ending {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let hint = missing.then(|| "`cargo xtask doctor` tells how to install QEMU".to_owned());
    Ending::HostFailed { cause: format!("failed to start `{qemu}`: {error}"), hint }
}

/// Reads what is there; at the end of the stream, closes it.
fn read(stream: &mut Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PIECE_BYTES];
    let n_bytes = match stream.as_mut().map(|open| open.read(&mut bytes)) {
        Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => 0,
        Some(result) => result?,
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
