//! `[[volume]]`: disks and where they are mounted. Pure.

use pid1_init::config::{CONFIG_PATH, FileSystem, Source, Volume};

use super::path;
use super::raw::RawVolume;
use crate::schema;

/// The most bytes of a label: ext4's `s_volume_name`, and the eleven of FAT's root folder.
const EXT4_LABEL: usize = 16;
const VFAT_LABEL: usize = 11;
/// The file systems that a volume may have.
const KINDS: [(&str, FileSystem); 2] = [("ext4", FileSystem::Ext4), ("vfat", FileSystem::Vfat)];
/// Where the kernel's own file systems are, and where init keeps what it needs.
const RESERVED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];

/// The checked volumes, in the order of their paths: what lies in another one is mounted after it.
pub fn check(raw: &[RawVolume], program: &str, problems: &mut Vec<String>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for one in raw {
        check_path(&one.path, program, problems);
        let kind = one.kind.as_ref().and_then(|kind| check_kind(kind, problems));
        let Some(source) = check_source(one, kind, problems) else { continue };
        if volumes.iter().any(|other| other.path == one.path) {
            problems.push(format!("`volume.path` is `{}` twice; give each volume a path of its own", one.path));
        }
        if volumes.iter().any(|other| other.source == source) {
            problems.push(format!("`volume` `{}`: another volume has the same disk; delete one of the two", one.path));
        }
        volumes.push(Volume { path: one.path.clone(), source, kind, read_only: one.read_only, required: one.required });
    }
    volumes.sort_by(|a, b| a.path.cmp(&b.path));
    volumes
}

fn check_path(own: &str, program: &str, problems: &mut Vec<String>) {
    let mut push = |problem: String| problems.push(format!("`volume.path` is `{own}`: {problem}"));
    if let Some(problem) = path::problem(own) {
        push(problem);
    } else if own == "/" {
        push("the root is the initramfs itself; take a folder in it, such as `/data`".to_owned());
    } else if let Some(folder) = RESERVED.iter().find(|folder| path::is_in(own, folder)) {
        push(format!("`{folder}` is not for disks; take another path, such as `/data`"));
    } else if let Some(hidden) = [program, CONFIG_PATH, "/init"].into_iter().find(|file| path::is_in(file, own)) {
        push(format!("the volume would hide `{hidden}`; take another path, such as `/data`"));
    } else if own.contains(':') {
        push("init's configuration can hold no `:` in it; take another path".to_owned());
    }
}

fn check_kind(text: &str, problems: &mut Vec<String>) -> Option<FileSystem> {
    let found = KINDS.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
    if found.is_none() {
        let hint = schema::suggestion(text, &KINDS.map(|(name, _)| name));
        problems.push(format!("`volume.type` is `{text}`; `ext4` and `vfat` can be mounted{hint}"));
    }
    found
}

fn check_source(raw: &RawVolume, kind: Option<FileSystem>, problems: &mut Vec<String>) -> Option<Source> {
    let push = |(key, problem): (&str, String)| problems.push(format!("`volume.{key}` of `{}` {problem}", raw.path));
    let found = match (&raw.label, &raw.uuid, &raw.device) {
        (Some(label), None, None) => label_problem(label, kind)
            .map_or_else(|| Ok(Source::Label(label.clone())), |problem| Err(("label", problem))),
        (None, Some(uuid), None) => normal_uuid(uuid, kind).map(Source::Uuid).map_err(|problem| ("uuid", problem)),
        (None, None, Some(device)) => device_problem(device)
            .map_or_else(|| Ok(Source::Device(device.clone())), |problem| Err(("device", problem))),
        _ => {
            problems.push(format!(
                "`volume` `{}` needs exactly one of `label`, `uuid` and `device`: how else is its disk to be found?",
                raw.path
            ));
            return None;
        }
    };
    found.map_err(push).ok()
}

