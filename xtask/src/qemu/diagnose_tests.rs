//! Promises of what is read from a console: real lines of programs, and what they mean.

use super::*;

fn explain(lines: &[&str], options: Option<&str>) -> Option<Diagnosis> {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    diagnose(&lines, options.map(KernelOptions::parse).as_ref())
}

#[track_caller]
fn check(lines: &[&str], expect: Option<(&str, &str)>) {
    let found = explain(lines, None);
    match (&found, expect) {
        (None, None) => {}
        (Some(found), Some((explanation, hint))) => {
            assert!(found.explanation.contains(explanation) && found.hint.contains(hint), "{found:?}");
        }
        _ => panic!("{found:?}"),
    }
}

#[test]
fn gos_runtime_names_the_call() {
    let trace = [
        "runtime: epollcreate failed with 38",
        "fatal error: runtime: netpollinit failed",
        "",
        "goroutine 1 [running]:",
    ];
    check(&trace, Some(("the kernel has no CONFIG_EPOLL", "add `\"base\"`")));
    check(&["futexwakeup addr=0x5a3f28 returned -38"], Some(("no CONFIG_FUTEX", "\"base\"")));
    check(&["runtime: eventfd failed with 38"], Some(("no CONFIG_EVENTFD", "\"base\"")));
    check(&["runtime: failed to create new OS thread (have 2 already; errno=11)"], Some(("another thread", "-m")));
    check(&["runtime: epollwait on fd 3 failed with 4"], None);
}

#[test]
fn sockets_need_a_network() {
    check(&["listen tcp :8080: socket: function not implemented"], Some(("no CONFIG_NET", "add `[network]`")));
    check(&["socket: Function not implemented"], Some(("no CONFIG_NET", "add `[network]`")));
    check(
        &["listen tcp :80: socket: address family not supported by protocol"],
        Some(("no CONFIG_INET", "add `[network]`")),
    );
    check(
        &["listen unix /run/s: socket: address family not supported by protocol"],
        Some(("no CONFIG_UNIX", "[network]")),
    );
    check(
        &["listen tcp6 [::]:80: socket: address family not supported by protocol"],
        Some(("no CONFIG_IPV6", "[network]")),
    );
    let rust = "Error: Os { code: 97, kind: Uncategorized, message: \"Address family not supported by protocol\" }";
    check(&[rust], Some(("no CONFIG_INET", "[network]")));
}

#[test]
fn an_unnamed_call_is_told_as_such() {
    let rust = r#"called `Result::unwrap()` on an `Err` value: Os { code: 38, kind: Unsupported, message: "Function not implemented" }"#;
    check(&[rust], Some(("a system call that this kernel was built without", "strace")));
    check(&["thread main panicked: it failed (os error 38)"], Some(("a system call", "strace")));
    check(&["OSError: [Errno 38] inotify_init"], Some(("no CONFIG_INOTIFY_USER", "base")));
    check(
        &["io_uring_setup: Function not implemented"],
        Some(("no CONFIG_IO_URING", "write a fragment with CONFIG_IO_URING=y")),
    );
}

#[test]
fn an_option_that_the_kernel_has_is_not_missing() {
    let line = ["listen tcp :80: socket: function not implemented"];
    let found = explain(&line, Some("CONFIG_NET=y\n")).expect("it is explained");
    assert!(found.explanation.contains("a system call that this kernel was built without"), "{found:?}");
    let found = explain(&line, Some("")).expect("it is explained");
    assert_eq!((found.explanation.as_str(), found.line.as_str()), ("the kernel has no CONFIG_NET", line[0]));
    let again = explain(&["pid1: | socket: Function not implemented"], None).expect("it is explained");
    assert_eq!(again.line, "socket: Function not implemented");
    let family = ["listen unix /s: socket: address family not supported by protocol"];
    let found = explain(&family, Some("CONFIG_NET=y\nCONFIG_INET=y\nCONFIG_UNIX=y\n")).expect("it is explained");
    assert!(found.explanation.contains("a kind of socket"), "{found:?}");
}

#[test]
fn common_errors_get_the_terms_of_the_machine() {
    check(&["bind: Address already in use"], Some(("already listens on that port", "")));
    check(&["Address in use (os error 98)"], Some(("already listens on that port", "")));
    check(&["listen tcp 10.1.1.1:80: bind: cannot assign requested address"], Some(("does not have", "0.0.0.0")));
    check(
        &["dial tcp 1.1.1.1:443: connect: network is unreachable"],
        Some(("no way to that address", "start = \"network\"")),
    );
    check(&["write /tmp/x: no space left on device"], Some(("is full", "-m MB")));
    check(&["Read-only file system (os error 30)"], Some(("cannot be written", ":ro")));
    check(&["[    1.2] Out of memory: Killed process 77 (web) total-vm:1kB"], Some(("memory was full", "-m MB")));
    check(&["memory allocation of 1073741824 bytes failed"], Some(("memory was full", "-m MB")));
    check(
        &["[    1.2] traps: web[77] trap invalid opcode ip:401000 sp:7ffc error:0"],
        Some(("does not have", "x86-64")),
    );
    check(&["x509: certificate signed by unknown authority"], Some(("no CA certificates", "[[file]]")));
    check(&["panic: unknown time zone Europe/Berlin"], Some(("no time zones", "[[file]]")));
}

#[test]
fn what_is_not_known_is_left_alone() {
    check(&[], None);
    check(&["hello", "it went wrong"], None);
    check(&["(os error 389)", "errno=110", "failed with 380", "code: 1234"], None);
}

#[test]
fn the_last_known_line_counts_and_old_ones_do_not() {
    check(&["no space left on device", "bind: address already in use", "bye"], Some(("already listens", "")));
    let mut lines = vec!["no space left on device"];
    lines.extend(["."; N_LINES]);
    check(&lines, None);
}
