//! What the kernel's files look like, and what odd content is taken for.

use super::*;

#[test]
fn uptime_is_the_first_number() {
    let check = |input: &str, expect: Option<f64>| assert_eq!(uptime(input), expect, "{input:?}");
    check("350735.47 234388.90\n", Some(350735.47));
    check("", None);
    check("soon 1.0", None);
    check("NaN inf", None);
    check("-1 0", None);
}

#[test]
fn load_is_three_numbers_or_none() {
    let check = |input: &str, expect: Option<[f64; 3]>| assert_eq!(load(input), expect, "{input:?}");
    check("0.20 0.18 0.12 1/80 11206\n", Some([0.2, 0.18, 0.12]));
    check("0.20 0.18", None);
    check("0.20 x 0.12", None);
}

#[test]
fn memory_adds_up() {
    let text = "MemTotal:       24000 kB\nMemFree:        15000 kB\nMemAvailable:   16000 kB\nBuffers:          100 kB\n\
        Cached:          1900 kB\nAnonPages:       1000 kB\nHugePages_Total:       0\n";
    let expect = Memory {
        total_bytes: Some(24_000 * 1024),
        available_bytes: Some(16_000 * 1024),
        free_bytes: Some(15_000 * 1024),
        programs_bytes: Some(1_000 * 1024),
        files_bytes: Some(2_000 * 1024),
        kernel_bytes: Some(6_000 * 1024),
    };
    assert_eq!(memory(text), expect);
}

#[test]
fn odd_memory_is_unknown() {
    let check = |input: &str, expect: Memory| assert_eq!(memory(input), expect, "{input:?}");
    check("", Memory::default());
    check("MemTotal\nMemFree: \nCached: many kB\n", Memory::default());
    check("MemTotal: 18446744073709551615 kB\n", Memory::default());
    let total_bytes = Some(1024);
    let free_bytes = Some(2048);
    check("MemTotal: 1 kB\nMemFree: 2 kB\n", Memory { total_bytes, free_bytes, ..Memory::default() });
}

#[test]
fn traffic_is_read_by_interface() {
    let text = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
        lo:     10       1    0    0    0     0          0         0       10       1    0    0    0     0       0          0\n  \
        eth0:4096 30 1 2 0 0 0 0 90210 64 3 4 0 0 0 0\n  eth1: 1 2 3\n";
    let found = traffic(text);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["eth0", "lo"]);
    let received = Traffic { bytes: 4096, packets: 30, errors: 1, dropped: 2 };
    let sent = Traffic { bytes: 90210, packets: 64, errors: 3, dropped: 4 };
    assert_eq!(found["eth0"], (received, sent));
}

#[test]
fn a_link_is_up_down_or_without_a_carrier() {
    let check = |operstate: Option<&str>, carrier: Option<&str>, expect: Option<Link>| {
        assert_eq!(link(operstate, carrier), expect);
    };
    check(Some("up\n"), Some("1\n"), Some(Link::Up));
    check(Some("unknown\n"), Some("1\n"), Some(Link::Up));
    check(Some("down\n"), Some("0\n"), Some(Link::NoCarrier));
    check(Some("down\n"), None, Some(Link::Down));
    check(None, None, None);
}

#[test]
fn processes_are_told_from_the_kernels_threads() {
    let check = |input: &str, expect: Option<Process>| assert_eq!(process(7, input), expect, "{input:?}");
    let expect = Process {
        pid: 7,
        parent: Some(1),
        name: "web".into(),
        state: Some("sleeping".into()),
        threads: Some(1),
        resident_bytes: Some(800 * 1024),
    };
    let text = "Name:\tweb\nState:\tS (sleeping)\nPPid:\t1\nVmSize:\t    1200 kB\nVmRSS:\t     800 kB\nThreads:\t1\n";
    check(text, Some(expect));
    check("Name:\tkthreadd\nState:\tS (sleeping)\nPPid:\t0\nThreads:\t1\n", None);
    check("", None);
    let zombie = Process { pid: 7, name: "sh".into(), state: Some("zombie".into()), ..Process::default() };
    check("Name:\tsh\nState:\tZ (zombie)\n", Some(zombie));
    let odd = Process { pid: 7, name: "?".into(), ..Process::default() };
    check("VmSize: 1 kB\nPPid: -1\nThreads: all\nVmRSS: 3\n", Some(odd));
}

#[test]
fn boot_times_are_what_init_wrote() {
    let check = |input: &str, init_seconds: Option<f64>, program_seconds: Option<f64>| {
        assert_eq!(boot(input), Boot { init_seconds, program_seconds, listening_seconds: None }, "{input:?}");
    };
    check("init 0.412\nprogram 0.430\n", Some(0.412), Some(0.43));
    check("program soon\nlater 3\ninit\n", None, None);
    check("", None, None);
}

#[test]
fn secrets_of_the_command_line_are_left_out() {
    let check = |input: &str, expect: &str| assert_eq!(without_secrets(input), expect);
    check("console=ttyS0 quiet\n", "console=ttyS0 quiet");
    check("init.env=TOKEN=abc quiet", "init.env=TOKEN=… quiet");
    check("a \"init.env=TOKEN=a b c\" d", "a init.env=TOKEN=… d");
    check("init.env=\"TOKEN=a b\" x=\"y z\"", "init.env=TOKEN=… x=\"y z\"");
    check("init.env=TOKEN", "init.env=TOKEN=…");
}
