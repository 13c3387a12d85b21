//! Why a program failed, read from what it printed: a line of the console → the user's terms, and what to do. Pure.
//!
//! Source of the texts: Go's `runtime/netpoll_epoll.go`, `runtime/os_linux.go` and `syscall/zerrors_linux_amd64.go`; Rust's
//! `std::io::Error`, in both of its writings; musl's `errno/__strerror.h` and glibc's.

use super::kernel_lines::without_stamp;
use super::kernel_options::{KernelOptions, fragment_of};
use super::panic::MORE_MEMORY;
use serde::Serialize;

/// How many of the console's last lines are looked at: a trace of Go's goroutines is about as long.
const N_LINES: usize = 60;

/// What stands before a line of init's own, and before one of the program that init shows once more.
const INIT: &str = "pid1: ";
const REPEATED: &str = "pid1: | ";

/// What a line of the console means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What is wrong, in the user's terms.
    pub explanation: String,
    /// What to do about it.
    pub hint: String,
    /// The line that says so.
    pub line: String,
}

/// Explains the last line that can be. Without a kernel's options, those that a line tells of are taken to be missing.
pub fn diagnose(lines: &[String], options: Option<&KernelOptions>) -> Option<Diagnosis> {
    let lines = &lines[lines.len().saturating_sub(N_LINES)..];
    lines.iter().rev().find_map(|line| {
        let line = line.strip_prefix(REPEATED).unwrap_or(line);
        // What init goes on without is not why the program failed.
        if line.starts_with(INIT) {
            return None;
        }
        let text = without_stamp(line).1.to_lowercase();
        let (explanation, hint) = missing_option(&text, options).or_else(|| in_words(&text))?;
        Some(Diagnosis { explanation, hint, line: line.to_owned() })
    })
}

/// The ways in which a line names an error: its number is never part of a longer one.
struct Errno {
    number: u32,
    /// In lower case, as Go, musl and glibc write it.
    texts: &'static [&'static str],
}

impl Errno {
    fn is_in(&self, text: &str) -> bool {
        let Self { number, texts } = self;
        // Rust; C and Python; Go's runtime.
        let writings = [
            format!("os error {number}"),
            format!("code: {number}"),
            format!("errno {number}"),
            format!("errno={number}"),
            format!("failed with {number}"),
            format!("returned -{number}"),
        ];
        texts.iter().any(|known| text.contains(known)) || writings.iter().any(|writing| has_number(text, writing))
    }
}

fn has_number(text: &str, writing: &str) -> bool {
    let ends = text.match_indices(writing).map(|(start, _)| start + writing.len());
    ends.into_iter().any(|end| !text[end..].starts_with(|next: char| next.is_ascii_digit()))
}

const NO_SYSTEM_CALL: Errno = Errno { number: 38, texts: &["function not implemented"] };
const NO_FAMILY: Errno = Errno { number: 97, texts: &["address family not supported"] };

/// Words of a line that tells of a missing system call, and the option that brings it. The first that fits counts.
const SYSTEM_CALLS: [(&[&str], &str); 15] = [
    (&["epoll"], "CONFIG_EPOLL"),
    (&["eventfd"], "CONFIG_EVENTFD"),
    (&["timerfd"], "CONFIG_TIMERFD"),
    (&["signalfd"], "CONFIG_SIGNALFD"),
    (&["futex"], "CONFIG_FUTEX"),
    (&["inotify"], "CONFIG_INOTIFY_USER"),
    (&["io_uring"], "CONFIG_IO_URING"),
    (&["membarrier"], "CONFIG_MEMBARRIER"),
    (&["timer_create", "setitimer", "nanosleep"], "CONFIG_POSIX_TIMERS"),
    (&["flock", "fcntl", "file lock"], "CONFIG_FILE_LOCKING"),
    (&["madvise"], "CONFIG_ADVISE_SYSCALLS"),
    (&["shmget", "semget", "msgget"], "CONFIG_SYSVIPC"),
    (&["mq_open"], "CONFIG_POSIX_MQUEUE"),
    (&["setuid", "setgid", "setgroups"], "CONFIG_MULTIUSER"),
    (&["socket", "listen", "bind", "connect", "dial", "netlink", "tcp", "udp"], "CONFIG_NET"),
];

/// The same for address families.
const FAMILIES: [(&[&str], &str); 4] = [
    (&["unix"], "CONFIG_UNIX"),
    (&["af_packet", "raw socket"], "CONFIG_PACKET"),
    (&["[::", "inet6", "ipv6", "tcp6", "udp6"], "CONFIG_IPV6"),
    (&[""], "CONFIG_INET"),
];