/// What is wrong with a file system's label, if anything is. Without a file system the longer limit counts.
pub fn label_problem(label: &str, kind: Option<FileSystem>) -> Option<String> {
    let (limit, name) = match kind {
        Some(FileSystem::Vfat) => (VFAT_LABEL, "vfat"),
        _ => (EXT4_LABEL, "ext4"),
    };
    if label.is_empty() {
        return Some("is empty; write the label, or delete the key".to_owned());
    }
    if label.len() > limit {
        return Some(format!(
            "is `{label}`, {} bytes; a label of {name} has at most {limit}, so shorten it",
            label.len()
        ));
    }
    let is_bad = |c: char| c.is_control() || c == ':';
    if label.contains(is_bad) {
        return Some(format!("is `{}`, with a `:` or a control character; take another label", label.escape_debug()));
    }
    let is_fat = |c: char| c.is_ascii() && !"*?.,;/\\|+=<>[]\"".contains(c);
    let is_foreign = kind == Some(FileSystem::Vfat) && !label.chars().all(is_fat);
    is_foreign.then(|| format!("is `{label}`; FAT takes letters, digits, spaces, `-` and `_`, so take another label"))
}

/// A UUID as the tools print it (ext4's in lower, FAT's in upper case), or what is wrong with it.
pub fn normal_uuid(text: &str, kind: Option<FileSystem>) -> Result<String, String> {
    let is_form = |groups: &[usize]| {
        let found: Vec<&str> = text.split('-').collect();
        let is_hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
        found.iter().map(|group| group.len()).eq(groups.iter().copied()) && found.iter().all(is_hex)
    };
    if kind != Some(FileSystem::Vfat) && is_form(&[8, 4, 4, 4, 12]) {
        return Ok(text.to_ascii_lowercase());
    }
    if kind != Some(FileSystem::Ext4) && is_form(&[4, 4]) {
        return Ok(text.to_ascii_uppercase());
    }
    let expected = match kind {
        Some(FileSystem::Ext4) => "ext4's have the form `01234567-89ab-cdef-0123-456789abcdef`",
        Some(FileSystem::Vfat) => "vfat's have the form `0123-ABCD`",
        None => "`01234567-89ab-cdef-0123-456789abcdef` (ext4) and `0123-ABCD` (vfat) are the forms",
    };
    Err(format!("is `{text}`; {expected}: `blkid FILE` shows it"))
}

