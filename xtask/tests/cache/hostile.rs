//! Caches that are dead, silent, slow, lying and full of traps. What is built is right with every one of them, in time.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bench::{ALL, Bench, NONE};
use crate::server::{Answer, Request, Server};

/// More than any of these takes on a busy machine, and less than any of them would take if it were waited for.
const IN_TIME: Duration = Duration::from_secs(30);

/// Builds with a cache that fails, and gives what was said of it: one line.
#[track_caller]
fn builds_without(bench: &Bench, cache: &str) -> String {
    let start = Instant::now();
    bench.build(cache);
    assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
    assert_eq!(bench.runs(), ALL);
    let said = bench.said();
    assert!(said.ends_with("; going on without it") && said.lines().count() == 1, "{said}");
    said
}

#[test]
fn a_dead_server_is_asked_once() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = builds_without(&Bench::new(), &format!("http://{address}/cache"));
    assert!(said.contains("Connection refused"), "{said}");
}

#[test]
fn a_silent_server_is_left_alone_after_its_time() {
    let (mut bench, server) = (Bench::new(), Server::start(|_| Answer::Silence));
    bench.limits.silence = Duration::from_millis(500);
    let said = builds_without(&bench, &server.url());
    assert!(said.contains("no answer for 0.") || said.contains("no answer for 1."), "{said}");
    assert_eq!(server.n_requests(), 1);
}

#[test]
fn a_slow_server_is_left_alone_when_it_is_slower_than_the_rate() {
    let (mut bench, server) = (Bench::new(), Server::start(|_| Answer::Drip));
    (bench.limits.start, bench.limits.rate) = (Duration::from_millis(500), 1_000_000);
    let said = builds_without(&bench, &server.url());
    assert!(said.contains("slower than 1.00 MB a second"), "{said}");
    assert_eq!(server.n_requests(), 1);
}

#[test]
fn a_server_with_an_error_of_its_own_is_left_alone() {
    let server = Server::start(|_| Answer::Status("500 Internal Server Error"));
    let said = builds_without(&Bench::new(), &server.url());
    assert!(said.contains("500"), "{said}");
}

#[test]
fn redirects_in_a_circle_end() {
    let server = Server::start(|_| Answer::Status("302 Found\r\nLocation: /some/cache/again"));
    builds_without(&Bench::new(), &server.url());
    assert!(server.n_requests() < 50, "{}", server.n_requests());
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    let full = Server::honest();
    Bench::new().build(&full.url());
    let server = Server::start(|request| match request.path.contains("objects") {
        true => Answer::Cut,
        false => Answer::Honest,
    });
    *server.things.lock().unwrap() = full.things.lock().unwrap().clone();
    let said = builds_without(&Bench::new(), &server.url());
    assert!(said.contains("error"), "{said}");
}

#[test]
fn a_client_that_crashes_or_is_missing_is_done_without() {
    for program in ["/bin/false", "/nonexistent"] {
        let mut bench = Bench::new();
        bench.client = program.into();
        builds_without(&bench, "http://127.0.0.1:1/");
    }
}

