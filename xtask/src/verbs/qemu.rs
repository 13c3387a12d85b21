//! `cargo xtask qemu`: builds an image and boots it, on this terminal.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::Result;

use crate::cli::QemuArgs;
use crate::image::Mode;
use crate::qemu::{self, Machine, Outcome, PANIC_WORD, REPORT_WORD, Run, Selected};
use crate::session::{Planned, Session};
use crate::steps::kernel::BZIMAGE;
use crate::verbs::image::{self, Finished};
use crate::{report, toolbox};

/// The exit status when the host cannot run the machine as asked.
const HOST_FAILED: u8 = 125;

/// Builds and boots; the status is that of the run.
pub fn run(session: &Session, args: &QemuArgs) -> Result<u8> {
    let planned = session.plan(&args.image.asked())?;
    session.require_tools(&planned, &[toolbox::QEMU])?;
    let command_line = command_line(&planned, args)?;
    let selected = match qemu::select(args.accel, qemu::QEMU) {
        Ok(selected) => selected,
        Err(error) => {
            report::error(&error.into());
            return Ok(HOST_FAILED);
        }
    };
    let finished = image::build(session, &planned, None)?;
    let machine = machine(session, args, &finished, command_line, selected);
    if args.dry_run {
        report::print(&(machine.shell_command() + "\n"));
        return Ok(0);
    }
    let mode = match planned.image.program.mode {
        Mode::Supervised => qemu::Mode::Supervised,
        Mode::Direct => qemu::Mode::Direct,
    };
    let run = Run { machine, mode, until: args.until.clone(), deadline: args.deadline };
    Ok(boot(session, &run, args.json))
}

/// The kernel's words and the program's arguments. In supervised mode the spec's arguments are in init's configuration,
/// and those of the command line take their place.
fn command_line(planned: &Planned, args: &QemuArgs) -> Result<String> {
    let image = &planned.image;
    let is_direct = image.program.mode == Mode::Direct;
    let own = [PANIC_WORD].into_iter().chain((!is_direct).then_some(REPORT_WORD));
    let words: Vec<&str> = image.kernel_words().into_iter().chain(own).collect();
    let arguments = if is_direct && args.args.is_empty() { &image.program.args } else { &args.args };
    Ok(qemu::command_line(&words, arguments)?)
}

fn machine(
    session: &Session,
    args: &QemuArgs,
    finished: &Finished,
    command_line: String,
    selected: Selected,
) -> Machine {
    if let Some(error) = selected.kvm_error {
        let text = error.to_string();
        session.reporter.detail(&format!("running under TCG: {}", text.lines().next().unwrap_or_default()));
    }
    Machine {
        qemu: qemu::QEMU.to_owned(),
        kernel: finished.folder.join(BZIMAGE),
        initramfs: Some(finished.folder.join(&finished.initramfs)),
        command_line,
        memory_mib: args.memory,
        accelerator: selected.accelerator,
        extra: Vec::new(),
    }
}

fn boot(session: &Session, run: &Run, json: bool) -> u8 {
    let stdin = std::io::stdin();
    // With --json stdout is for the data; the console goes where messages go.
    let stream: Box<dyn Write> = if json { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
    let mut console = Console { stream, last: b'\n' };
    if std::io::stderr().is_terminal() {
        session.reporter.say("booting; Ctrl-C ends the machine, all else that is typed goes to the program");
    }
    let outcome = qemu::boot(run, Some(stdin.as_fd()), &mut console);
    console.end_line();
    tell(session, &outcome, json);
    outcome.exit_status
}

fn tell(session: &Session, outcome: &Outcome, json: bool) {
    // Who has just seen the console on this terminal need not see its last lines again.
    let was_seen = !json && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let last_lines = if was_seen { Vec::new() } else { outcome.last_lines.clone() };
    if let Some(text) = (Outcome { last_lines, ..outcome.clone() }).text() {
        session.reporter.say(&text);
    }
    if json {
        // An outcome is plain data, so that this cannot fail.
        report::print(&(serde_json::to_string(outcome).unwrap_or_default() + "\n"));
    }
}

/// The console as it comes: a prompt without a newline must be seen, too.
struct Console {
    stream: Box<dyn Write>,
    last: u8,
}

impl Console {
    /// The machine may end in the middle of a line; what follows on the terminal is not its.
    fn end_line(&mut self) {
        if self.last != b'\n' {
            // Whoever has closed the stream does not miss the end of a line.
            let _ = self.write_all(b"\n");
        }
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n_bytes = self.stream.write(bytes)?;
        self.stream.flush()?;
        self.last = bytes.get(..n_bytes).and_then(<[u8]>::last).copied().unwrap_or(self.last);
        Ok(n_bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}
