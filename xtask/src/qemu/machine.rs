//! The machine: what is booted, and the QEMU command that boots it. Pure; it starts nothing.

use super::{accel::Accelerator, devices::Devices, shell};
use camino::Utf8PathBuf;
use std::os::fd::RawFd;

/// The QEMU that runs our machines.
pub const QEMU: &str = "qemu-system-x86_64";

/// One virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The QEMU program: a name looked up in `PATH`, or a path.
    pub qemu: String,
    /// A bzImage, or another image that QEMU's `-kernel` takes.
    pub kernel: Utf8PathBuf,
    /// The initramfs, unless it is built into the kernel.
    pub initramfs: Option<Utf8PathBuf>,
    /// The kernel's command line, as [`super::cmdline::command_line`] writes it.
    pub command_line: String,
    /// The machine's memory in MiB.
    pub memory_mib: u32,
    /// How many processors the machine has.
    pub n_processors: u32,
    /// How they are run.
    pub accelerator: Accelerator,
    /// What else it has.
    pub devices: Devices,
    /// Whether a restart of the machine is one. Else it is the end, as switching the power off is.
    pub restarts: bool,
    /// More arguments for QEMU; they come last.
    pub extra: Vec<String>,
}

/// What of the machine leads to us besides its console, and what it boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wires {
    /// Nothing, and the files by their names: for a command that a person runs. The second serial port exists, so the same
    /// command line works.
    None,
    /// All that QEMU inherits, by its numbers: stream sockets, and opened files, whose names may be other files' by now. The
    /// machine waits for our `cont`, so that nothing of it is missed.
    Inherited {
        /// The machine's second serial port (`ttyS1`): our init and we speak over it.
        report: RawFd,
        /// QEMU's monitor (QMP).
        monitor: RawFd,
        /// [`Machine::kernel`].
        kernel: RawFd,
        /// [`Machine::initramfs`].
        initramfs: Option<RawFd>,
    },
}

impl Machine {
    /// The whole command. Without `-nodefaults` and `-no-user-config` the host's QEMU would add devices of its own.
    pub fn argv(&self, wires: Wires) -> Vec<String> {
        let mut argv = vec![self.qemu.clone()];
        let mut add = |words: &[&str]| argv.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-nodefaults", "-no-user-config"]);
        if !self.restarts {
            add(&["-no-reboot"]);
        }
        add(&["-display", "none"]);
        add(&["-machine", &format!("pc,accel={}", self.accelerator)]);
        // All that the host or the translator can do: RDRAND among it, without which the first getrandom(2) of a boot
        // waits more than a second for entropy.
        add(&["-cpu", "max"]);
        add(&["-smp", &self.n_processors.to_string()]);
        add(&["-m", &self.memory_mib.to_string()]);
        // `signal=on`: Ctrl-C in a terminal ends the machine.
        add(&["-chardev", "stdio,id=console,signal=on"]);
        add(&["-serial", "chardev:console"]);
        argv.extend(wires.words());
        argv.extend(self.devices.words());
        argv.extend(self.boot_words(wires));
        argv.extend(self.extra.iter().cloned());
        argv
    }

    /// The same machine as a shell command that a person can paste.
    pub fn shell_command(&self) -> String {
        shell::command(&self.argv(Wires::None))
    }

    /// `-kernel`, `-initrd` and `-append` take their values as they are: no comma to double.
    fn boot_words(&self, wires: Wires) -> Vec<String> {
        let opened = |descriptor: RawFd| format!("/dev/fd/{descriptor}");
        let (kernel, initramfs) = match wires {
            Wires::None => (self.kernel.to_string(), self.initramfs.as_ref().map(ToString::to_string)),
            Wires::Inherited { kernel, initramfs, .. } => (opened(kernel), initramfs.map(opened)),
        };
        let mut words = vec!["-kernel".to_owned(), kernel];
        if let Some(initramfs) = initramfs {
            words.extend(["-initrd".to_owned(), initramfs]);
        }
        if !self.command_line.is_empty() {
            words.extend(["-append".to_owned(), self.command_line.clone()]);
        }
        words
    }
}

impl Wires {
    fn words(self) -> Vec<String> {
        let words = match self {
            Self::None => vec!["-chardev".to_owned(), "null,id=report".to_owned()],
            Self::Inherited { report, monitor, .. } => [
                "-S",
                "-chardev",
                &format!("socket,id=monitor,fd={monitor}"),
                "-mon",
                "chardev=monitor,mode=control",
                "-chardev",
                &format!("socket,id=report,fd={report}"),
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        words.into_iter().chain(["-serial".to_owned(), "chardev:report".to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            qemu: QEMU.to_owned(),
            kernel: "/s/a,b/bzImage".into(),
            initramfs: Some("/s/initramfs.cpio".into()),
            command_line: "console=ttyS0 -- \"a b\"".to_owned(),
            memory_mib: 128,
            n_processors: 1,
            accelerator: Accelerator::Tcg,
            devices: Devices::default(),
            restarts: false,
            extra: Vec::new(),
        }
    }

    fn check(machine: &Machine, wires: Wires, expect: &str) {
        assert_eq!(machine.argv(wires).join(" "), expect);
    }

    #[test]
    fn the_whole_command_in_its_order() {
        let expect = "qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -machine pc,accel=tcg -cpu max -smp 1 -m 128 \
            -chardev stdio,id=console,signal=on -serial chardev:console -S -chardev socket,id=monitor,fd=10 -mon chardev=monitor,mode=control -chardev socket,id=report,fd=9 -serial chardev:report \
            -kernel /dev/fd/11 -initrd /dev/fd/12 -append console=ttyS0 -- \"a b\"";
        check(&machine(), Wires::Inherited { report: 9, monitor: 10, kernel: 11, initramfs: Some(12) }, expect);
    }

    #[test]
    fn without_initramfs_and_command_line_and_with_more_arguments() {
        let extra = vec!["-cpu".to_owned(), "max".to_owned()];
        let machine = Machine {
            initramfs: None,
            command_line: String::new(),
            accelerator: Accelerator::Kvm,
            memory_mib: 64,
            extra,
            ..machine()
        };
        let expect = "qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -machine pc,accel=kvm -cpu max -smp 1 -m 64 \
            -chardev stdio,id=console,signal=on -serial chardev:console -chardev null,id=report -serial chardev:report -kernel /s/a,b/bzImage -cpu max";
        check(&machine, Wires::None, expect);
    }

    #[test]
    fn more_processors_devices_and_restarts() {
        let devices = Devices { entropy: true, ..Devices::default() };
        let machine = Machine { n_processors: 4, devices, restarts: true, initramfs: None, ..machine() };
        let argv = machine.argv(Wires::None).join(" ");
        assert!(argv.contains(" -smp 4 ") && argv.contains(" -device virtio-rng-pci "), "{argv}");
        assert!(!argv.contains("-no-reboot"), "{argv}");
    }

    #[test]
    fn the_shell_command_needs_nothing_that_only_we_have() {
        let text = machine().shell_command();
        assert!(text.ends_with("-chardev null,id=report \\\n  -serial chardev:report \\\n  -kernel /s/a,b/bzImage \\\n  -initrd /s/initramfs.cpio \\\n  -append 'console=ttyS0 -- \"a b\"'"), "{text}");
    }
}