#[test]
fn a_client_that_hangs_is_killed() {
    let mut bench = Bench::new();
    let script = bench.root().join("client");
    std::fs::write(&script, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    (bench.client, bench.limits.silence) = (script, Duration::from_millis(300));
    builds_without(&bench, "http://127.0.0.1:1/");
}

#[test]
fn a_folder_above_a_missing_one_is_not_made() {
    let bench = Bench::new();
    builds_without(&bench, bench.root().join("not mounted".replace(' ', "-")).join("cache").as_str());
}

#[test]
fn what_does_not_get_there_is_named_at_the_end_and_not_waited_for() {
    let server = Server::start(|request| match request.method.as_str() {
        "PUT" => Answer::Silence,
        _ => Answer::Honest,
    });
    let mut bench = Bench::new();
    bench.limits.finish = Duration::from_millis(300);
    let start = Instant::now();
    bench.build(&server.url());
    assert!(start.elapsed() < IN_TIME);
    assert!(bench.said().ends_with(": not uploaded in time: crates, library, program"), "{}", bench.said());
}

/// What is made of the true bytes.
type Twist = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// What a liar has in place of the program's trace and artifact.
struct Lie {
    about: &'static str,
    /// In the path of what is replaced.
    of: &'static str,
    bytes: Twist,
    /// In the message.
    cause: &'static str,
}

fn lie(about: &'static str, of: &'static str, cause: &'static str, bytes: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Lie {
    Lie { about, of, bytes: Box::new(bytes), cause }
}

fn lies() -> Vec<Lie> {
    let packed = |kind, name: &'static str, target: &'static str| move |_: &[u8]| zstd(&tar(kind, name, target));
    use tar::EntryType as Kind;
    vec![
        lie("no JSON", "traces", "failed to read its trace", |_| b"<html>login</html>".to_vec()),
        lie("not even text", "traces", "failed to read its trace", |_| vec![0xff; 100]),
        lie("nothing", "traces", "failed to read its trace", |_| Vec::new()),
        lie("another step", "traces", "its trace is of another step\n  Expected: ", |trace| {
            String::from_utf8(trace.to_vec()).unwrap().replace("\"toy 1\"", "\"toy 2\"").into_bytes()
        }),
        lie("a trace without an artifact", "traces", "there is a trace, and no v1/objects/", |trace| {
            with_id(trace, "0")
        }),
        lie("another artifact", "objects", "its artifact is not what the trace says\n  Expected: ", |_| {
            zstd(&tar(Kind::Regular, "artifact", ""))
        }),
        lie("a flipped bit", "objects", "", |object| {
            let mut object = object.to_vec();
            let middle = object.len() / 2;
            object[middle] ^= 1;
            object
        }),
        lie("half of it", "objects", "it is damaged", |object| object[..object.len() / 2].to_vec()),
        lie("something behind its end", "objects", "it is damaged", |object| [object, b"more".as_slice()].concat()),
        lie("no archive", "objects", "neither a tar archive", |_| zstd(b"no archive")),
        lie("gigabytes of zeros, packed once more as gzip", "objects", "neither a tar archive", |_| {
            zstd(&gzip(&tar_of_zeros(17 << 20)))
        }),
        lie("the same as xz", "objects", "neither a tar archive", |_| zstd(&xz(&tar_of_zeros(17 << 20)))),
        lie("the same in a Debian package", "objects", "neither a tar archive", |_| {
            zstd(&deb(&xz(&tar_of_zeros(17 << 20))))
        }),
        lie("one file many times", "objects", "refused entry `artifact/again`: it is a hard link", |_| {
            let mut archive = tar::Builder::new(tar_of_zeros(1000));
            // Over the end of what is there.
            archive.get_mut().truncate(3 * 512);
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(Kind::Link);
            header.set_size(0);
            archive.append_link(&mut header, "artifact/again", "artifact/zeros").unwrap();
            zstd(&archive.into_inner().unwrap())
        }),
        lie("gigabytes of zeros", "objects", "it unpacks to more than", |_| zstd(&vec![0; 17 << 20])),
        lie(
            "a path that climbs",
            "objects",
            "has a `..` in it",
            packed(Kind::Regular, "artifact/../../../escaped", ""),
        ),
        lie("an absolute path", "objects", "its path is absolute", packed(Kind::Regular, "/tmp/pid1-escaped", "")),
        lie(
            "a link out of it",
            "objects",
            "its target is absolute",
            packed(Kind::Symlink, "artifact/l", "/etc/passwd"),
        ),
        lie("a link up", "objects", "outside the root", packed(Kind::Symlink, "artifact/l", "../../../x")),
        lie("a device", "objects", "it is a device", packed(Kind::Block, "artifact/sda", "")),
        lie("a pipe", "objects", "it is a named pipe", packed(Kind::Fifo, "artifact", "")),
        lie(
            "another name",
            "objects",
            "it does not hold one file or folder `artifact`",
            packed(Kind::Regular, "other", ""),
        ),
        lie(
            "a link as a whole",
            "objects",
            "it does not hold one file or folder",
            packed(Kind::Symlink, "artifact", "x"),
        ),
    ]
}

/// The archive of one entry, with a name that `tar` itself would refuse to write.
fn tar(kind: tar::EntryType, name: &str, target: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, std::io::empty()).unwrap();
    archive.into_inner().unwrap()
}

