//! Promises of `steps::fetch`, kept against a server that misbehaves in every way a mirror can.

mod desk;
mod pins;
mod server;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use xtask::steps::fetch::{self, Candidate, FetchError, Fetched, Limits, Try};

use desk::*;
use server::*;

#[test]
fn a_file_arrives_with_its_hash_and_its_progress() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(move |_, _| whole(&sent));
    let url = server.url("file.tar");
    let seen = Mutex::new(Vec::new());
    let progress = |what: &str, done, total| seen.lock().unwrap().push((what.to_owned(), done, total));
    let fetched = fetch::fetch(
        &candidates(std::slice::from_ref(&url), &file),
        &[],
        &desk.downloads,
        &desk.out,
        &progress,
        &LIMITS,
    )
    .unwrap();
    assert_eq!(fetched, Fetched { url, sha256: sha256(&file), size: SIZE as u64, failed: vec![] });
    desk.check_out(&file);
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.last(), Some(&("file.tar".to_owned(), SIZE as u64, Some(SIZE as u64))));
    assert!(seen.is_sorted_by_key(|(_, done, _)| *done));
}

#[test]
fn a_wrong_hash_is_told_with_both_values_and_kept_aside() {
    let (desk, file, wrong) = (Desk::new(), content(1), content(2));
    let sent = wrong.clone();
    let server = Server::start(move |_, _| whole(&sent));
    let text = desk.fetch(&[server.url("file.tar")], &file).unwrap_err().to_string();
    let aside = desk.downloads.join(format!("rejected-{}-file.tar", &sha256(&wrong)[..16]));
    let lines = Vec::from_iter(text.lines());
    assert_eq!(lines[0], "failed to fetch `file.tar`: none of its sources worked (1 tried)");
    assert_eq!(lines[1], format!("  {}: wrong hash, kept as `{aside}`", server.url("file.tar")));
    assert_eq!(lines[2], format!("    Expected: {}", sha256(&file)));
    assert_eq!(lines[3], format!("    Computed: {}", sha256(&wrong)));
    assert_eq!(
        lines[4],
        "hint: check the network, or put the file into vendor/file.tar (its sha256 is checked there too)"
    );
    assert!(fs::read(aside).unwrap() == wrong);
    assert!(!desk.out.exists() && !desk.part(&file).exists());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_cut_body_is_resumed_where_it_ended() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(
        move |number, request| {
            if number == 0 { cut(&sent, "\"1\"", HALF) } else { honest(&sent, "\"1\"", request) }
        },
    );
    desk.fetch(&[server.url("file.tar")], &file).unwrap();
    desk.check_out(&file);
    assert_eq!(server.n_served(), [HALF, SIZE - HALF]);
    assert_eq!(
        server.requests()[1],
        Request { path: "/file.tar".into(), start: Some(HALF), if_range: Some("\"1\"".into()) }
    );
}

#[test]
fn the_next_run_goes_on_where_the_last_one_was_cut() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(move |number, request| match number {
        0 => cut(&sent, "\"1\"", HALF),
        1 => status("503 Service Unavailable"),
        _ => honest(&sent, "\"1\"", request),
    });
    let why = tries(desk.fetch(&[server.url("file.tar")], &file).unwrap_err());
    assert_eq!(why[0].why, "http status 503 Service Unavailable");
    assert!(!desk.out.exists());
    desk.fetch(&[server.url("file.tar")], &file).unwrap();
    desk.check_out(&file);
    assert_eq!(server.n_served(), [HALF, 0, SIZE - HALF]);
}

#[test]
fn a_weak_tag_is_not_used_to_resume() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(
        move |number, request| {
            if number == 0 { cut(&sent, "W/\"1\"", HALF) } else { honest(&sent, "", request) }
        },
    );
    desk.fetch(&[server.url("file.tar")], &file).unwrap();
    desk.check_out(&file);
    assert_eq!((server.requests()[1].start, server.requests()[1].if_range.clone()), (Some(HALF), None));
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(move |number, _| cut(&sent, "\"1\"", if number == 0 { HALF } else { SIZE }));
    desk.fetch(&[server.url("file.tar")], &file).unwrap();
    desk.check_out(&file);
    assert_eq!(server.n_served(), [HALF, SIZE]);
}

