//! What a tool sees, does and leaves; each also where the host forbids walls, as far as it holds there.

use super::*;

/// A sandbox with these tools of the host, and what it is in.
struct Bench {
    folder: tempfile::TempDir,
    sandbox: Sandbox,
}

fn bench(walls: &Walls, tools: &[ToolName]) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(folder.path()).unwrap();
    fs::create_dir(root.join("input")).unwrap();
    fs::write(root.join("input/text"), "declared").unwrap();
    fs::write(root.join("undeclared"), "secret").unwrap();
    let tools: Vec<_> = tools.iter().map(|name| (*name, toolbox::find(name).ok().unwrap())).collect();
    let sandbox = Sandbox::new(Setting {
        walls,
        folder: root,
        tools: &tools,
        inputs: &BTreeMap::from([("source".to_owned(), root.join("input"))]),
        preload: None,
        log: File::create(root.join("log")).unwrap(),
        cores: jobserver::Client::new(1).unwrap(),
    });
    Bench { sandbox: sandbox.unwrap(), folder }
}

fn closed() -> &'static Walls {
    let walls = Walls::of_this_host();
    assert!(walls.are_closed(), "these tests want a host that allows namespaces: {walls:?}");
    walls
}

fn open() -> Walls {
    Walls::Open { why: "for the test".to_owned() }
}

impl Bench {
    fn run(&self, script: &str) -> (Result<()>, String) {
        let result = self.sandbox.tool("sh", self.sandbox.build()).args(["-c", script]).run();
        // The first line is the command.
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        (result, log.lines().skip(1).map(|line| format!("{line}\n")).collect())
    }
}

/// What a script prints within walls, or that it fails.
#[track_caller]
fn check(tools: &[ToolName], script: &str, expect: Result<&str, &str>) {
    let (result, log) = bench(closed(), tools).run(script);
    match expect {
        Ok(text) => assert!(result.is_ok() && log == text, "{result:?}: {log}"),
        Err(part) => assert!(result.is_err() && log.contains(part), "{result:?}: {log}"),
    }
}

#[test]
fn the_environment_is_fixed() {
    for walls in [closed(), &open()] {
        // Cargo sets CARGO for tests; a leaking environment would show it.
        let (result, log) = bench(walls, &["sh"]).run("export -p");
        result.unwrap();
        for part in ["LC_ALL='C'", "TZ='UTC'", "SOURCE_DATE_EPOCH='315532800'"] {
            assert!(log.contains(part), "{log}");
        }
        assert!(!log.contains("CARGO"), "{log}");
    }
}

#[test]
fn undeclared_tools_are_not_found() {
    for walls in [closed(), &open()] {
        let (result, log) = bench(walls, &["sh"]).run("ls /");
        assert!(result.is_err() && log.contains("ls: not found"), "{log}");
    }
    check(&["sh"], "/usr/bin/ls /", Err("/usr/bin/ls: not found"));
}

#[test]
fn only_what_was_declared_is_to_be_seen() {
    check(&["sh", "cat"], "cat /inputs/source/text", Ok("declared\n"));
    check(
        &["sh", "ls"],
        "ls / /build",
        Ok("/:\nbin\nbuild\ndev\ninputs\nlib\nlib64\nproc\ntmp\nusr\n\n/build:\nhome\ntmp\n"),
    );
    let bench = bench(closed(), &["sh", "cat"]);
    let (result, log) = bench.run(&format!("cat {}/undeclared", bench.folder.path().display()));
    assert!(result.is_err() && log.contains("No such file or directory"), "{log}");
}

#[test]
fn an_input_that_is_a_link_shows_nothing_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(folder.path()).unwrap();
    fs::write(root.join("secret"), "secret").unwrap();
    symlink(root.join("secret"), root.join("link")).unwrap();
    let found = input(&root.join("link"), Utf8Path::new("/inputs/link")).unwrap();
    assert_eq!(found, Mount::Link(root.join("secret"), "/inputs/link".into()));
}

#[test]
fn a_tool_in_tmp_runs() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let tool = Utf8Path::from_path(folder.path()).unwrap().join("opt/bin/cat");
    fs::create_dir_all(tool.parent().unwrap()).unwrap();
    fs::copy("/bin/cat", &tool).unwrap();
    let mounts = host::mounts(&[("cat", tool)]).unwrap();
    let mut all = vec![Mount::Writable(folder.path().to_path_buf().try_into().unwrap(), "/tmp".into())];
    all.extend(mounts);
    let output = closed().command(&all).unwrap().args(["--", "/usr/bin/cat", "/proc/self/comm"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "cat\n", "{output:?}");
}

