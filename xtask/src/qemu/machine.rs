//! The machine: what is booted, and the QEMU command that boots it. Pure; it starts nothing.

use super::{accel::Accelerator, shell};
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
    /// How the machine's processor is run.
    pub accelerator: Accelerator,
    /// More arguments for QEMU; they come last.
    pub extra: Vec<String>,
}

/// Where the machine's second serial port (`ttyS1`) leads; our init reports there how the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportPort {
    /// Nowhere: for a command that a person runs. The port exists, so the same command line works.
    Discard,
    /// To this descriptor, which QEMU inherits.
    Descriptor(RawFd),
}

impl Machine {
    /// The whole command. Without `-nodefaults` and `-no-user-config` the host's QEMU would add devices of its own.
    pub fn argv(&self, report: ReportPort) -> Vec<String> {
        let mut argv = vec![self.qemu.clone()];
        let mut add = |words: &[&str]| argv.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-nodefaults", "-no-user-config", "-no-reboot"]);
        add(&["-display", "none"]);
        add(&["-machine", &format!("pc,accel={}", self.accelerator)]);
        // All that the host or the translator can do: RDRAND among it, without which the first getrandom(2) of a boot
        // waits more than a second for entropy.
        add(&["-cpu", "max"]);
        add(&["-smp", "1"]);
        add(&["-m", &self.memory_mib.to_string()]);
        // `signal=on`: Ctrl-C in a terminal ends the machine.
        add(&["-chardev", "stdio,id=console,signal=on"]);
        add(&["-serial", "chardev:console"]);
        argv.extend(report_words(report));
        argv.extend(self.boot_words());
        argv.extend(self.extra.iter().cloned());
        argv
    }

    /// The same machine as a shell command that a person can paste.
    pub fn shell_command(&self) -> String {
        shell::command(&self.argv(ReportPort::Discard))
    }

    /// `-kernel`, `-initrd` and `-append` take their values as they are: no comma to double.
    fn boot_words(&self) -> Vec<String> {
        let mut words = vec!["-kernel".to_owned(), self.kernel.to_string()];
        if let Some(initramfs) = &self.initramfs {
            words.extend(["-initrd".to_owned(), initramfs.to_string()]);
        }
        if !self.command_line.is_empty() {
            words.extend(["-append".to_owned(), self.command_line.clone()]);
        }
        words
    }
}

fn report_words(report: ReportPort) -> Vec<String> {
    let words = match report {
        ReportPort::Discard => vec!["-chardev".to_owned(), "null,id=report".to_owned()],
        // A descriptor set is QEMU's way to open what it inherited; it leaves no name in a file
        // system behind. Without `append` QEMU would truncate it, which a pipe refuses.
        ReportPort::Descriptor(number) => {
            let set = format!("fd={number},set=1");
            vec![
                "-add-fd".to_owned(),
                set,
                "-chardev".to_owned(),
                "file,id=report,path=/dev/fdset/1,append=on".to_owned(),
            ]
        }
    };
    words.into_iter().chain(["-serial".to_owned(), "chardev:report".to_owned()]).collect()
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
            accelerator: Accelerator::Tcg,
            extra: Vec::new(),
        }
    }

    fn check(machine: &Machine, report: ReportPort, expect: &str) {
        assert_eq!(machine.argv(report).join(" "), expect);
    }

    #[test]
    fn the_whole_command_in_its_order() {
        let expect = "qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -machine pc,accel=tcg -cpu max -smp 1 -m 128 \
            -chardev stdio,id=console,signal=on -serial chardev:console -add-fd fd=9,set=1 -chardev file,id=report,path=/dev/fdset/1,append=on -serial chardev:report \
            -kernel /s/a,b/bzImage -initrd /s/initramfs.cpio -append console=ttyS0 -- \"a b\"";
        check(&machine(), ReportPort::Descriptor(9), expect);
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
        check(&machine, ReportPort::Discard, expect);
    }

    #[test]
    fn the_shell_command_needs_nothing_that_only_we_have() {
        let text = machine().shell_command();
        assert!(text.ends_with("-chardev null,id=report \\\n  -serial chardev:report \\\n  -kernel /s/a,b/bzImage \\\n  -initrd /s/initramfs.cpio \\\n  -append 'console=ttyS0 -- \"a b\"'"), "{text}");
    }
}
