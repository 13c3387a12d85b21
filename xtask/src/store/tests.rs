//! What the store promises.

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Utf8Path::from_path(folder.path()).unwrap(), Access::Shared).unwrap();
    (folder, store)
}

fn file(store: &Store, text: &str) -> (Temp, Utf8PathBuf) {
    let temp = store.temp("test").unwrap();
    let path = temp.path().join("out");
    fs::write(&path, text).unwrap();
    (temp, path)
}

fn trace(id: ArtifactId) -> Trace {
    let mut fields = Fields::default();
    fields.set("a", 1);
    Trace { step: "s".into(), id, fields, seconds: 0.5, hermetic: true, elsewhere: false }
}

#[test]
fn what_was_committed_and_recorded_is_found() {
    let (_keep, store) = store();
    let (_temp, path) = file(&store, "x");
    let id = store.commit(&path).unwrap();
    store.record(&trace(id)).unwrap();
    assert_eq!(store.lookup(trace(id).fields.key()).unwrap().id, id);
    assert_eq!((store.objects().unwrap(), store.traces().unwrap().len()), (vec![id], 1));
}

#[test]
fn the_same_content_is_one_object() {
    let (_keep, store) = store();
    let (_first, one) = file(&store, "x");
    let (_second, two) = file(&store, "x");
    assert_eq!(store.commit(&one).unwrap(), store.commit(&two).unwrap());
    assert_eq!(store.objects().unwrap().len(), 1);
}

#[test]
fn a_trace_without_its_object_is_no_hit() {
    let (_keep, store) = store();
    let (_temp, path) = file(&store, "x");
    let id = store.commit(&path).unwrap();
    store.record(&trace(id)).unwrap();
    store.discard(id).unwrap();
    assert!(store.lookup(trace(id).fields.key()).is_none());
}

#[test]
fn a_trace_with_a_flipped_bit_is_no_hit() {
    let (_keep, store) = store();
    let (_temp, path) = file(&store, "x");
    let id = store.commit(&path).unwrap();
    store.record(&trace(id)).unwrap();
    let key = trace(id).fields.key();
    let text = fs::read_to_string(store.trace_path(key)).unwrap();
    fs::write(store.trace_path(key), text.replace("\"a\": \"1\"", "\"a\": \"2\"")).unwrap();
    assert!(store.lookup(key).is_none());
}

#[test]
fn damage_is_seen_and_committing_again_mends_it() {
    let (_keep, store) = store();
    let (_temp, path) = file(&store, "good");
    let id = store.commit(&path).unwrap();
    let object = store.object(id).unwrap();
    artifact::remove(&object).unwrap();
    fs::write(&object, "evil").unwrap();
    assert!(!store.is_intact(id).unwrap());
    let (_temp, path) = file(&store, "good");
    assert_eq!(store.commit(&path).unwrap(), id);
    assert!(store.is_intact(id).unwrap());
}

#[test]
fn what_a_killed_process_left_is_swept_and_what_is_in_use_is_kept() {
    let (keep, store) = store();
    let used = store.temp("used").unwrap();
    let left = store.root().join("tmp/left-1-1");
    fs::create_dir_all(left.join("x")).unwrap();
    let _other = Store::open(Utf8Path::from_path(keep.path()).unwrap(), Access::Shared).unwrap();
    assert!(!left.exists());
    assert!(used.path().exists());
}

#[test]
fn an_exclusive_lock_waits_for_a_moment_and_says_why_it_is_refused() {
    let (keep, store) = store();
    let open = || Store::open(Utf8Path::from_path(keep.path()).unwrap(), Access::Exclusive);
    let error = open().err().unwrap();
    assert!(error.to_string().contains("a build is using it"), "{error}");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(store);
        });
        open().unwrap();
    });
}

#[test]
fn a_second_claim_is_told_who_has_the_first() {
    let (_keep, store) = store();
    let key = Fields::default().key();
    let first = store.claim(key, "s", &|_| panic!("nobody has it")).unwrap();
    let (told, was_told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| store.claim(key, "s", &|holder| told.send(holder.to_owned()).unwrap()).unwrap());
        assert_eq!(was_told.recv().unwrap(), format!("process {}", std::process::id()));
        drop(first);
        second.join().unwrap();
    });
}

#[test]
fn a_temp_whose_name_is_taken_by_another_process_gets_another_name() {
    let (_keep, store) = store();
    let first = store.temp("x").unwrap();
    // As a process with the same number in another container would: it holds the names that come next.
    let name = |index: u64| store.root().join(format!("tmp/x-{}-{index}.lock", std::process::id()));
    let number: u64 = first.path().as_str().rsplit('-').next().unwrap().parse().unwrap();
    let taken: Vec<_> = (number + 1..number + 50).map(|index| open_lock(&name(index)).unwrap()).collect();
    taken.iter().for_each(|lock| lock.lock().unwrap());
    assert!(store.temp("x").unwrap().path().is_dir());
}

#[test]
fn a_link_that_leads_nowhere_is_an_artifact_like_any_other() {
    let (_keep, store) = store();
    let temp = store.temp("test").unwrap();
    let path = temp.path().join("out");
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    let id = store.commit(&path).unwrap();
    assert!(store.is_intact(id).unwrap() && store.object(id).is_some());
}

#[test]
fn what_the_disk_has_lost_is_damaged_and_what_may_not_be_read_is_not() {
    let error = |number| anyhow::Error::from(io::Error::from_raw_os_error(number)).context("failed to read `x`");
    let check = |number, expect| assert_eq!(artifact::is_damage(&error(number)), expect, "{number}");
    // ENOENT, ENOTDIR, EIO, EBADMSG, EUCLEAN; EACCES, EMFILE, ENOMEM.
    [2, 20, 5, 74, 117].into_iter().for_each(|number| check(number, true));
    [13, 24, 12].into_iter().for_each(|number| check(number, false));
}

#[test]
fn what_is_whole_is_not_taken_away() {
    let (_keep, store) = store();
    let (_temp, path) = file(&store, "x");
    let id = store.commit(&path).unwrap();
    assert!(!store.discard_damaged(id).unwrap());
    assert!(store.object(id).is_some());
}
