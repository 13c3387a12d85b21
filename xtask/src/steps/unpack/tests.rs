//! What unpacking promises, by name, with archives that are honest, damaged or hostile.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::{fs, io};

use proptest::prelude::*;

use self::archives::{Raw, deb, file, folder, formats, gzip, hard_link, link, package, raw, tar_of, xz};
use self::desk::Desk;
use super::filter::{below, folders};
use super::{Selection, Unpacked, unpack};

mod archives;
mod desk;

#[track_caller]
fn check(entries: &[Raw], root: &str, expect: &[&str]) {
    let desk = Desk::new();
    desk.unpack(&tar_of(entries), root).unwrap();
    assert_eq!(desk.listing(), expect);
}

/// Entries are all below the root `r`.
#[track_caller]
fn check_globs(entries: &[Raw], keep: &[&str], leave_out: &[&str], expect: &[&str]) {
    let desk = Desk::new();
    let [keep, leave_out] = [keep, leave_out].map(owned);
    let selection = Selection { root: "r", leave_out: &leave_out, keep: &keep };
    let unpacked = desk.unpack_part(&tar_of(entries), &selection).unwrap();
    assert_eq!(desk.listing(), expect);
    assert_eq!(unpacked.n_files as usize, expect.iter().filter(|line| line.starts_with('f')).count());
}

fn owned(globs: &[&str]) -> Vec<String> {
    Vec::from_iter(globs.iter().map(|glob| (*glob).to_owned()))
}

#[track_caller]
fn check_error(archive: &[u8], root: &str, expect: &str) {
    let desk = Desk::new();
    let text = desk.unpack(archive, root).unwrap_err().to_string();
    assert!(text.starts_with(&format!("failed to unpack `{}`: ", desk.path.join("archive"))), "{text}");
    assert!(text.contains(expect), "{text}");
    assert!(text.contains("\nhint: "), "{text}");
    assert!(desk.is_intact());
}

/// The last entry is the one to be refused.
#[track_caller]
fn check_refused(entries: &[Raw], rule: &str) {
    let name = String::from_utf8_lossy(&entries.last().unwrap().name).into_owned();
    check_error(&tar_of(entries), "", &format!("refused entry `{name}`: {rule}\nhint: "));
}

#[test]
fn modes_are_normalised_and_missing_folders_are_made() {
    let executable = Raw { mode: 0o4711, ..file("a/b/run", "x") };
    let odd = Raw { mode: 0o1077, ..file("a/b/odd", "y") };
    let bare = Raw { mode: 0o000, ..folder("z/") };
    check(
        &[executable, odd, bare, link("a/l", "b"), folder("a/")],
        "",
        &["d 755 a", "d 755 a/b", "f 644 a/b/odd=y", "f 755 a/b/run=x", "l a/l -> b", "d 755 z"],
    );
}

#[test]
fn the_root_is_a_glob_over_whole_names() {
    let entries = [
        folder("./"),
        file("./top", "t"),
        file("./src-1/one/f", "1"),
        file("./src-1/library/f", "2"),
        file("./src-1/library/x/library/f", "3"),
    ];
    let library = ["f 644 f=2", "d 755 x", "d 755 x/library", "f 644 x/library/f=3"];
    for root in ["src-1/library", "*/library/", "**/library", "{src-*,usr/*}/library"] {
        check(&entries, root, &library);
    }
    check(&entries, "*/one", &["f 644 f=1"]);
    let archive = tar_of(&entries);
    check_error(&archive, "src/library", "no folder in it matches the root `src/library`\n  at its top: src-1, top\n");
    check_error(&archive, "*/*", "the root `*/*` matches both `src-1/one` and `src-1/library`");
    check_error(&archive, "{", "failed to read the pattern `{`");
    check_error(&tar_of(&[file("a", "")]), "*", "no folder in it matches the root `*`\n  at its top: a\n");
}

#[test]
fn files_and_folders_can_be_left_out() {
    let entries = [
        file("r/a/b/Cargo.toml", ""),
        file("r/a/b/c", ""),
        file("r/gone/x/y", ""),
        file("r/also", ""),
        file("gone/x", ""),
    ];
    let leave_out = ["a/**/Cargo.toml", "gone/", "al*", "not/there"];
    check_globs(&entries, &[], &leave_out, &["d 755 a", "d 755 a/b", "f 644 a/b/c="]);
    check_globs(&[raw(b'6', "r/pipe", ""), file("r/f", "")], &[], &["pipe"], &["f 644 f="]);
}