#[test]
fn a_file_in_the_users_home_is_not_to_be_seen() {
    let home = std::env::var("HOME").unwrap();
    let file = tempfile::NamedTempFile::new_in(&home).unwrap();
    let script = format!("cat '{}'", file.path().display());
    check(&["sh", "cat"], &script, Err("No such file or directory"));
    bench(&open(), &["sh", "cat"]).run(&script).0.unwrap();
}

#[test]
fn the_network_is_not_to_be_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "perl -e 'use Socket; socket(S, PF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in({port}, INADDR_LOOPBACK)) or die $!'"
    );
    check(&["sh", "perl"], &script, Err("Connection refused"));
    check(
        &["sh", "cat"],
        "cat /proc/net/route",
        Ok(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n",
        ),
    );
    // The same program gets through where there are no walls.
    bench(&open(), &["sh", "perl"]).run(&script).0.unwrap();
}

#[test]
fn only_the_build_folder_can_be_written_to() {
    for place in [
        "/x",
        "/usr/x",
        "/usr/bin/x",
        "/usr/lib/x",
        "/dev/shm/x",
        "/inputs/x",
        "/inputs/source/text",
        "/proc/sys/kernel/hostname",
    ] {
        check(&["sh"], &format!("echo x > {place}"), Err("cannot create"));
    }
    check(&["sh"], "echo x > /build/x && echo x > /tmp/x && echo x > x && echo x > /dev/null", Ok(""));
}

#[test]
fn who_and_where_the_tool_is_is_the_same_everywhere() {
    check(&["sh", "id", "uname"], "id -u; id -g; uname -n; pwd; umask", Ok("1000\n1000\npid1\n/build\n0022\n"));
}

#[test]
fn processes_of_the_host_are_not_to_be_seen() {
    // Inside they are counted from one anew.
    let ours = std::process::id();
    check(&["sh"], &format!("test -e /proc/1 && test ! -e /proc/{ours}"), Ok(""));
    check(&["sh"], &format!("kill -0 {ours}"), Err("No such process"));
}

#[test]
fn paths_are_fixed_within_walls_and_the_hosts_in_the_open() {
    let bench_closed = bench(closed(), &["sh"]);
    let sandbox = &bench_closed.sandbox;
    assert_eq!(sandbox.inside(&sandbox.build().join("made/x")), "/build/made/x");
    let input = Utf8Path::from_path(bench_closed.folder.path()).unwrap().join("input");
    assert_eq!(sandbox.inside(&input), "/inputs/source");
    assert_eq!(sandbox.inside(Utf8Path::new("/etc/x")), "/etc/x");
    assert_eq!(bench(&open(), &["sh"]).sandbox.inside(&input), input);
}

#[test]
fn both_streams_reach_the_log_and_the_failure_is_named() {
    for walls in [closed(), &open()] {
        let (result, log) = bench(walls, &["sh"]).run("echo out; echo err >&2; exit 3");
        assert_eq!(result.unwrap_err().to_string(), "`sh` failed with exit status: 3");
        assert!(log.contains("out\nerr\n"), "{log}");
    }
}

#[test]
fn lines_are_told_as_they_come() {
    let bench = bench(closed(), &["sh"]);
    let lines = Mutex::new(Vec::new());
    let on_line = |line: &str| lines.lock().unwrap().push(line.to_owned());
    bench.sandbox.tool("sh", bench.sandbox.build()).args(["-c", "echo a; echo b"]).on_line(&on_line).run().unwrap();
    assert_eq!(lines.into_inner().unwrap(), ["a", "b"]);
}

#[test]
fn make_gets_the_jobserver_through_the_walls() {
    let bench = bench(closed(), &["sh", "make", "echo"]);
    let makefile = "all: a\n\t@echo $@\na:\n\t@echo $@\n";
    fs::write(bench.sandbox.build().join("Makefile"), makefile).unwrap();
    let result = bench.sandbox.tool("make", bench.sandbox.build()).with_cores().run();
    let log = fs::read_to_string(bench.folder.path().join("log")).unwrap();
    result.expect(&log);
    assert!(log.ends_with("a\nall\n") && !log.contains("warning"), "{log}");
}

#[test]
fn a_tool_that_says_that_the_disk_is_full_has_failed_whatever_its_status() {
    for status in [0, 1] {
        let (result, _) = bench(closed(), &["sh"]).run(&format!("echo x: No space left on device; exit {status}"));
        let error = result.unwrap_err();
        assert!(space::is_full(&error) && error.is::<ToolFailed>() == (status == 1), "{error:#}");
    }
    check(&["sh"], "echo '1 | No space left on device'", Ok("1 | No space left on device\n"));
}
