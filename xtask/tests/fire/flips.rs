//! Flipped bits, and coarser damage, in every kind of file of the store and of the checkout's memory.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use xtask::artifact;

use crate::bench::{Bench, Outcome};
use crate::random::Random;

const N_FLIPS: usize = 150;

fn built() -> (Bench, Outcome) {
    let bench = Bench::new();
    bench.build().expect(0);
    bench.take_ledger();
    let outcome = bench.outcome();
    (bench, outcome)
}

/// All files below a folder, sorted.
fn files(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = artifact::entries(folder).unwrap();
    let is_file = |entry: &&artifact::Entry| entry.kind != artifact::FOLDER && entry.kind != artifact::SYMLINK;
    entries.iter().filter(is_file).map(|entry| folder.join(&entry.path)).collect()
}

/// Changes a file in place, although it is read-only.
fn change(path: &Utf8Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

fn flip(path: &Utf8Path, random: &mut Random) -> bool {
    let n_bytes = fs::metadata(path).unwrap().size() as usize;
    if n_bytes > 0 {
        let (index, bit) = (random.below(n_bytes), random.below(8));
        change(path, |bytes| bytes[index] ^= 1 << bit);
    }
    n_bytes > 0
}

/// One bit of anything that a build leaves: what is served stays the same, and afterwards nothing damaged is there.
#[test]
fn one_flipped_bit_anywhere_changes_nothing_that_is_served() {
    let ((bench, expected), mut random) = (built(), Random::new());
    let memory = bench.checkout().join("target/pid1");
    let mut n_again = 0;
    // In turn, for the objects have most of the bytes, and the records most of the power.
    let kinds = ["objects", "traces", "roots", "logs", "claims", "tools.json", "memory"];
    for index in 0..N_FLIPS {
        let place = match kinds[index % kinds.len()] {
            "memory" => memory.clone(),
            name => bench.folder(name),
        };
        let files = if place.is_file() { vec![place] } else { files(&place) };
        let victim = &files[random.below(files.len())];
        if !flip(victim, &mut random) {
            continue;
        }
        bench.build().expect(0);
        assert!(bench.outcome().files() == expected.files(), "{victim} changed what is served");
        n_again += bench.take_ledger().len();
        // An artifact that was not asked for may still be damaged; it is found by who looks for it.
        bench.xtask(&["store", "verify"]);
        bench.xtask(&["store", "verify"]).expect(0);
        bench.build().expect(0);
        bench.take_ledger();
    }
    // The trace of a download that nobody asks for may still be a damaged one; it does not count.
    bench.check_store_but_traces();
    bench.outcome().expect(&expected);
    println!("{N_FLIPS} flipped bits, {n_again} steps made again, seed {}", random.seed);
}

/// Any flip of a record that counts: the record does not count any more, and the step runs again or is found again.
#[test]
fn a_trace_that_is_not_as_it_was_written_is_none() {
    let ((bench, expected), mut random) = (built(), Random::new());
    let recorded = bench.recorded();
    let trace = |step: &str| bench.folder("traces").join(format!("{}.json", recorded[step].0));
    let whole = fs::read_to_string(trace("initramfs")).unwrap();
    let other_id = recorded["big"].1.to_string();
    let own_id = recorded["initramfs"].1.to_string();
    let texts = [
        ("with the id of another artifact", whole.replace(&own_id, &other_id)),
        ("of another step", fs::read_to_string(trace("kernel")).unwrap()),
        ("cut in the middle", whole[..whole.len() / 2].to_owned()),
        ("empty", String::new()),
        ("full of holes", "\0".repeat(whole.len())),
        ("with another time", whole.replacen("\"seconds\": ", "\"seconds\": 1", 1)),
        ("with a byte too much", format!("{whole} ")),
    ];
    for (what, text) in texts {
        assert_ne!(text, whole, "{what}");
        fs::write(trace("initramfs"), text).unwrap();
        bench.build().expect(0);
        assert_eq!(bench.take_ledger(), ["initramfs"], "a trace {what}");
        assert!(bench.outcome().files() == expected.files(), "a trace {what}");
    }
    for _ in 0..20 {
        assert!(flip(&trace("initramfs"), &mut random));
        bench.build().expect(0);
        assert!(bench.outcome().files() == expected.files());
    }
}

pub type Damage = (&'static str, fn(&Utf8Path));

/// Everything that can be wrong with a folder in the store.
pub const DAMAGES: [Damage; 11] = [
    ("another content", |folder| change(&folder.join("a/1"), |bytes| bytes[0] ^= 1)),
    ("a shorter file", |folder| change(&folder.join("a/1"), |bytes| bytes.truncate(3))),
    ("an empty file", |folder| change(&folder.join("a/1"), Vec::clear)),
    ("a missing file", |folder| fs::remove_file(folder.join("a/1")).unwrap()),
    ("an extra file", |folder| fs::write(folder.join("a/extra"), "x").unwrap()),
    ("another name", |folder| fs::rename(folder.join("a/1"), folder.join("a/01")).unwrap()),
    ("a file that may be executed", |folder| {
        fs::set_permissions(folder.join("a/1"), fs::Permissions::from_mode(0o555)).unwrap()
    }),
    ("another link", |folder| {
        fs::remove_file(folder.join("a/link")).unwrap();
        symlink("elsewhere", folder.join("a/link")).unwrap();
    }),
    ("a file in place of a folder", |folder| {
        fs::remove_dir(folder.join("empty")).unwrap();
        fs::write(folder.join("empty"), "").unwrap();
    }),
    ("a socket", |folder| drop(std::os::unix::net::UnixListener::bind(folder.join("s")).unwrap())),
    ("a name that is no text", |folder| {
        let name = std::ffi::OsStr::from_bytes(b"a/\xff");
        fs::write(folder.as_std_path().join(name), "").unwrap();
    }),
];

/// The folders of an artifact are read-only.
pub fn open_up(folder: &Utf8Path) {
    for place in [folder.to_owned(), folder.join("a"), folder.join("empty")] {
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn every_kind_of_damage_to_a_folder_is_seen_and_mended() {
    let (bench, expected) = built();
    let id = bench.recorded()["kernel"].1;
    let object = bench.folder("objects").join(id.to_string());
    for (what, damage) in DAMAGES {
        open_up(&object);
        damage(&object);
        bench.build().expect(0).says(&["kernel: its artifact", "is damaged; making it again"]);
        assert_eq!(bench.take_ledger(), ["kernel"], "{what}");
        bench.outcome().expect(&expected);
        bench.check_store();
    }
}

/// What happens to an artifact, given another one.
type Replacement = (&'static str, fn(&Utf8Path, &Utf8Path));

#[test]
fn every_kind_of_damage_to_a_whole_artifact_is_seen_and_mended() {
    let (bench, expected) = built();
    let recorded = bench.recorded();
    let object = |step: &str| bench.folder("objects").join(recorded[step].1.to_string());
    let damages: [Replacement; 5] = [
        ("gone", |object, _| artifact::remove(object).unwrap()),
        ("another artifact's content", |object, other| {
            artifact::remove(object).unwrap();
            fs::copy(other, object).unwrap();
        }),
        ("a folder", |object, _| {
            artifact::remove(object).unwrap();
            fs::create_dir(object).unwrap();
        }),
        ("a link to itself", |object, _| {
            artifact::remove(object).unwrap();
            symlink(object, object).unwrap();
        }),
        ("a link to the same content elsewhere", |object, _| {
            let aside = object.with_extension("aside");
            fs::rename(object, &aside).unwrap();
            symlink(&aside, object).unwrap();
        }),
    ];
    for (what, damage) in damages {
        damage(&object("initramfs"), &object("right"));
        bench.build().expect(0);
        assert_eq!(bench.take_ledger(), ["initramfs"], "{what}");
        bench.outcome().expect(&expected);
    }
}

/// What the id does not tell is put right when the artifact is looked at.
#[test]
fn modes_and_times_are_put_right() {
    let (bench, _) = built();
    let object = bench.folder("objects").join(bench.recorded()["kernel"].1.to_string());
    open_up(&object);
    fs::set_permissions(object.join("a/1"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::File::options()
        .read(true)
        .open(object.join("a/1"))
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    bench.build().expect(0);
    assert_eq!(bench.take_ledger(), [""; 0]);
    for (path, mode) in [("a/1", 0o444), ("a", 0o555), ("", 0o555)] {
        let metadata = fs::metadata(object.join(path)).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (mode, artifact::EPOCH), "{path}");
    }
}

/// As after `chmod -R` or a bad restore: what may not be read is not lost.
#[test]
fn read_bits_are_given_back() {
    let (bench, expected) = built();
    let object = |step: &str| bench.folder("objects").join(bench.recorded()[step].1.to_string());
    let verify = bench.xtask_command(&["store", "verify"]);
    for command in [&bench.command(), &verify] {
        for (path, mode) in [("a/1", 0o000), ("a/0", 0o100), ("a", 0o300), ("", 0o000)] {
            fs::set_permissions(object("kernel").join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(object("initramfs"), fs::Permissions::from_mode(0o000)).unwrap();
        bench.powerless(command).expect(0);
        assert_eq!(bench.take_ledger(), [""; 0]);
        bench.outcome().expect(&expected);
        for (path, mode) in [("a/1", 0o444), ("a/0", 0o555), ("a", 0o555), ("", 0o555)] {
            assert_eq!(fs::metadata(object("kernel").join(path)).unwrap().mode() & 0o7777, mode, "{path}");
        }
    }
}

/// A part of a download with a flipped bit costs a new start, not an error and not a circle.
#[test]
fn a_flipped_bit_in_a_part_of_a_download_costs_a_new_start() {
    let (bench, expected) = built();
    let sha256 = bench.order.pin.sources[0].sha256.clone();
    let archive = fs::read(bench.folder("objects").join(bench.recorded()["fetch-musl"].1.to_string())).unwrap();
    let mut random = Random::new();
    for n_bytes in [1, 100_000, archive.len() - 1, archive.len(), archive.len() + 1] {
        for garbled in [false, true] {
            bench.clear();
            fs::create_dir_all(bench.folder("downloads")).unwrap();
            let (part, version) = (
                bench.folder("downloads").join(format!("{sha256}.part")),
                bench.folder("downloads").join(format!("{sha256}.version")),
            );
            let mut bytes = archive.clone();
            bytes.resize(n_bytes.max(archive.len()), 0);
            bytes.truncate(n_bytes);
            fs::write(&part, bytes).unwrap();
            assert!(flip(&part, &mut random));
            // A quotation mark with a flipped bit is a control character, which no header may hold.
            let tag = if garbled { "\u{2}1\"" } else { "\"1\"" };
            fs::write(&version, format!("{}\n{tag}\n", bench.order.pin.sources[0].url)).unwrap();
            bench.build().expect(0);
            bench.outcome().expect(&expected);
        }
    }
}

/// gc deletes what no record of a checkout names; so it does nothing while it cannot read one of them.
#[test]
fn gc_does_nothing_while_a_root_is_damaged_and_the_next_build_mends_it() {
    let ((bench, _), mut random) = (built(), Random::new());
    let n_objects = crate::bench::names(&bench.folder("objects")).len();
    let root = files(&bench.folder("roots")).remove(0);
    for _ in 0..20 {
        // One bit of the seal's own name makes of it a record from before there were seals; it is whole all the same.
        assert!(flip(&root, &mut random));
        let ran = bench.xtask(&["gc"]);
        if ran.status != Some(0) {
            ran.expect(1).says(&["records are damaged", root.as_str(), "hint: run `cargo xtask image NAME`"]);
        }
        bench.build().expect(0);
        assert!(crate::bench::names(&bench.folder("objects")).len() + 1 >= n_objects);
        assert_eq!(bench.take_ledger(), [""; 0]);
        bench.xtask(&["gc"]).expect(0);
    }
}

/// Damages a file or a folder that a step made.
pub fn damage_any(object: &Utf8Path) {
    if object.is_dir() {
        open_up(object);
        DAMAGES[0].1(object);
    } else {
        change(object, |bytes| bytes[0] ^= 1);
    }
}
