//! The folders that a download works in, and the files that are downloaded.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};
use xtask::steps::fetch::{self, Candidate, FetchError, Fetched, Limits, Try};

pub const SIZE: usize = 300_000;
pub const HALF: usize = SIZE / 2;

/// A file that no shift or repetition of itself looks like.
pub fn content(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..SIZE).map(step).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Generous, so that a busy machine fails no test; those about time say their own.
pub const LIMITS: Limits =
    Limits { connect: Duration::from_secs(20), stall: Duration::from_secs(20), n_resumes: 8, size: 1 << 30 };

pub struct Desk {
    pub _folder: tempfile::TempDir,
    pub downloads: Utf8PathBuf,
    pub out: Utf8PathBuf,
}

impl Desk {
    pub fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().to_owned();
        Desk { downloads: path.join("downloads"), out: path.join("out"), _folder: folder }
    }

    pub fn fetch(&self, urls: &[String], file: &[u8]) -> Result<Fetched, FetchError> {
        self.fetch_within(urls, file, &LIMITS)
    }

    pub fn fetch_within(&self, urls: &[String], file: &[u8], limits: &Limits) -> Result<Fetched, FetchError> {
        fetch::fetch(&candidates(urls, file), &[], &self.downloads, &self.out, &|_, _, _| {}, limits)
    }

    /// The message after every source failed, with something known of the sources beforehand.
    pub fn failure(&self, urls: &[String], note: Try, file: &[u8]) -> String {
        let candidates = candidates(urls, file);
        let fetched = fetch::fetch(&candidates, &[note], &self.downloads, &self.out, &|_, _, _| {}, &LIMITS);
        fetched.unwrap_err().to_string()
    }

    pub fn part(&self, file: &[u8]) -> Utf8PathBuf {
        self.downloads.join(format!("{}.part", sha256(file)))
    }

    pub fn put_part(&self, file: &[u8], there: &[u8]) {
        fs::create_dir_all(&self.downloads).unwrap();
        fs::write(self.part(file), there).unwrap();
    }

    #[track_caller]
    pub fn check_out(&self, file: &[u8]) {
        assert!(fs::read(&self.out).unwrap() == file, "another content");
        assert!(!self.part(file).exists());
    }
}

pub fn candidates(urls: &[String], file: &[u8]) -> Vec<Candidate> {
    urls.iter().map(|url| Candidate { url: url.clone(), sha256: sha256(file) }).collect()
}

pub fn refused_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/file.tar", listener.local_addr().unwrap())
}

pub fn tries(error: FetchError) -> Vec<Try> {
    match error {
        FetchError::AllFailed { tries, .. } => tries,
        error => panic!("{error}"),
    }
}