#[test]
fn a_server_that_always_cuts_at_the_same_place_is_left() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(move |_, _| cut(&sent, "\"1\"", HALF));
    let why = tries(desk.fetch(&[server.url("file.tar")], &file).unwrap_err());
    assert_eq!(why[0].why, format!("the connection was cut, after {HALF} bytes"));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_whole() {
    let (desk, old, new) = (Desk::new(), content(1), content(2));
    let sent = new.clone();
    let server = Server::start(
        move |number, request| {
            if number == 0 { cut(&old, "\"1\"", HALF) } else { honest(&sent, "\"2\"", request) }
        },
    );
    desk.fetch(&[server.url("file.tar")], &new).unwrap();
    desk.check_out(&new);
    assert_eq!(server.n_served(), [HALF, SIZE]);
}

#[test]
fn a_part_mixed_from_two_versions_is_fetched_once_more() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(move |_, request| honest(&sent, "\"1\"", request));
    desk.put_part(&file, &content(2)[..HALF]);
    desk.fetch(&[server.url("file.tar")], &file).unwrap();
    desk.check_out(&file);
    assert_eq!(server.n_served(), [SIZE - HALF, SIZE]);
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(move |_, _| {
        honest(&sent, "\"1\"", &Request { path: String::new(), start: Some(7), if_range: None })
    });
    let why = tries(desk.fetch(&[server.url("file.tar")], &file).unwrap_err());
    assert_eq!(why[0].why, "it sent another range than was asked for");
    assert!(!desk.out.exists());
}

#[test]
fn a_part_that_is_already_whole_needs_no_network() {
    let (desk, file) = (Desk::new(), content(1));
    desk.put_part(&file, &file);
    desk.fetch(&[refused_url()], &file).unwrap();
    desk.check_out(&file);
}

#[test]
fn a_part_that_is_too_long_starts_over() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(move |_, request| honest(&sent, "\"1\"", request));
    desk.put_part(&file, &[file.clone(), vec![0]].concat());
    desk.fetch(&[server.url("file.tar")], &file).unwrap();
    desk.check_out(&file);
    assert_eq!(server.n_served(), [0, SIZE]);
}

#[test]
fn a_stalled_source_is_left_for_the_next() {
    let (desk, file) = (Desk::new(), content(1));
    let (part, rest) = (file.clone(), file.clone());
    let stalling = Server::start(move |number, _| match number {
        0 => Reply { stalls: true, ..cut(&part, "\"1\"", HALF) },
        _ => Reply { head: String::new(), body: vec![], stalls: true },
    });
    let good = Server::start(move |_, request| honest(&rest, "\"9\"", request));
    let limits = Limits { stall: Duration::from_millis(300), ..LIMITS };
    let started = Instant::now();
    let fetched = desk.fetch_within(&[stalling.url("file.tar"), good.url("file.tar")], &file, &limits).unwrap();
    assert!(started.elapsed() < Duration::from_secs(15));
    desk.check_out(&file);
    assert_eq!(fetched.failed, [Try { url: stalling.url("file.tar"), why: "nothing came for 300ms".into() }]);
    // The other source has no such ETag, so none is sent to it; but it goes on with what is there.
    assert_eq!(good.requests(), [Request { path: "/file.tar".into(), start: Some(HALF), if_range: None }]);
}

#[test]
fn a_redirect_is_followed() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let target = Server::start(move |_, _| whole(&sent));
    let to = target.url("elsewhere");
    let server = Server::start(move |_, _| status(&format!("302 Found\r\nLocation: {to}")));
    let fetched = desk.fetch(&[server.url("file.tar")], &file).unwrap();
    assert_eq!(fetched.url, server.url("file.tar"));
    desk.check_out(&file);
}

