//! What a cache that works is good for.

use std::fs;

use xtask::cache::client::Limits;

use crate::bench::{ALL, Bench, CLIENT, LIMITS, NONE};
use crate::server::{Answer, Server};

#[test]
fn what_one_checkout_made_another_one_takes_from_a_folder() {
    let (one, other) = (Bench::new(), Bench::new());
    let cache = one.root().join("cache");
    let made = one.build(cache.as_str());
    let taken = other.build(&format!("file://{cache}"));
    assert_eq!((one.runs(), other.runs()), (ALL, NONE));
    // The manifest is made of these.
    assert_eq!(made, taken);
    assert_eq!((one.said().contains("3 results uploaded"), other.said().as_str()), (true, ""));
}

#[test]
fn what_one_checkout_made_another_one_takes_from_a_server() {
    let (one, other, server) = (Bench::new(), Bench::new(), Server::honest());
    let made = one.build(&server.url());
    let n_requests = server.n_requests();
    let taken = other.build(&server.url());
    assert_eq!((one.runs(), other.runs(), made), (ALL, NONE, taken));
    // Three traces tell all keys, and one artifact is needed.
    let requests = server.requests().split_off(n_requests);
    assert_eq!(requests.iter().filter(|request| request.starts_with("GET ")).count(), 4, "{requests:#?}");
    assert!(requests.iter().all(|request| !request.starts_with("PUT ")), "{requests:#?}");
}

#[test]
fn what_was_taken_is_there_without_the_cache_too() {
    let (one, other, server) = (Bench::new(), Bench::new(), Server::honest());
    one.build(&server.url());
    let taken = other.build(&server.url());
    assert_eq!((other.build_alone(), other.runs()), (taken, NONE));
}

#[test]
fn a_full_store_fills_an_empty_cache() {
    let (one, other, server) = (Bench::new(), Bench::new(), Server::honest());
    one.build_alone();
    one.build(&server.url());
    other.build(&server.url());
    assert_eq!((one.runs(), other.runs()), (ALL, NONE));
}

#[test]
fn an_artifact_is_there_before_its_trace_and_is_not_put_twice() {
    let (one, server) = (Bench::new(), Server::honest());
    one.build(&server.url());
    one.build(&server.url());
    let requests = server.requests();
    let puts: Vec<_> = requests.iter().filter_map(|request| request.strip_prefix("PUT /some/cache/v1/")).collect();
    let kinds: Vec<_> = puts.iter().map(|name| name.split('/').next().unwrap()).collect();
    // Of what comes from elsewhere, as crates do, only the id is shared.
    assert_eq!(kinds, ["traces", "objects", "traces", "objects", "traces"]);
}

#[test]
fn two_checkouts_write_the_same_bytes() {
    let (one, other) = (Bench::new(), Bench::new());
    let [a, b] = [one.root().join("cache"), other.root().join("cache")];
    one.build(a.as_str());
    other.build(b.as_str());
    for folder in ["v1/traces", "v1/objects"] {
        let entries: Vec<_> = a.join(folder).read_dir_utf8().unwrap().map(Result::unwrap).collect();
        assert!(entries.len() >= 2);
        for entry in entries {
            let other = b.join(folder).join(entry.file_name());
            assert!(fs::read(entry.path()).unwrap() == fs::read(other).unwrap(), "{} differs", entry.path());
        }
    }
}

#[test]
fn a_cache_that_may_only_be_read_is_read() {
    let (one, other) = (Bench::new(), Bench::new());
    let server = Server::start(|request| match request.method.as_str() {
        "PUT" => Answer::Status("403 Forbidden"),
        _ => Answer::Honest,
    });
    one.build(&server.url());
    assert_eq!(one.said().lines().count(), 1, "{}", one.said());
    assert!(one.said().contains("; it is only read"), "{}", one.said());
    let full = Server::honest();
    Bench::new().build(&full.url());
    *server.things.lock().unwrap() = full.things.lock().unwrap().clone();
    other.build(&server.url());
    assert_eq!(other.runs(), NONE);
}

#[test]
fn a_password_goes_to_the_server_and_into_no_message() {
    let (one, other, server) = (Bench::new(), Bench::new(), Server::honest());
    one.build(&format!("http://me:hunter%402@{}/cache", server.address));
    // base64 of `me:hunter@2`.
    assert!(server.log.lock().unwrap().iter().all(|request| request.authorization == "Basic bWU6aHVudGVyQDI="));
    assert_eq!(one.said(), format!("cache http://{}/cache: 3 results uploaded", server.address));
    other.build("http://me:hunter%402@127.0.0.1:1/cache");
    assert!(other.said().contains("cache http://127.0.0.1:1/cache: ") && !other.said().contains("hunter"));
}

/// A reader that would give it up, or refuse it, would make it again in every build.
#[test]
fn what_readers_would_not_take_is_not_uploaded() {
    let check = |what: &str, limit: &dyn Fn(&mut Limits) -> &mut u64, n_bytes: u64| {
        let (mut one, server) = (Bench::new(), Server::honest());
        *limit(&mut one.limits) = n_bytes;
        one.build(&server.url());
        let things = server.things.lock().unwrap();
        let n_objects = things.keys().filter(|name| name.contains("objects")).count();
        assert_eq!(n_objects, 0, "{what}");
        let steps = one.details().join("\n");
        assert!(steps.contains(": program is not uploaded: it is larger than "), "{what}: {steps}");
        assert_eq!(one.runs(), ALL);
    };
    check("trace", &|limits| &mut limits.trace, 100);
    check("artifact", &|limits| &mut limits.size, 1000);
    // The program has 3002 bytes, and as an archive four times as much.
    check("archive", &|limits| &mut limits.size, 3500);
    check("packed", &|limits| &mut limits.packed, 50);
}

/// What older builders put there.
#[test]
fn what_is_too_large_is_missing_and_the_rest_is_taken() {
    let (one, server) = (Bench::new(), Server::honest());
    let made = one.build(&server.url());
    let length = |name: String| server.things.lock().unwrap()[&format!("/some/cache/v1/{name}")].len() as u64;
    let trace = |step: &str| length(format!("traces/{}.json", made[step].key));
    let object = |step: &str| length(format!("objects/{}.tar.zst", made[step].id));
    assert!(trace("library") < trace("program") && object("library") < object("program"));
    for (trace, packed) in [(trace("program") - 1, LIMITS.packed), (LIMITS.trace, object("program") - 1)] {
        let mut other = Bench::new();
        (other.limits.trace, other.limits.packed) = (trace, packed);
        assert_eq!(other.build(&server.url()), made);
        assert_eq!(other.runs(), [0, 0, 1], "{}", other.said());
        let taken: Vec<_> = other.details().into_iter().filter(|line| line.ends_with(", and not taken")).collect();
        assert!(taken.len() == 1 && taken[0].contains(" v1/"), "{taken:?}");
        assert!(!other.said().contains("going on without it"), "{}", other.said());
    }
}

#[test]
fn offline_a_folder_serves_what_would_be_fetched() {
    let (one, mut other) = (Bench::new(), Bench::new());
    let cache = one.root().join("cache");
    one.build(cache.as_str());
    other.offline = true;
    other.build(cache.as_str());
    assert_eq!(other.runs(), NONE);
}

#[test]
fn the_client_ends_with_who_asks() {
    let mut client = std::process::Command::new(CLIENT.as_str());
    let mut client = client.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    drop(client.stdin.take());
    assert!(client.wait().unwrap().success());
}
