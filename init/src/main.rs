//! PID 1: starts the program the image is for, reaps what dies, reports how the program ended, powers off.
//!
//! Nothing here may fail. A PID 1 that returns, exits or panics takes the kernel down with it, so every problem is
//! said in words and the boot goes on with what there is.

// std's own entry point aborts when standard streams are closed and /dev/null does not exist yet, which is just how a
// machine without a console starts. So `sys` holds the C entry point instead.
#![no_main]

mod boot_times;
mod buttons;
mod clock;
mod console;
mod disks;
mod events;
mod folders;
mod mounts;
#[cfg_attr(not(feature = "net"), path = "no_net.rs")]
mod net;
mod oom;
mod panic;
mod reap;
mod report;
mod seed;
mod service;
mod shutdown;
mod sys;
mod terminal;
mod volumes;
mod watchdog;

use std::fs;

use pid1_init::config::{self, CONFIG_PATH};
use pid1_init::{Complaint, Config, Overrides, cmdline};

use console::warn;

/// The machine's life. As any other process than PID 1 it touches nothing and returns the exit status.
fn run() -> i32 {
    if !rustix::process::getpid().is_init() {
        console::say("pid1's init is the first process of a machine: boot it with `cargo xtask qemu`");
        return 2;
    }
    boot()
}

fn boot() -> ! {
    let born = clock::now();
    panic::install();
    mounts::mount(&mounts::EARLY);
    console::open();
    mounts::mount(&mounts::BASE);
    console::unlimit_log();
    let overrides = read_cmdline();
    mounts::mount(&mounts::OPTIONAL);
    let mut config = read_config();
    overrides.change(&mut config);
    name_machine(&config);
    events::Machine::new(config, overrides.args, overrides.off, overrides.report.as_deref(), born).run()
}

/// Without a name of its own the machine is called what its program is.
fn name_machine(config: &Config) {
    let program = config.program.rsplit('/').next().unwrap_or_default();
    let name = config.hostname.as_deref().unwrap_or(program);
    if let Err(error) = rustix::system::sethostname(name.as_bytes()) {
        warn(&format!("cannot name the machine `{name}`: {}", std::io::Error::from(error)));
    }
}

fn read_cmdline() -> Overrides {
    let line = fs::read("/proc/cmdline").unwrap_or_else(|error| {
        warn(&format!("cannot read the kernel command line, nothing of it counts: {error}"));
        Vec::new()
    });
    let (overrides, complaints) = cmdline::parse(&line);
    console::set_level(overrides.log, overrides.kernel_level);
    complain(&complaints);
    overrides
}

fn read_config() -> Config {
    match fs::read(CONFIG_PATH) {
        Ok(bytes) => {
            let (config, complaints) = config::parse(&String::from_utf8_lossy(&bytes));
            complain(&complaints);
            config
        }
        Err(error) => {
            warn(&format!("cannot read {CONFIG_PATH}, which names the program to start: {error}"));
            Config::default()
        }
    }
}

fn complain(complaints: &[Complaint]) {
    for complaint in complaints {
        warn(&complaint.to_string());
    }
}
