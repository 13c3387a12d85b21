//! `cargo xtask qemu`: builds an image and boots it, on this terminal.

mod console;
mod prepare;

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::Result;

use crate::cli::QemuArgs;
use crate::image::Mode;
use crate::qemu::{self, Devices, KernelOptions, Machine, Outcome, Run, Selected};
use crate::session::Session;
use crate::steps::kernel::BZIMAGE;
use crate::verbs::image::{self, Finished};
use crate::{doctor, report, toolbox};
use console::Console;

/// The exit status when the host cannot run the machine as asked.
const HOST_FAILED: u8 = 125;

/// Builds and boots; the status is that of the run.
pub fn run(session: &Session, args: &QemuArgs) -> Result<u8> {
    let planned = session.plan(&args.image.asked())?;
    match args.built {
        Some(_) => doctor::require(&[toolbox::QEMU].into(), session.policy, &session.reporter)?,
        None => session.require_tools(&planned, &[toolbox::QEMU])?,
    }
    let image = &planned.image;
    let command_line = prepare::command_line(image, args)?;
    prepare::check(image, args)?;
    let selected = match qemu::select(args.accel, qemu::QEMU) {
        Ok(selected) => selected,
        Err(error) => {
            report::error(&error.into());
            return Ok(HOST_FAILED);
        }
    };
    let finished = match &args.built {
        Some(folder) => image::open(image, folder)?,
        None => image::build(session, &planned, None)?,
    };
    let options = KernelOptions::parse(&finished.config);
    let devices = prepare::devices(image, args, &options)?;
    tell_ports(session, args, &devices);
    let machine = machine(session, args, &finished, command_line, devices, selected);
    if args.dry_run {
        report::print(&(machine.shell_command() + "\n"));
        return Ok(0);
    }
    let mode = match image.program.mode {
        Mode::Supervised => qemu::Mode::Supervised,
        Mode::Direct => qemu::Mode::Direct,
    };
    let run = Run {
        machine,
        opened: finished.opened,
        mode,
        until: args.until.clone(),
        deadline: args.deadline,
        stop_timeout: image.supervise.stop_timeout,
        options: Some(options),
    };
    boot(session, &run, args)
}

/// Says which ports were free.
fn tell_ports(session: &Session, args: &QemuArgs, devices: &Devices) {
    let settled = devices.network.iter().flat_map(|network| &network.forwards);
    for (asked, forward) in args.ports.iter().zip(settled) {
        if asked.host == 0 {
            session.reporter.say(&format!("the host's port {forward} leads to the machine's port {}", forward.guest));
        }
    }
}

fn machine(
    session: &Session,
    args: &QemuArgs,
    finished: &Finished,
    command_line: String,
    devices: Devices,
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
        n_processors: args.smp,
        accelerator: selected.accelerator,
        devices,
        restarts: args.reboot,
        extra: Vec::new(),
    }
}

fn boot(session: &Session, run: &Run, args: &QemuArgs) -> Result<u8> {
    let stdin = std::io::stdin();
    // With --json stdout is for the data; the console goes where messages go.
    let stream: Box<dyn Write> = if args.json { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
    let mut console = Console::new(stream, args.console.as_deref(), &session.reporter)?;
    if std::io::stderr().is_terminal() {
        session.reporter.say("booting; Ctrl-C stops the machine, all else that is typed goes to the program");
    }
    let outcome = qemu::boot(run, Some(stdin.as_fd()), &mut console);
    console.end_line();
    tell(session, &outcome, args.json);
    Ok(outcome.exit_status)
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
