//! Static programs from elsewhere run unchanged, and what listens in them is reached through `-p`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::machine::{Machine, PATIENCE, Running, build_and_start, compiled};
use crate::support::Checkout;

/// Debian's busybox-static, or any other distribution's.
const BUSYBOX: &str = "busybox";
/// Between two tries to reach a program that may not listen yet.
const PAUSE: Duration = Duration::from_millis(50);

const DHCP: &str = "[network]\ndhcp = true";

fn busybox() -> String {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join(BUSYBOX)).find(|file| file.is_file());
    found.expect("busybox: `cargo xtask doctor --yes` installs it").to_str().unwrap().to_owned()
}

/// The host's port that leads to the machine's port 80, once the machine has its address: what comes before, QEMU repeats
/// after seconds.
#[track_caller]
fn port(machine: &mut Running) -> u16 {
    machine.wait_for("pid1: eth0: 10.0.2.15/24");
    let said = machine.wait_to_hear(" leads to the machine's port 80");
    let (_, address) = said.rsplit_once("the host's port 127.0.0.1:").expect("a port");
    address.split(' ').next().and_then(|port| port.parse().ok()).expect("a number")
}

/// What the program answers.
fn get(port: u16, path: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_to_get(port, path) {
            Ok(answer) if answer.starts_with("HTTP/1.") => return answer,
            other if Instant::now() > deadline => panic!("port {port}: {other:?}"),
            _ => std::thread::sleep(PAUSE),
        }
    }
}

fn try_to_get(port: u16, path: &str) -> std::io::Result<String> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.set_read_timeout(Some(PATIENCE))?;
    // In one piece: who answers the first one and closes would cut its own answer short.
    server.write_all(format!("GET {path} HTTP/1.0\r\nHost: machine\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Runs a program of a spec that serves on port 80, and asks it twice.
fn check(checkout: Checkout, program: &str, expect: &str) {
    let mut machine = Machine::of(checkout, program).table(DHCP).flag("-p").flag("0:80").start();
    let port = port(&mut machine);
    for _ in 0..2 {
        let answer = get(port, "/");
        assert!(answer.ends_with(expect), "{answer}");
    }
}

#[test]
fn debians_busybox_serves_http() {
    let this = Checkout::this();
    let mut command = this.command(&["qemu", "--file", &busybox(), "-p", "0:80", "--", "httpd", "-f"]);
    let mut machine = build_and_start(this, &mut command);
    let answer = get(port(&mut machine), "/etc/pid1.conf");
    assert!(answer.contains("program = /bin/busybox"), "{answer}");
}

#[test]
fn debians_busybox_is_a_shell_with_job_control() {
    let this = Checkout::this();
    let mut command = this.command(&["qemu", "--file", &busybox(), "--", "sh"]);
    let mut shell = build_and_start(this, &mut command);
    shell.wait_for("# ");
    shell.type_in("echo $((6 * 7)) $(tty)\r");
    shell.wait_for("42 /dev/pts/0");
    // Ctrl-Z stops the command and not the shell. What the command says itself tells that it is in front of the terminal.
    shell.type_in("sh -c 'echo in front: $((1)); read word; echo the word is $word'\r");
    shell.wait_for("in front: 1");
    shell.type_in("\u{1a}");
    shell.wait_for("Stopped");
    shell.type_in("fg\rgood\r");
    shell.wait_for("the word is good");
    // Ctrl-C ends the command and not the shell.
    shell.type_in("sh -c 'echo in front: $((2)); exec sleep 1000'\r");
    shell.wait_for("in front: 2");
    shell.type_in("\u{3}");
    shell.type_in("echo status $?\r");
    shell.wait_for("status 130");
    shell.type_in("exit 23\r");
    shell.end().expect(23);
}

#[test]
fn a_program_in_c_is_reached() {
    let copy = Checkout::copy();
    let server = compiled("server", include_str!("programs/server.c"), &["-static"]);
    std::fs::copy(server, copy.root.join("server")).unwrap();
    check(copy, "file = \"server\"", "hello from C");
}

#[test]
fn a_program_in_go_is_reached() {
    check(Checkout::copy(), "go = \"xtask/tests/machine/programs/server-go\"", "1000 goroutines");
}

#[test]
fn a_program_in_rust_with_threads_is_reached() {
    let copy = Checkout::copy();
    std::fs::create_dir_all(copy.root.join("apps/server/src")).unwrap();
    copy.write("apps/server/Cargo.toml", "[package]\nname = \"server\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    copy.write("apps/server/src/main.rs", include_str!("programs/server.rs"));
    copy.edit("Cargo.toml", "\"apps/hello\"", "\"apps/hello\", \"apps/server\"");
    // As the README tells: it writes the new package into Cargo.lock.
    let mut cargo = Command::new(env!("CARGO"));
    let status = cargo.args(["update", "--workspace", "--offline"]).current_dir(&copy.root).status().unwrap();
    assert!(status.success());
    check(copy, "package = \"server\"", "50 threads counted to 5000");
}