fn device_problem(device: &str) -> Option<String> {
    let is_plain = path::problem(device).is_none() && device.starts_with("/dev/");
    let fix = "write a path such as `/dev/vda` or `/dev/disk/by-id/virtio-NAME`";
    if !is_plain {
        return Some(format!("is `{device}`, which is no path in /dev; {fix}"));
    }
    device.contains(':').then(|| format!("is `{device}`; init's configuration can hold no `:` in it; {fix}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Spec {
        volume: Vec<RawVolume>,
    }

    fn check_all(text: &str) -> (Vec<Volume>, Vec<String>) {
        let mut problems = Vec::new();
        let spec: Spec = toml::from_str(text).unwrap();
        (check(&spec.volume, "/bin/web", &mut problems), problems)
    }

    #[track_caller]
    fn refuse(lines: &str, expect: &[&str]) {
        let (_, problems) = check_all(&format!("[[volume]]\n{lines}"));
        assert_eq!(problems.len(), expect.len(), "{problems:?}");
        assert!(problems.iter().zip(expect).all(|(problem, part)| problem.contains(part)), "{problems:?}");
    }

    #[test]
    fn good_volumes_are_in_the_order_in_which_they_can_be_mounted() {
        let (volumes, problems) = check_all(
            "[[volume]]\npath = \"/data/logs\"\nuuid = \"12ab-34cd\"\nread-only = true\nrequired = false\n\
             [[volume]]\npath = \"/data\"\nlabel = \"data\"\ntype = \"ext4\"\n\
             [[volume]]\npath = \"/boot\"\ndevice = \"/dev/disk/by-id/virtio-boot\"\n",
        );
        assert_eq!(problems, [""; 0]);
        let found: Vec<_> = volumes.iter().map(|volume| (volume.path.as_str(), volume.source.clone())).collect();
        assert_eq!(
            found,
            [
                ("/boot", Source::Device("/dev/disk/by-id/virtio-boot".into())),
                ("/data", Source::Label("data".into())),
                ("/data/logs", Source::Uuid("12AB-34CD".into())),
            ]
        );
        assert!(volumes[1].required && !volumes[1].read_only && !volumes[2].required && volumes[2].read_only);
        assert_eq!((volumes[1].kind, volumes[2].kind), (Some(FileSystem::Ext4), None));
    }

    #[test]
    fn a_path_must_be_one_for_disks() {
        let check = |path: &str, expect: &str| refuse(&format!("path = \"{path}\"\nlabel = \"x\""), &[expect]);
        check("data", "write `/data`");
        check("/data/", "write `/data`");
        check("/", "the root is the initramfs itself");
        check("/proc", "`/proc` is not for disks");
        check("/dev/shm", "`/dev` is not for disks");
        check("/bin", "would hide `/bin/web`");
        check("/etc", "would hide `/etc/pid1.conf`");
        check("/a:b", "no `:`");
    }

    #[test]
    fn a_disk_is_found_in_exactly_one_way() {
        refuse("path = \"/d\"", &["`volume` `/d` needs exactly one of"]);
        refuse("path = \"/d\"\nlabel = \"x\"\ndevice = \"/dev/vda\"", &["exactly one of"]);
        refuse("path = \"/d\"\ndevice = \"vda\"", &["no path in /dev"]);
        refuse("path = \"/d\"\ndevice = \"/dev/../x\"", &["no path in /dev"]);
        refuse("path = \"/d\"\ndevice = \"/dev/disk/by-path/pci-0000:00\"", &["no `:`"]);
        refuse("path = \"/d\"\nlabel = \"x\"\ntype = \"ext3\"", &["did you mean `ext4`?"]);
        let twice = "path = \"/d\"\nlabel = \"x\"\n[[volume]]\npath = \"/d\"\nlabel = \"x\"";
        refuse(twice, &["is `/d` twice", "has the same disk"]);
    }

    #[test]
    fn labels_fit_their_file_system() {
        let check = |label: &str, kind: Option<FileSystem>, expect: Option<&str>| {
            let found = label_problem(label, kind);
            assert_eq!(found.is_some(), expect.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(expect.unwrap_or_default()));
        };
        check("sixteen bytes 16", Some(FileSystem::Ext4), None);
        check("sixteen bytes 16", Some(FileSystem::Vfat), Some("at most 11"));
        check("seventeen bytes17", None, Some("17 bytes; a label of ext4 has at most 16"));
        check("ééééééééé", None, Some("18 bytes"));
        check("", None, Some("empty"));
        check("a:b", None, Some("`:`"));
        check("my_DATA 1-2", Some(FileSystem::Vfat), None);
        check("größe", Some(FileSystem::Vfat), Some("FAT takes"));
        check("a.b", Some(FileSystem::Vfat), Some("FAT takes"));
        check("größe", Some(FileSystem::Ext4), None);
    }

    #[test]
    fn uuids_have_their_file_systems_form() {
        const LONG: &str = "01234567-89AB-cdef-0123-456789abcdef";
        let check = |text: &str, kind: Option<FileSystem>, expect: Result<&str, &str>| match (
            normal_uuid(text, kind),
            expect,
        ) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect),
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{found}"),
            (found, _) => panic!("{text}: {found:?}"),
        };
        check(LONG, None, Ok("01234567-89ab-cdef-0123-456789abcdef"));
        check("12ab-34cd", Some(FileSystem::Vfat), Ok("12AB-34CD"));
        check("12ab-34cd", Some(FileSystem::Ext4), Err("ext4's have the form"));
        check(LONG, Some(FileSystem::Vfat), Err("vfat's have the form"));
        check("12ab34cd", None, Err("are the forms"));
        check("12ab-34cg", None, Err("are the forms"));
        check("+123-+123", None, Err("are the forms"));
    }
}
