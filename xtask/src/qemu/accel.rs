//! The accelerator: KVM where it truly runs a guest, else QEMU's own translator (TCG).
//!
//! A `/dev/kvm` that opens and cannot run guests exists, so only a guest that ran counts.

use super::process::{Process, QemuExit};
use super::transcript::Tail;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Serialize;
use std::fmt;
use std::fs::{File, OpenOptions, read_to_string};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::str::FromStr;

/// How long the probe's guest may take. It takes 0.1 s where it works.
const PROBE_SECONDS: i64 = 3;

/// The probe's guest writes this to QEMU's `isa-debug-exit` device, which makes `2 * value + 1` of it.
const PROBE_VALUE: u8 = 0x10;

/// What runs the machine's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The host's processor, by way of `/dev/kvm`.
    Kvm,
    /// QEMU's translator: slower, and works everywhere.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// What the user asked for with `--accel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// KVM if it works, else TCG.
    #[default]
    Auto,
    /// This one or an error.
    Only(Accelerator),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Only(Accelerator::Kvm)),
            "tcg" => Ok(Self::Only(Accelerator::Tcg)),
            _ => Err(format!("unknown accelerator `{text}`\nhint: one of auto, kvm, tcg")),
        }
    }
}

/// Why KVM cannot be used here.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// The device is missing or may not be opened.
    #[error("failed to use KVM: cannot open `/dev/kvm` for reading and writing: {cause}\nhint: {}", device_hint(cause))]
    Device {
        /// What `open` said.
        cause: io::Error,
    },
    /// The processor, as far as this system sees it, cannot run guests.
    #[error(
        "failed to use KVM: /proc/cpuinfo shows neither `vmx` nor `svm`\nhint: turn on virtualization in the firmware (on a virtual machine: nested virtualization), or use --accel tcg"
    )]
    Processor,
    /// A guest was started and did not do its work.
    #[error("failed to use KVM: a test guest did not run: {cause}\nhint: use --accel tcg")]
    Guest {
        /// What became of it.
        cause: String,
    },
}

/// The accelerator to use, and why it is not KVM if `auto` passed over it.
#[derive(Debug)]
pub struct Selected {
    /// What to run the machine with.
    pub accelerator: Accelerator,
    /// Set if the user left the choice to us and KVM does not work.
    pub kvm_error: Option<KvmError>,
}

/// Decides what the machine runs with. `qemu` is the QEMU that shall run it.
pub fn select(choice: Choice, qemu: &str) -> Result<Selected, KvmError> {
    let selected = |accelerator, kvm_error| Ok(Selected { accelerator, kvm_error });
    match choice {
        Choice::Only(Accelerator::Tcg) => selected(Accelerator::Tcg, None),
        Choice::Only(Accelerator::Kvm) => check_kvm(qemu).and_then(|()| selected(Accelerator::Kvm, None)),
        Choice::Auto => match check_kvm(qemu) {
            Ok(()) => selected(Accelerator::Kvm, None),
            Err(error) => selected(Accelerator::Tcg, Some(error)),
        },
    }
}

/// Whether KVM runs a guest here: the device, the processor, and then a real guest.
pub fn check_kvm(qemu: &str) -> Result<(), KvmError> {
    check_device(Path::new("/dev/kvm"))?;
    let cpuinfo = read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !has_virtualization(&cpuinfo) {
        return Err(KvmError::Processor);
    }
    probe(qemu, Accelerator::Kvm).map_err(|cause| KvmError::Guest { cause })
}

fn check_device(path: &Path) -> Result<(), KvmError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map(drop).map_err(|cause| KvmError::Device { cause })
}

fn device_hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => {
            "load the module: `sudo modprobe kvm_intel` or `sudo modprobe kvm_amd`; or use --accel tcg"
        }
        io::ErrorKind::PermissionDenied => {
            "join its group: `sudo usermod -aG kvm $USER`, then log in again; or use --accel tcg"
        }
        _ => "use --accel tcg",
    }
}

/// Whether the text of `/proc/cpuinfo` names Intel's (`vmx`) or AMD's (`svm`) virtualization.
fn has_virtualization(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter_map(|line| line.split_once(':')).filter(|(key, _)| key.trim() == "flags");
    flags.flat_map(|(_, words)| words.split_whitespace()).any(|word| word == "vmx" || word == "svm")
}

/// Runs a guest that only tells QEMU to exit; the error says what happened instead.
fn probe(qemu: &str, accelerator: Accelerator) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let guest = memory_file(&multiboot(&exit_code(PROBE_VALUE))).map_err(text)?;
    let argv = probe_argv(qemu, accelerator, &format!("/dev/fd/{}", guest.as_raw_fd()));
    let mut process = Process::spawn(&argv, vec![guest.into()]).map_err(text)?;
    let (_input, _output, errors) = process.take_streams();
    let ended = wait_until(&process, PROBE_SECONDS).map_err(text)?;
    let exit = if ended { Some(process.wait().map_err(text)?) } else { None };
    drop(process);
    let mut tail = Tail::new();
    if let Some(mut errors) = errors {
        let mut bytes = Vec::new();
        errors.read_to_end(&mut bytes).map_err(text)?;
        tail.push(&bytes);
    }
    judge_probe(exit, &tail.last_lines(1))
}

