//! Archives for the tests, made byte by byte: honest ones and such as no tool would write.

use std::io::Write;

use tar::EntryType;

/// One entry as it stands in an archive, hostile or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Raw {
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) data: Vec<u8>,
    /// What the header says, if it lies.
    pub(super) size: Option<u64>,
}

impl Raw {
    pub(super) fn header(&self) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(EntryType::new(self.kind));
        header.set_mode(self.mode);
        header.set_size(self.size.unwrap_or(self.data.len() as u64));
        header
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut header = self.header();
        let old = header.as_old_mut();
        old.name[..self.name.len()].copy_from_slice(&self.name);
        old.linkname[..self.link.len()].copy_from_slice(&self.link);
        header.set_cksum();
        let mut bytes = [header.as_bytes().as_slice(), &self.data].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

pub(super) fn raw(kind: u8, name: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Raw {
    let (name, link) = (name.as_ref().to_vec(), link.as_ref().to_vec());
    Raw { kind, name, link, mode: 0o600, ..Raw::default() }
}

pub(super) fn file(name: &str, data: &str) -> Raw {
    Raw { data: data.into(), ..raw(b'0', name, "") }
}

pub(super) fn folder(name: &str) -> Raw {
    raw(b'5', name, "")
}

pub(super) fn link(name: &str, target: &str) -> Raw {
    raw(b'2', name, target)
}

pub(super) fn hard_link(name: &str, target: &str) -> Raw {
    raw(b'1', name, target)
}

pub(super) fn tar_of(entries: &[Raw]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(Raw::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn deb(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, data) in members {
        writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100644, data.len()).unwrap();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

pub(super) fn package(data_name: &str, data: &[u8]) -> Vec<u8> {
    deb(&[("debian-binary", b"2.0\n"), ("control.tar.xz", &xz(&tar_of(&[file("./control", "x")]))), (data_name, data)])
}

/// The same tar data in every format there is; the first and the last as they are.
pub(super) fn formats(tar: &[u8]) -> Vec<Vec<u8>> {
    let (head, tail) = tar.split_at(20_000);
    vec![
        tar.to_vec(),
        gzip(tar),
        [gzip(head), gzip(tail)].concat(),
        xz(tar),
        [xz(head), vec![0; 8], xz(tail), vec![0; 4]].concat(),
        package("data.tar.xz", &xz(tar)),
        package("data.tar.gz", &gzip(tar)),
        package("data.tar", tar),
    ]
}