/// An option of the kernel that this line asks for.
fn missing_option(text: &str, options: Option<&KernelOptions>) -> Option<(String, String)> {
    let table: &[(&[&str], &str)] = match () {
        () if NO_SYSTEM_CALL.is_in(text) => &SYSTEM_CALLS,
        () if NO_FAMILY.is_in(text) => &FAMILIES,
        () => return None,
    };
    let is_missing = |option: &str| options.is_none_or(|options| !options.has(option));
    let fits = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let option = table.iter().find(|(words, option)| fits(words) && is_missing(option));
    match option {
        Some((_, option)) => Some((format!("the kernel has no {option}"), option_hint(option))),
        None if NO_SYSTEM_CALL.is_in(text) => Some((
            "the program makes a system call that this kernel was built without".to_owned(),
            "`strace -f PROGRAM` on the host tells which it makes; its manual page names the kernel's option"
                .to_owned(),
        )),
        None => Some((
            "the program asks for a kind of socket that this kernel was built without".to_owned(),
            "the fragment `net` brings IPv4, IPv6, and unix and packet sockets".to_owned(),
        )),
    }
}

fn option_hint(option: &str) -> String {
    match fragment_of(option) {
        Some("net") => "add `[network]` with `dhcp = true` to the image's spec; without a network, `\"net\"` to its `kernel.fragments`".to_owned(),
        Some(fragment) => format!("add `\"{fragment}\"` to `kernel.fragments` in the image's spec"),
        None => format!("write a fragment with {option}=y into kernel-configs/, and name it in `kernel.fragments` of the image's spec"),
    }
}

/// Errors that every kernel knows, and the kernel's own words: what they mean in such a machine, and what helps.
const WORDS: [(Errno, &str, &str); 12] = [
    (
        Errno { number: 98, texts: &["address already in use", "address in use"] },
        "somebody in the machine already listens on that port",
        "the program may be listening twice, or a child of its last run still does",
    ),
    (
        Errno { number: 99, texts: &["cannot assign requested address", "address not available"] },
        "the program listens on an address that the machine does not have",
        "listen on 0.0.0.0, or let the program wait for its address: `program.start = \"network\"`",
    ),
    (
        Errno { number: 101, texts: &["network is unreachable", "network unreachable"] },
        "the machine has no way to that address, or none yet",
        "`[network]` in the image's spec gives it one, and `program.start = \"network\"` waits for it",
    ),
    (
        Errno { number: 28, texts: &["no space left on device"] },
        "a file system of the machine is full",
        "what is not on a volume is in memory: give it more with `-m MB`, or a larger disk",
    ),
    (
        Errno { number: 30, texts: &["read-only file system"] },
        "the program writes to a file system that cannot be written",
        "without `:ro` at `--volume` and `read-only` in the spec, a volume can be",
    ),
    (
        Errno {
            number: 12,
            texts: &[
                "cannot allocate memory",
                "runtime: out of memory",
                "out of memory: killed process",
                "memory allocation of",
            ],
        },
        "the machine's memory was full",
        MORE_MEMORY,
    ),
    (
        Errno { number: 24, texts: &["too many open files", "no file descriptors available"] },
        "the program has as many files open as it may",
        "it raises its limit by setrlimit(RLIMIT_NOFILE), or it forgets to close them",
    ),
    (
        Errno { number: 11, texts: &["failed to create new os thread", "failed to spawn thread"] },
        "the machine has no room for another thread",
        MORE_MEMORY,
    ),
    (
        Errno { number: NEVER, texts: &["trap invalid opcode", "illegal instruction"] },
        "the program uses an instruction that this processor does not have",
        "build it for plain x86-64, without `target-cpu=native` or a GOAMD64 above v1; TCG has no AVX-512",
    ),
    (
        Errno {
            number: NEVER,
            texts: &[
                "certificate signed by unknown authority",
                "unable to get local issuer certificate",
                "no ca certificates",
                "unknownissuer",
            ],
        },
        "there are no CA certificates in the image",
        "`[[file]]` in its spec with the host's /etc/ssl/certs/ca-certificates.crt, at the same path, brings them",
    ),
    (
        Errno { number: NEVER, texts: &["unknown time zone"] },
        "there are no time zones in the image",
        "`[[file]]` in its spec with the host's /usr/share/zoneinfo, at the same path, brings them; UTC needs none",
    ),
    (
        Errno {
            number: NEVER,
            texts: &["temporary failure in name resolution", "failed to lookup address information", "no such host"],
        },
        "a name could not be resolved",
        "the machine may have no address yet: `program.start = \"network\"` waits for it",
    ),
];

/// No error's number: only the text tells.
const NEVER: u32 = u32::MAX;

fn in_words(text: &str) -> Option<(String, String)> {
    let (_, explanation, hint) = WORDS.iter().find(|(errno, ..)| errno.is_in(text))?;
    Some(((*explanation).to_owned(), (*hint).to_owned()))
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