#[test]
fn nothing_but_what_is_to_be_kept_is_taken() {
    let entries = [
        folder("r/"),
        folder("r/empty/"),
        folder("r/library/"),
        file("r/library/core/f", ""),
        folder("r/library/none/"),
        file("r/library/std/src/f", ""),
        raw(b'6', "r/pipe", ""),
        file("r/top", ""),
        file("library/f", ""),
    ];
    check_globs(
        &entries,
        &["library/"],
        &[],
        &[
            "d 755 library",
            "d 755 library/core",
            "f 644 library/core/f=",
            "d 755 library/none",
            "d 755 library/std",
            "d 755 library/std/src",
            "f 644 library/std/src/f=",
        ],
    );
    check_globs(
        &entries,
        &["t*", "**/src/f", "not/there"],
        &[],
        &["d 755 library", "d 755 library/std", "d 755 library/std/src", "f 644 library/std/src/f=", "f 644 top="],
    );
}

#[test]
fn what_is_to_be_left_out_is_not_kept() {
    let entries = [file("r/a/b/f", ""), file("r/a/tests/f", ""), file("r/c/f", ""), file("r/top", "")];
    check_globs(&entries, &["a/", "top"], &["**/tests"], &["d 755 a", "d 755 a/b", "f 644 a/b/f=", "f 644 top="]);
    check_globs(&entries, &["a/tests/"], &["a"], &[]);
}

/// It is the step that takes an empty tree for an error; the root has to be there all the same.
#[test]
fn keeping_what_is_not_there_gives_no_files() {
    check_globs(&[folder("r/"), file("r/f", "")], &["not/there"], &[], &[]);
    let selection = Selection { root: "s", leave_out: &[], keep: &owned(&["f"]) };
    let error = Desk::new().unpack_part(&tar_of(&[file("r/f", "")]), &selection).unwrap_err().to_string();
    assert!(error.contains("no folder in it matches the root `s`"), "{error}");
}

#[test]
fn hard_links_become_files_of_their_own() {
    let original = Raw { mode: 0o755, ..file("r/a", "data") };
    let desk = Desk::new();
    let unpacked = desk.unpack(&tar_of(&[original, hard_link("r/d/b", "r/a")]), "*").unwrap();
    assert_eq!(desk.listing(), ["f 755 a=data", "d 755 d", "f 755 d/b=data"]);
    assert_eq!(unpacked, Unpacked { n_files: 2, n_bytes: 8 });
    fs::write(desk.path.join("out/a"), "changed").unwrap();
    assert!(desk.listing().contains(&"f 755 d/b=data".to_owned()));
}

#[test]
fn what_could_reach_outside_is_refused_by_name() {
    check_refused(&[file("/etc/passwd", "")], "its path is absolute");
    check_refused(&[file("a/../../x", "")], "its path has a `..` in it");
    check_refused(&[link("l", "/etc")], "its target is absolute");
    check_refused(&[link("l", "../neighbour")], "its target is outside the root");
    check_refused(&[link("a/l", "./../../neighbour")], "its target is outside the root");
    check_refused(&[link("a/l", ".."), link("m", "a/l/../neighbour")], "its target has a `..` after a name");
    check_refused(&[folder("d"), link("l", "d"), file("l/x", "")], "its path leads through a symbolic link");
    check_refused(&[folder("d"), link("l", "d"), folder("l/")], "its path leads through a symbolic link");
    check_refused(&[file("a", ""), file("a/b", "")], "its path leads through a file");
    check_refused(&[file("r", ""), hard_link("l", "../neighbour/file")], "its path has a `..` in it");
    check_refused(&[hard_link("l", "/etc/passwd")], "its path is absolute");
}

#[test]
fn what_no_source_needs_is_refused() {
    check_refused(&[raw(b'3', "c", "")], "it is a device");
    check_refused(&[raw(b'4', "b", "")], "it is a device");
    check_refused(&[raw(b'6', "p", "")], "it is a named pipe");
    check_refused(&[raw(b'V', "v", "")], "it is neither a file nor a folder nor a link");
    check_refused(&[file("a", "1"), file("./a", "2")], "an earlier entry has the same path");
    check_refused(&[link("a", "b"), file("a", "2")], "an earlier entry has the same path");
    check_refused(&[folder("a"), link("a", "b")], "an earlier entry has the same path");
    check_refused(&[raw(b'0', b"caf\xe9", "")], "its name is not UTF-8");
    check_refused(&[raw(b'2', "l", b"caf\xe9")], "its target is not UTF-8");
    check_refused(&[link("l", "")], "it is a link without a target");
    check_refused(&[file("./", "x")], "it would replace the root");
    check_refused(&[hard_link("l", "none")], "it is a hard link to what is no earlier file");
    check_refused(&[link("s", "x"), hard_link("l", "s")], "it is a hard link to what is no earlier file");
    let sparse = Raw { data: b"22 GNU.sparse.major=1\n".into(), ..raw(b'x', "pax", "") };
    check_refused(&[sparse, file("s", "0\n")], "it is a sparse file");
}