fn tar_of_zeros(n_bytes: usize) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(n_bytes as u64);
    archive.append_data(&mut header, "artifact/zeros", &*vec![0; n_bytes]).unwrap();
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As far as it is looked for.
fn deb(data: &[u8]) -> Vec<u8> {
    let mut package = b"!<arch>\n".to_vec();
    writeln!(package, "{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", "data.tar.xz", 0, 0, 0, 100_644, data.len()).unwrap();
    [package, data.to_vec()].concat()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn with_id(trace: &[u8], digit: &str) -> Vec<u8> {
    let mut trace: serde_json::Value = serde_json::from_slice(trace).unwrap();
    trace["id"] = digit.repeat(64).into();
    serde_json::to_vec(&trace).unwrap()
}

#[test]
fn no_lie_is_believed_and_what_was_made_in_its_place_mends_the_cache() {
    for lie in lies() {
        let (one, victim, next) = (Bench::new(), Bench::new(), Bench::new());
        let server = Server::honest();
        let made = one.build(&server.url());
        let program = &made["program"];
        let name = match lie.of {
            "traces" => format!("/some/cache/v1/traces/{}.json", program.key),
            _ => format!("/some/cache/v1/objects/{}.tar.zst", program.id),
        };
        {
            let mut things = server.things.lock().unwrap();
            let bytes = (lie.bytes)(&things[&name]);
            things.insert(name, bytes);
        }
        assert_eq!(victim.build(&server.url()), made, "{}", lie.about);
        // Its input is good, and is taken.
        assert_eq!(victim.runs(), [0, 0, 1], "{}: {}", lie.about, victim.said());
        let said = victim.said();
        let key = program.key.to_string();
        assert!(
            said.contains("is not used: ") && said.contains(&key) && said.contains(lie.cause),
            "{}: {said}",
            lie.about
        );
        assert!(!std::path::Path::new("/tmp/pid1-escaped").exists() && !victim.root().join("escaped").exists());
        assert_eq!((next.build(&server.url()), next.runs(), next.said()), (made, NONE, String::new()), "{}", lie.about);
    }
}

#[test]
fn a_cache_that_dies_in_the_middle_is_done_without() {
    let full = Server::honest();
    let made = Bench::new().build(&full.url());
    let is_dead = Arc::new(AtomicBool::new(false));
    let state = is_dead.clone();
    // It dies with the first artifact, after it has told all keys.
    let server = Server::start(move |request: &Request| {
        if request.path.contains("objects") {
            state.store(true, Ordering::SeqCst);
        }
        if state.load(Ordering::SeqCst) { Answer::Status("503 Service Unavailable") } else { Answer::Honest }
    });
    *server.things.lock().unwrap() = full.things.lock().unwrap().clone();
    let bench = Bench::new();
    builds_without(&bench, &server.url());
    assert!(is_dead.load(Ordering::SeqCst));
    assert_eq!(bench.build_alone(), made);
}

#[test]
fn a_page_in_place_of_everything_is_seen_through() {
    let server = Server::start(|_| Answer::Body(b"<html>You must log in</html>".to_vec()));
    let bench = Bench::new();
    bench.build(&server.url());
    assert_eq!(bench.runs(), ALL);
    assert!(bench.said().contains("failed to read its trace"), "{}", bench.said());
}