fn probe_argv(qemu: &str, accelerator: Accelerator, kernel: &str) -> Vec<String> {
    let machine = format!("pc,accel={accelerator}");
    let words =
        [qemu, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", &machine, "-m", "16"];
    let device = ["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-kernel", kernel];
    words.iter().chain(&device).map(|word| (*word).to_owned()).collect()
}

fn judge_probe(exit: Option<QemuExit>, errors: &[String]) -> Result<(), String> {
    let said = errors.first().map_or(String::new(), |line| format!(": {line}"));
    match exit {
        Some(QemuExit::Status(status)) if status == i32::from(PROBE_VALUE) * 2 + 1 => Ok(()),
        Some(QemuExit::Status(status)) => Err(format!("QEMU exited with status {status}{said}")),
        Some(QemuExit::Signal(signal)) => Err(format!("QEMU was killed by signal {signal}{said}")),
        None => Err(format!("it was not done after {PROBE_SECONDS} s{said}")),
    }
}

/// Whether the process ends within so many seconds.
fn wait_until(process: &Process, seconds: i64) -> io::Result<bool> {
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let event = process.exit_event();
    let n_ready = poll(&mut [PollFd::new(&event, PollFlags::IN)], Some(&timeout))?;
    Ok(n_ready > 0)
}

/// A file without a name, with this content; it is gone with its last descriptor.
fn memory_file(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    Ok(file)
}

/// Wraps 32-bit machine code into an image for QEMU's `-kernel`: a Multiboot header that tells where
/// to load it (1 MiB) and where to start. Shape: Multiboot specification 0.6.96, section 3.1.
pub(super) fn multiboot(code: &[u8]) -> Vec<u8> {
    const MAGIC: u32 = 0x1bad_b002;
    const ADDRESSES_GIVEN: u32 = 1 << 16;
    const LOAD_ADDRESS: u32 = 0x10_0000;
    const HEADER_BYTES: u32 = 32;
    let checksum = 0u32.wrapping_sub(MAGIC.wrapping_add(ADDRESSES_GIVEN));
    // The ends of data and bss are 0: load the whole file, and no bss.
    let header = [MAGIC, ADDRESSES_GIVEN, checksum, LOAD_ADDRESS, LOAD_ADDRESS, 0, 0, LOAD_ADDRESS + HEADER_BYTES];
    header.iter().flat_map(|word| word.to_le_bytes()).chain(code.iter().copied()).collect()
}

/// Machine code: `mov al, value; out 0xf4, al; hlt`, then a jump back to the `hlt`.
fn exit_code(value: u8) -> [u8; 7] {
    [0xb0, value, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cpuinfo: &str, expect: bool) {
        assert_eq!(has_virtualization(cpuinfo), expect, "{cpuinfo}");
    }

    #[test]
    fn virtualization_is_a_whole_word_among_the_flags() {
        check("processor\t: 0\nflags\t\t: fpu vmx sse\n", true);
        check("flags\t\t: fpu svm\n", true);
        check("flags\t\t: fpu svm_lock avmx\nmodel name : vmx svm\nvmx flags\t: vnmi\n", false);
        check("", false);
    }

    #[test]
    fn the_choice_is_one_of_three_words() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("kvm".parse(), Ok(Choice::Only(Accelerator::Kvm)));
        assert_eq!("tcg".parse(), Ok(Choice::Only(Accelerator::Tcg)));
        assert_eq!("xen".parse::<Choice>(), Err("unknown accelerator `xen`\nhint: one of auto, kvm, tcg".to_owned()));
    }

    #[test]
    fn the_test_guest_runs_where_guests_run() {
        probe(crate::qemu::QEMU, Accelerator::Tcg).expect("the guest exits by the device");
    }

    #[test]
    fn auto_always_finds_an_accelerator_that_runs_the_guest() {
        let selected = select(Choice::Auto, crate::qemu::QEMU).expect("auto never fails");
        probe(crate::qemu::QEMU, selected.accelerator).expect("the guest exits by the device");
        assert_eq!(selected.accelerator == Accelerator::Tcg, selected.kvm_error.is_some());
    }

    #[test]
    fn each_way_to_fail_is_told_with_a_hint() {
        let missing = check_device(Path::new("/no/such/kvm")).expect_err("it is missing").to_string();
        assert!(missing.contains("`/dev/kvm`") && missing.contains("hint: load the module"), "{missing}");
        assert!(KvmError::Processor.to_string().contains("neither `vmx` nor `svm`\nhint: "));
        let cause = probe("/no/such/qemu", Accelerator::Kvm).expect_err("no such QEMU");
        assert!(cause.contains("No such file"), "{cause}");
        assert!(KvmError::Guest { cause }.to_string().contains("a test guest did not run: No such file"));
    }

    #[test]
    fn the_probe_is_judged_by_its_exit_status() {
        let errors = ["KVM internal error. Suberror: 1".to_owned()];
        assert_eq!(judge_probe(Some(QemuExit::Status(33)), &[]), Ok(()));
        assert_eq!(judge_probe(Some(QemuExit::Status(0)), &[]), Err("QEMU exited with status 0".to_owned()));
        assert_eq!(
            judge_probe(Some(QemuExit::Signal(6)), &errors),
            Err("QEMU was killed by signal 6: KVM internal error. Suberror: 1".to_owned())
        );
        assert_eq!(judge_probe(None, &[]), Err("it was not done after 3 s".to_owned()));
    }
}