#[test]
fn when_all_sources_fail_each_is_listed_with_its_reason() {
    let (desk, file) = (Desk::new(), content(1));
    let server = Server::start(|_, _| status("404 Not Found"));
    let (missing, refused) = (server.url("file.tar"), refused_url());
    let note = Try { url: "debian:pool/x/file.tar".into(), why: "no apt".into() };
    let text = desk.failure(&[missing.clone(), refused.clone()], note, &file);
    let lines = Vec::from_iter(text.lines());
    assert_eq!(lines[0], "failed to fetch `file.tar`: none of its sources worked (3 tried)");
    assert_eq!(lines[1], "  debian:pool/x/file.tar: no apt");
    assert_eq!(lines[2], format!("  {missing}: http status 404 Not Found"));
    assert_eq!(lines[3], format!("  {refused}: connection refused (os error 111)"));
    assert!(lines[4].starts_with("hint: check the network, or put the file into vendor/file.tar"), "{text}");
    assert_eq!(lines.len(), 5);
    assert!(!desk.out.exists());
}

#[test]
fn without_candidates_the_notes_name_the_file() {
    let note = Try { url: "debian:pool/x/y.deb".into(), why: "no apt".into() };
    let text = Desk::new().failure(&[], note, b"");
    assert!(
        text.starts_with(
            "failed to fetch `y.deb`: none of its sources worked (1 tried)\n  debian:pool/x/y.deb: no apt\n"
        ),
        "{text}"
    );
}

#[test]
fn the_second_source_makes_up_for_a_bad_first() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let bad = Server::start(|_, _| whole(&content(2)));
    let good = Server::start(move |_, request| honest(&sent, "\"1\"", request));
    let fetched = desk.fetch(&[refused_url(), bad.url("file.tar"), good.url("file.tar")], &file).unwrap();
    assert_eq!((fetched.url, fetched.failed.len()), (good.url("file.tar"), 2));
    desk.check_out(&file);
    assert_eq!(good.n_served(), [SIZE]);
}

#[test]
fn a_source_without_an_end_is_stopped() {
    let (desk, file) = (Desk::new(), content(1));
    let sent = file.clone();
    let server = Server::start(move |_, _| whole(&sent));
    let limits = Limits { size: HALF as u64, ..LIMITS };
    let why = tries(desk.fetch_within(&[server.url("file.tar")], &file, &limits).unwrap_err());
    assert_eq!(why[0].why, format!("it sent more than {HALF} bytes"));
    assert_eq!(fs::metadata(desk.part(&file)).unwrap().len(), 0);
}

/// The server holds its first answer back until the second thread says that it waits, and then some time for a request that must
/// not come.
#[test]
fn two_threads_that_want_the_same_file_take_turns() {
    let (desk, file) = (Desk::new(), content(1));
    let (arrived, arrival) = channel();
    let (waits, waiting) = channel();
    let (sent, queue) = (file.clone(), Mutex::new((arrival, waiting)));
    let n_overlaps = Arc::new(AtomicUsize::new(0));
    let overlaps = n_overlaps.clone();
    let server = Server::start(move |number, request| {
        if number == 0 {
            let (arrival, waiting) = &*queue.lock().unwrap();
            waiting.recv_timeout(Duration::from_secs(60)).unwrap();
            let overlap = arrival.recv_timeout(Duration::from_millis(500));
            overlaps.fetch_add(usize::from(overlap.is_ok()), Ordering::SeqCst);
        } else {
            arrived.send(()).unwrap();
        }
        honest(&sent, "\"1\"", request)
    });
    let second_out = desk.out.with_extension("second");
    let wanted = candidates(&[server.url("file.tar")], &file);
    let progress = |what: &str, _, _| {
        if what.starts_with("waiting for another") {
            waits.send(()).unwrap();
        }
    };
    let fetch_to = |out: &Utf8Path| {
        fetch::fetch(&wanted, &[], &desk.downloads, out, &progress, &LIMITS).unwrap();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| fetch_to(&desk.out));
        scope.spawn(|| fetch_to(&second_out));
    });
    desk.check_out(&file);
    assert!(fs::read(second_out).unwrap() == file);
    assert_eq!(server.n_served(), [SIZE, SIZE]);
    assert_eq!(n_overlaps.load(Ordering::SeqCst), 0);
}