#[test]
fn a_hard_link_to_what_is_not_taken_is_refused() {
    let archive = tar_of(&[file("other/f", ""), hard_link("r/l", "other/f")]);
    let refusal = "refused entry `r/l`: it is a hard link to a file that is left out";
    check_error(&archive, "r", refusal);
    let selection = Selection { root: "", leave_out: &[], keep: &owned(&["r/"]) };
    let error = Desk::new().unpack_part(&archive, &selection).unwrap_err().to_string();
    assert!(error.contains(refusal), "{error}");
}

fn sample() -> Vec<u8> {
    let noise: String = (0..40_000u32).map(|n| char::from(b'a' + (n.wrapping_mul(n) % 251 % 26) as u8)).collect();
    tar_of(&[
        raw(b'g', "pax_global_header", ""),
        file("r/a", &noise),
        folder("r/b/"),
        file("r/b/c", "c"),
        link("r/l", "b"),
    ])
}

#[test]
fn every_format_gives_the_same_tree_and_full_progress() {
    let mut trees = Vec::new();
    for archive in formats(&sample()) {
        let desk = Desk::new();
        let seen = RefCell::new(vec![(0, 1)]);
        let path = desk.path.join("archive");
        fs::write(&path, &archive).unwrap();
        let selection = Selection { root: "*", leave_out: &[], keep: &[] };
        let unpacked =
            unpack(&path, &selection, &desk.path.join("out"), &|done, all| seen.borrow_mut().push((done, all)))
                .unwrap();
        assert_eq!(unpacked, Unpacked { n_files: 2, n_bytes: 40_001 });
        let seen = seen.into_inner();
        assert!(seen.last().is_some_and(|(done, all)| done == all) && seen.is_sorted_by_key(|(done, _)| *done));
        trees.push(desk.listing());
    }
    assert_eq!(trees[0].len(), 4);
    assert!(trees.iter().all(|tree| *tree == trees[0]));
}

#[test]
fn an_archive_cut_anywhere_is_an_error() {
    for (number, archive) in formats(&sample()).into_iter().enumerate() {
        // One block of zeros ends a tar archive, two are the custom.
        let shortest = if matches!(number, 0 | 7) { archive.len() - 1024 } else { archive.len() - 5 };
        for length in (0..shortest).step_by(shortest / 40).chain([shortest]) {
            let desk = Desk::new();
            let result = desk.unpack(&archive[..length], "*");
            assert!(result.is_err(), "format {number} cut to {length} of {} bytes", archive.len());
        }
    }
}

#[test]
fn what_is_wrong_with_an_archive_is_told() {
    check_error(b"", "", "it is neither a tar archive");
    check_error(b"<html>404</html>", "", "it is neither a tar archive");
    check_error(b"\x28\xb5\x2f\xfd rest", "", "it is compressed with zstd");
    check_error(&package("data.tar.zst", b"\x28\xb5\x2f\xfd"), "", "it is compressed with zstd");
    check_error(&deb(&[("debian-binary", b"2.0\n")]), "", "without a `data.tar` member");
    check_error(&xz(b"no tar in here"), "", "it is damaged: ");
    check_error(&xz(b""), "", "it is damaged: it ends without the mark");
    let mut flipped = xz(&sample());
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    check_error(&flipped, "", "it is damaged: ");
    check_error(&[tar_of(&[]), tar_of(&[file("hidden", "")])].concat(), "", "it is neither a tar archive");
    check_error(
        &[tar_of(&[file("a", "")]), tar_of(&[file("hidden", "")])].concat(),
        "",
        "there is something behind its end",
    );
    check_error(&[xz(&sample()), b"more".to_vec()].concat(), "", "it is damaged: ");
    let lying = Raw { size: Some(5000), ..file("a", "x") };
    check_error(&lying.bytes(), "", "it is damaged: it ends within `");
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let desk = Desk::new();
    fs::create_dir(desk.path.join("out")).unwrap();
    fs::write(desk.path.join("out/old"), "").unwrap();
    let text = desk.unpack(&tar_of(&[file("a", "")]), "").unwrap_err().to_string();
    assert!(text.contains("/out` is not empty\nhint: "), "{text}");
    assert_eq!(desk.listing(), ["f 644 old="]);
}

