//! Every format with a tiny pair of its own: the place and both values are named.

use std::io::Write;

use super::*;

#[track_caller]
fn check(usual: &[u8], otherwise: &[u8], place: &[&str], values: [&str; 2]) -> Difference {
    let found = of_contents(usual, otherwise).expect("they differ");
    assert_eq!(found.place, place, "{found:?}");
    assert!(found.usual.contains(values[0]) && found.otherwise.contains(values[1]), "{found:?}");
    found
}

/// An ELF file of these sections, made by the library that reads them, with another writer's code.
fn elf_of(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<u8> = sections.iter().flat_map(|(name, _)| name.bytes().chain([0])).collect();
    let strings = [b"\0".as_slice(), &names, b".shstrtab\0"].concat();
    let n_sections = sections.len() + 2;
    let mut headers = vec![0; 64];
    let mut data = Vec::new();
    let start = 64 + 64 * n_sections;
    let mut name = 1_u32;
    let all = sections.iter().copied().chain([(".shstrtab", strings.as_slice())]);
    for (index, (title, content)) in all.enumerate() {
        let kind = if index + 2 == n_sections { 3_u32 } else { 1 };
        let mut header = Vec::new();
        header.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
        let numbers = [0, 0, (start + data.len()) as u64, content.len() as u64, 0, 1, 0];
        header.extend(numbers.iter().enumerate().flat_map(|(field, number)| match field {
            // sh_link and sh_info are half as wide: together one.
            4 => 0_u64.to_le_bytes(),
            _ => number.to_le_bytes(),
        }));
        headers.extend(header);
        data.extend_from_slice(content);
        name += title.len() as u32 + 1;
    }
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([3_u16.to_le_bytes(), 62_u16.to_le_bytes()].concat());
    file.extend(1_u32.to_le_bytes());
    file.extend([0, 0, 64_u64].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    let ends = [64, 0, 0, 64, n_sections as u16, n_sections as u16 - 1];
    file.extend(ends.map(u16::to_le_bytes).concat());
    [file, headers, data].concat()
}

fn newc(members: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, time, data) in members.iter().chain(&[("TRAILER!!!", 0, b"".as_slice())]) {
        let fields = [1, 0o100644, 0, 0, 1, *time, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        archive.extend(b"070701");
        fields.iter().for_each(|field| archive.extend(format!("{field:08x}").bytes()));
        archive.extend(name.bytes().chain([0]));
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(*data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

fn ar(members: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, date, data) in members {
        archive
            .extend(format!("{:<16}{date:<12}0     0     100644  {:<10}`\n", format!("{name}/"), data.len()).bytes());
        archive.extend(*data);
        archive.resize(archive.len().next_multiple_of(2), b'\n');
    }
    archive
}

fn gzip(data: &[u8], time: u32) -> Vec<u8> {
    let mut writer = flate2::GzBuilder::new().mtime(time).write(Vec::new(), flate2::Compression::fast());
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

/// Setup code of one sector after the boot sector, then the decompressor with the kernel in it.
fn bz_image(setup: u8, kernel: &[u8], stub: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 1024];
    image[0x1f1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x248..0x24c].copy_from_slice(&(stub.len() as u32).to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(kernel.len() as u32).to_le_bytes());
    image[0x300] = setup;
    [&image, stub, kernel].concat()
}

#[test]
fn equal_contents_have_no_difference() {
    for content in [b"".as_slice(), b"text", &elf_of(&[(".text", b"x")]), &gzip(b"x", 0)] {
        assert_eq!(of_contents(content, content), None);
    }
}

#[test]
fn bytes_are_shown_in_hexadecimal_with_the_text_around() {
    let found =
        check(b"\0\x01built at 17:42\0", b"\0\x01built at 18:43\0", &["offset 0xc"], ["37 3a 34 32", "38 3a 34 33"]);
    assert!(found.usual.contains("\"built at 17:42\""), "{found:?}");
    let found = check(b"\0\x01\x02", b"\0\x01", &["offset 0x2"], ["02", "the end"]);
    assert_eq!(found.note, "3 and 2 bytes long");
}

#[test]
fn a_line_of_text_is_named_by_its_number() {
    check(b"a\nb = 1\nc\n", b"a\nb = 2\nc\n", &["line 2"], ["b = 1", "b = 2"]);
    check(b"a\n", b"a\nb\n", &["line 2"], ["the end", "\"b\\n\""]);
    check(b"a", b"a\n", &["line 1"], ["\"a\"", "\"a\\n\""]);
    let long = |end: &str| format!("{}{end}", "x".repeat(5000));
    let found = check(long("1").as_bytes(), long("2").as_bytes(), &["line 1"], ["x1", "x2"]);
    assert!(found.usual.len() < 100, "{found:?}");
}

#[test]
fn of_an_elf_file_the_section_that_tells_is_named() {
    let program = |build_id: &[u8], table: &[u8], text: &[u8]| {
        elf_of(&[(".note.gnu.build-id", build_id), (".relr.dyn", table), (".rodata", text), (".bss", b"")])
    };
    let (usual, otherwise) = (program(b"\x01", b"\x01\x02", b"at 17:42"), program(b"\x02", b"\x01\x03", b"at 18:42"));
    let found = check(&usual, &otherwise, &["section .rodata", "offset 0x4"], ["at 17:42", "at 18:42"]);
    assert_eq!(found.note, ".relr.dyn .note.gnu.build-id differ, too");
    let others = elf_of(&[(".text", b"x"), (".more", b"y")]);
    check(&elf_of(&[(".text", b"x")]), &others, &["section headers"], ["of its own: none", "of its own: .more"]);
    let mut entry = others.clone();
    entry[0x18] = 7;
    check(&others, &entry, &["ELF headers, or between sections", "offset 0x18"], ["00", "07"]);
}

#[test]
fn of_an_archive_the_member_is_named_and_what_of_it() {
    let object = |text: &[u8]| elf_of(&[(".rodata", text)]);
    let (usual, otherwise) =
        (ar(&[("a.o", 0, b"x"), ("b.o", 0, &object(b"one"))]), ar(&[("a.o", 0, b"x"), ("b.o", 0, &object(b"two"))]));
    check(&usual, &otherwise, &["member b.o", "section .rodata", "offset 0x0"], ["6f 6e 65", "74 77 6f"]);
    check(&ar(&[("a.o", 17, b"x")]), &ar(&[("a.o", 18, b"x")]), &["member a.o", "date"], ["17", "18"]);
    check(&ar(&[("a.o", 0, b"x")]), &ar(&[("b.o", 0, b"x")]), &["member 1"], ["a.o", "b.o"]);
    check(&ar(&[("a.o", 0, b"x")]), &ar(&[]), &["member 1"], ["a.o", "the end"]);
}

#[test]
fn of_an_initramfs_the_member_is_named_or_the_field_of_its_header() {
    let (usual, otherwise) =
        (newc(&[("init", 0, b"a"), ("etc/x", 0, b"1\n")]), newc(&[("init", 0, b"a"), ("etc/x", 0, b"2\n")]));
    check(&usual, &otherwise, &["member etc/x", "line 1"], ["1", "2"]);
    check(&newc(&[("init", 5, b"a")]), &newc(&[("init", 6, b"a")]), &["member init", "time"], ["5", "6"]);
    check(&newc(&[("a", 0, b"")]), &newc(&[("b", 0, b"")]), &["member 1"], ["a", "b"]);
}

#[test]
fn of_what_is_compressed_the_inside_is_told() {
    check(&gzip(b"one\n", 0), &gzip(b"two\n", 0), &["inside the gzip stream", "line 1"], ["one", "two"]);
    check(&xz(b"one\n"), &xz(b"two\n"), &["inside the xz stream", "line 1"], ["one", "two"]);
    let zstd = |data: &[u8]| zstd::bulk::compress(data, 1).unwrap();
    check(&zstd(b"one\n"), &zstd(b"two\n"), &["inside the zstd stream", "line 1"], ["one", "two"]);
    let found = check(&gzip(b"one", 1), &gzip(b"one", 2), &["offset 0x4"], ["01", "02"]);
    assert!(found.note.contains("hold the same and are packed differently"), "{found:?}");
    check(&gzip(b"one", 1), &xz(b"one"), &["compression"], ["gzip", "xz"]);
}

#[test]
fn of_a_kernel_the_part_is_told() {
    let kernel = |text: &[u8]| xz(&elf_of(&[(".rodata", text)]));
    let image = |setup, text: &[u8], stub: &[u8]| bz_image(setup, &kernel(text), stub);
    let usual = image(1, b"#1 17:42", b"stub");
    let place = ["the compressed kernel", "section .rodata", "offset 0x4"];
    check(&usual, &image(1, b"#1 18:42", b"stub"), &place, ["#1 17:42", "#1 18:42"]);
    check(&usual, &image(2, b"#1 17:42", b"stub"), &["the setup code", "offset 0x300"], ["01", "02"]);
    check(&usual, &image(1, b"#1 17:42", b"stab"), &["the decompressor", "offset 0x2"], ["75", "61"]);
}

#[test]
fn of_a_folder_the_first_path_is_named_and_what_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(folder.path()).unwrap();
    type Edit<'a> = &'a dyn Fn(&Utf8Path);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let edits: [(&[&str], [&str; 2], Edit<'_>); 5] = [
        (&["b/c", "line 1"], ["old", "new"], &|side| fs::write(side.join("b/c"), "new").unwrap()),
        (&["b/c"], ["a file that is not", "not there"], &|side| fs::remove_file(side.join("b/c")).unwrap()),
        (&["a"], ["not there", "a folder"], &|side| fs::create_dir(side.join("a")).unwrap()),
        (&["b/c"], ["not executable", "an executable"], &|side| {
            fs::set_permissions(side.join("b/c"), fs::Permissions::clone(&executable)).unwrap();
        }),
        (&["b/link", "target"], ["c", "d"], &|side| {
            fs::remove_file(side.join("b/link")).unwrap();
            std::os::unix::fs::symlink("d", side.join("b/link")).unwrap();
        }),
    ];
    for (number, (place, values, edit)) in edits.into_iter().enumerate() {
        let sides = ["usual", "otherwise"].map(|side| root.join(format!("{number}-{side}")));
        for side in &sides {
            fs::create_dir_all(side.join("b")).unwrap();
            fs::write(side.join("b/c"), "old").unwrap();
            std::os::unix::fs::symlink("c", side.join("b/link")).unwrap();
        }
        assert_eq!(of_artifacts(&sides[0], &sides[1]).unwrap(), None);
        edit(&sides[1]);
        let found = of_artifacts(&sides[0], &sides[1]).unwrap().unwrap();
        assert_eq!(found.place, place);
        assert!(found.usual.contains(values[0]) && found.otherwise.contains(values[1]), "{found:?}");
    }
}