#[test]
fn a_hash_that_is_none_is_refused_before_it_names_a_file() {
    let desk = Desk::new();
    for sha256 in ["../../x", "", &"A".repeat(64)] {
        let candidate = Candidate { url: "http://h/x".into(), sha256: sha256.into() };
        let error = fetch::fetch(&[candidate], &[], &desk.downloads, &desk.out, &|_, _, _| {}, &LIMITS).unwrap_err();
        assert!(matches!(error, FetchError::BadHash { .. }), "{error}");
    }
    assert!(!desk.downloads.exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_no_fault_of_the_source() {
    let (desk, file) = (Desk::new(), content(1));
    fs::write(&desk.downloads, "in the way").unwrap();
    let error = desk.fetch(&[refused_url()], &file).unwrap_err();
    assert!(matches!(&error, FetchError::Disk { path, .. } if *path == desk.downloads), "{error}");
}

fn source(url: &str, file: &[u8]) -> (String, String) {
    (url.to_owned(), sha256(file))
}

#[test]
fn a_local_copy_is_taken_by_hash_or_by_name_and_only_if_it_is_right() {
    let (desk, file) = (Desk::new(), content(1));
    let sources = [source("debian:pool/f/file.tar", &file)];
    let folder = &desk.downloads;
    fs::create_dir_all(folder).unwrap();
    assert_eq!(fetch::local_copy(folder, &sources, &desk.out).unwrap(), None);
    for name in [sha256(&file), "file.tar".to_owned()] {
        let path = folder.join(name);
        fs::write(&path, &file).unwrap();
        assert_eq!(fetch::find_local(folder, &sources).as_ref(), Some(&path));
        let found = fetch::local_copy(folder, &sources, &desk.out).unwrap().unwrap();
        assert_eq!((found.url, found.sha256, found.size), (path.to_string(), sha256(&file), SIZE as u64));
        assert!(fs::read(&desk.out).unwrap() == file);
        fs::remove_file(&desk.out).unwrap();
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_local_copy_with_a_wrong_hash_is_told_unless_another_is_right() {
    let (desk, file) = (Desk::new(), content(1));
    let sources = [source("https://h/file.tar", &file)];
    let (folder, wrong) = (&desk.downloads, desk.downloads.join("file.tar"));
    fs::create_dir_all(folder).unwrap();
    fs::write(&wrong, content(2)).unwrap();
    assert_eq!(fetch::find_local(folder, &sources), None);
    let text = fetch::local_copy(folder, &sources, &desk.out).unwrap_err().to_string();
    let (expected, computed) = (sha256(&file), sha256(&content(2)));
    let begin = format!("failed to use `{wrong}`: wrong hash\n  Expected: {expected}\n  Computed: {computed}\nhint: ");
    assert!(text.starts_with(&begin), "{text}");
    assert_eq!(fs::read_dir(desk.out.parent().unwrap()).unwrap().count(), 1, "scraps");

    for name in [expected, "zz.tar".to_owned()] {
        fs::write(folder.join(&name), &file).unwrap();
        let sources = [sources[0].clone(), source("https://h/zz.tar", &file)];
        assert!(fetch::local_copy(folder, &sources, &desk.out).unwrap().is_some());
        fs::remove_file(folder.join(&name)).unwrap();
    }
}

/// What the mirrors are depends on the machine, but every way has to end with URLs or with a reason.
#[test]
fn sources_become_candidates_in_order_or_notes() {
    let urls = ["https://a/b", "debian:pool/main/x", "ftp://c", "http://d"];
    let (found, notes) = fetch::expand(&urls.map(|url| source(url, b"")));
    let of = |url: &str| Candidate { url: url.to_owned(), sha256: sha256(b"") };
    assert_eq!((&found[0], &found[found.len() - 1]), (&of("https://a/b"), &of("http://d")));
    match fetch::expand_debian("pool/main/x") {
        Ok(urls) => {
            assert!(urls.iter().all(|url| url.starts_with("http") && url.ends_with("/pool/main/x")));
            assert_eq!((found.len(), notes.len()), (urls.len() + 2, 1));
        }
        Err(why) => assert_eq!(notes[0], Try { url: "debian:pool/main/x".into(), why }),
    }
    assert_eq!(notes.last().unwrap().url, "ftp://c");
}