#[test]
fn a_missing_archive_is_named() {
    let desk = Desk::new();
    let missing = desk.path.join("missing");
    let error =
        unpack(&missing, &Selection { root: "", leave_out: &[], keep: &[] }, &desk.path.join("out"), &|_, _| {})
            .unwrap_err();
    assert!(error.to_string().starts_with(&format!("failed to unpack `{missing}`: No such file")), "{error}");
}

/// Relative paths of short names, and now and then one too long for a plain header.
fn a_path() -> impl Strategy<Value = String> {
    let name = prop_oneof![8 => "[a-c]{1,2}", 1 => "[é-ö ]{1,60}", 1 => "x{90,110}"];
    prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
}

fn a_hostile_entry() -> impl Strategy<Value = Raw> {
    let part = prop::sample::select(vec!["a", "b", "..", ".", "/", "//", "a/b", "l", "\u{e9}", "neighbour", "file"]);
    let name = prop::collection::vec(part, 0..5).prop_map(|parts| parts.join("/").into_bytes());
    let kind = prop::sample::select(b"0000111222225555\x0034567LKxgSVDA".to_vec());
    let size = prop::option::weighted(0.1, any::<u64>().prop_map(|size| size >> 20));
    (kind, name.clone(), name, any::<u32>(), prop::collection::vec(any::<u8>(), 0..600), size)
        .prop_map(|(kind, name, link, mode, data, size)| Raw { kind, name, link, mode: mode & 0o7777, data, size })
}

/// A flawless tree from anything: what would clash with an earlier path is dropped.
fn tree_of(files: Vec<(String, String, bool)>) -> BTreeMap<String, (String, bool)> {
    let mut tree = BTreeMap::<String, (String, bool)>::new();
    for (path, data, is_executable) in files {
        let is_folder = tree.keys().any(|known| below(&path, known).is_some());
        if !is_folder && !folders(&path).any(|folder| tree.contains_key(folder)) {
            tree.insert(path, (data, is_executable));
        }
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_tree_survives(
        files in prop::collection::vec((a_path(), "[a-z\n]{0,2000}", any::<bool>()), 0..20),
        format in 0..3usize,
    ) {
        let tree = tree_of(files);
        let mut builder = tar::Builder::new(Vec::new());
        let mut expect = BTreeSet::new();
        builder.append_data(&mut folder("").header(), "top/", io::empty()).unwrap();
        for (path, (data, is_executable)) in &tree {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(if *is_executable { 0o700 } else { 0o666 });
            builder.append_data(&mut header, format!("top/{path}"), data.as_bytes()).unwrap();
            expect.insert(format!("f {} {path}={data}", if *is_executable { 755 } else { 644 }));
            expect.extend(folders(path).map(|folder| format!("d 755 {folder}")));
        }
        let tar = builder.into_inner().unwrap();
        let archive = [tar.clone(), gzip(&tar), xz(&tar)][format].clone();
        let desk = Desk::new();
        let unpacked = desk.unpack(&archive, "*").unwrap();
        prop_assert_eq!(unpacked.n_files, tree.len() as u64);
        prop_assert_eq!(BTreeSet::from_iter(desk.listing()), expect);
    }

    #[test]
    fn hostile_entries_never_reach_outside(entries in prop::collection::vec(a_hostile_entry(), 1..12)) {
        let desk = Desk::new();
        let archive = entries.iter().flat_map(Raw::bytes).chain([0; 1024]);
        // An error is as good as a tree; what counts is the neighbour.
        let _ = desk.unpack(&Vec::from_iter(archive), "");
        prop_assert!(desk.is_intact());
    }

    #[test]
    fn broken_bytes_never_panic(
        format in 0..8usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        noise in prop::collection::vec(any::<u8>(), 0..900),
    ) {
        let mut archive = formats(&sample())[format].clone();
        for (index, byte) in changes {
            *index.get_mut(&mut archive) = byte;
        }
        for bytes in [archive, noise] {
            let desk = Desk::new();
            let _ = desk.unpack(&bytes, "*");
            prop_assert!(desk.is_intact());
        }
    }
}
