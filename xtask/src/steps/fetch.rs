//! Downloads one pinned file: from the first of its sources that works, resumed where it was cut, and only if its hash is right.
//!
//! This is the one room with network. Every source says which hash it has to give, so a mirror is trusted with nothing but speed. It
//! must never leave a file at `out` whose hash was not computed on the way, and never wait long for a source that is not there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::process::Command;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

/// One place where a pinned file can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// With `https://` or `http://`.
    pub url: String,
    /// What it has to give: the SHA-256 as 64 lower-case hex digits.
    pub sha256: String,
}

/// How long to wait, and how much to take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the name, and again for the connection with its TLS.
    pub connect: Duration,
    /// Without a single byte.
    pub stall: Duration,
    /// How often one source may be cut and asked to go on. Each time has to get further than the last.
    pub n_resumes: u32,
    /// In bytes. A source that does not end must not fill the disk.
    pub size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connect: Duration::from_secs(5), stall: Duration::from_secs(20), n_resumes: 8, size: 8 << 30 }
    }
}

/// A file that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The source that gave it; for [`local_copy`] the file it was copied from.
    pub url: String,
    /// Its hash, computed.
    pub sha256: String,
    /// In bytes.
    pub size: u64,
    /// The sources that failed before. One with the wrong hash deserves a warning even though another worked.
    pub failed: Vec<Try>,
}

/// A source that did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Where.
    pub url: String,
    /// Why not.
    pub why: String,
}

/// Why nothing was downloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Every source failed.
    #[error("{}", all_failed(name, tries))]
    AllFailed {
        /// The name of the file.
        name: String,
        /// One per source, in their order.
        tries: Vec<Try>,
    },
    /// The fault is on this side, so that no other source would help.
    #[error("failed to store `{path}`: {cause}\nhint: {}", disk_hint(cause))]
    Disk {
        /// The file or folder.
        path: Utf8PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file that was put there by hand is not the one.
    #[error(
        "failed to use `{path}`: wrong hash\n  Expected: {expected}\n  Computed: {computed}\nhint: delete it, or put the right file there"
    )]
    WrongLocal {
        /// The file.
        path: Utf8PathBuf,
        /// The hashes that would do.
        expected: String,
        /// Its own.
        computed: String,
    },
    /// A hash that names no file.
    #[error(
        "failed to fetch `{url}`: `{sha256}` is not a sha256\nhint: write it in vendor/sources.toml as 64 lower-case hex digits"
    )]
    BadHash {
        /// The source.
        url: String,
        /// What is given as its hash.
        sha256: String,
    },
}

fn all_failed(name: &str, tries: &[Try]) -> String {
    let mut text = format!("failed to fetch `{name}`: none of its sources worked ({} tried)", tries.len());
    for Try { url, why } in tries {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {url}: {why}");
    }
    text + &format!("\nhint: check the network, or put the file into vendor/{name} (its sha256 is checked there too)")
}

fn disk_hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        ErrorKind::StorageFull => "the disk is full: free some space, or let PID1_STORE name a folder on a larger one",
        ErrorKind::QuotaExceeded => "your quota is used up: free some space, or let PID1_STORE name a folder elsewhere",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "let PID1_STORE name a folder you can write to",
        _ => "check the disk the folder is on",
    }
}

fn disk(path: &Utf8Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    |cause| FetchError::Disk { path, cause }
}

/// Downloads the first candidate that works into `out`.
///
/// `downloads` keeps cut downloads between runs, under the hash they are to have, and rejected files. Two processes that want the
/// same file take turns. `progress` gets the file's name, the bytes that are there, and all there will be if the source says so.
/// `notes` are those of [`expand`]: they come first in the list of tries when nothing works.
pub fn fetch(
    candidates: &[Candidate],
    notes: &[Try],
    downloads: &Utf8Path,
    out: &Utf8Path,
    progress: &dyn Fn(&str, u64, Option<u64>),
    limits: &Limits,
) -> Result<Fetched, FetchError> {
    candidates.iter().try_for_each(check_hash)?;
    fs::create_dir_all(downloads).map_err(disk(downloads))?;
    let agent = agent(limits);
    let mut failed = Vec::new();
    for candidate in candidates {
        let Candidate { url, sha256 } = candidate;
        let download = Download { agent: &agent, candidate, downloads, progress, limits };
        match download.run(out) {
            Ok(size) => {
                return Ok(Fetched { url: url.clone(), sha256: sha256.clone(), size, failed });
            }
            Err(Fault::Source(why)) => failed.push(Try { url: url.clone(), why }),
            Err(Fault::Here(error)) => return Err(error),
        }
    }
    failed.splice(..0, notes.iter().cloned());
    let name = failed.first().map_or(out.as_str(), |one| &one.url);
    Err(FetchError::AllFailed { name: file_name(name).to_owned(), tries: failed })
}

fn check_hash(candidate: &Candidate) -> Result<(), FetchError> {
    let Candidate { url, sha256 } = candidate.clone();
    // It becomes the name of a file.
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then_some(()).ok_or(FetchError::BadHash { url, sha256 })
}

fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url).trim_end_matches('/');
    path.rsplit(['/', ':']).next().filter(|name| !name.is_empty()).unwrap_or("download")
}

/// The machine's own certificates, since a company's proxy may have its own CA; SSL_CERT_FILE and SSL_CERT_DIR are honoured. A machine
/// without any gets Mozilla's as compiled in: what is downloaded is judged by its hash, whoever sent it.
fn root_certs() -> RootCerts {
    let certs = rustls_native_certs::load_native_certs().certs;
    if certs.is_empty() {
        return RootCerts::WebPki;
    }
    RootCerts::from(Vec::from_iter(certs.iter().map(|cert| Certificate::from_der(cert).to_owned())))
}

/// ureq takes ALL_PROXY, HTTPS_PROXY, HTTP_PROXY and NO_PROXY from the environment. A limit for the whole body would be a limit for
/// the line's speed, so there is only one for each read.
fn agent(limits: &Limits) -> Agent {
    let config = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(root_certs()).build())
        .timeout_resolve(Some(limits.connect))
        .timeout_connect(Some(limits.connect))
        .timeout_per_read(Some(limits.stall))
        .timeout_per_write(Some(limits.stall))
        .http_status_as_error(false)
        .accept_encoding("identity")
        .user_agent(concat!("pid1-xtask/", env!("CARGO_PKG_VERSION")));
    config.build().new_agent()
}

/// Whose fault it is decides whether another source is tried.
enum Fault {
    Source(String),
    Here(FetchError),
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        Fault::Here(error)
    }
}

/// How a transfer ended that did not fail for good.
enum Transfer {
    Whole,
    /// Why it ended early.
    Cut(String),
}

/// One candidate, being tried.
struct Download<'a> {
    agent: &'a Agent,
    candidate: &'a Candidate,
    downloads: &'a Utf8Path,
    progress: &'a dyn Fn(&str, u64, Option<u64>),
    limits: &'a Limits,
}

impl Download<'_> {
    fn run(&self, out: &Utf8Path) -> Result<u64, Fault> {
        let _lock = self.lock()?;
        let mut part = Part::open(self.downloads, &self.candidate.sha256)?;
        // A run that was killed just before its rename has left all there is to do.
        if part.sha256() != self.candidate.sha256 {
            self.fill(&mut part)?;
        }
        place(&part.path, out)?;
        part.forget_version();
        Ok(part.length)
    }

    /// Held until the returned file is closed. The lock file stays: removing it would let two processes hold different ones.
    fn lock(&self) -> Result<File, FetchError> {
        let path = self.downloads.join(format!("{}.lock", self.candidate.sha256));
        let file = File::create(&path).map_err(disk(&path))?;
        if file.try_lock().is_err() {
            (self.progress)("waiting for another process that downloads the same file", 0, None);
            file.lock().map_err(disk(&path))?;
        }
        Ok(file)
    }

    /// Fills the part until its hash is right. What was resumed may be two versions in one; only a fresh file condemns the source.
    fn fill(&self, part: &mut Part) -> Result<(), Fault> {
        self.transfer_all(part)?;
        if part.is_resumed && part.sha256() != self.candidate.sha256 {
            part.restart()?;
            self.transfer_all(part)?;
        }
        if part.sha256() == self.candidate.sha256 { Ok(()) } else { Err(self.reject(part)?) }
    }

    /// Goes on as long as each connection gets further than the one before.
    fn transfer_all(&self, part: &mut Part) -> Result<(), Fault> {
        let mut furthest = part.length;
        let mut n_resumes = 0;
        while let Transfer::Cut(why) = self.transfer(part)? {
            if part.length <= furthest || n_resumes >= self.limits.n_resumes {
                return Err(Fault::Source(why));
            }
            furthest = part.length;
            n_resumes += 1;
        }
        Ok(())
    }

    fn transfer(&self, part: &mut Part) -> Result<Transfer, Fault> {
        let mut response = self.request(part)?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && part.length > 0 {
            // The part is as long as the file or longer, and wrong.
            part.restart()?;
            response = self.request(part)?;
        }
        match response.status() {
            StatusCode::OK => part.restart_as(&self.candidate.url, response.headers())?,
            StatusCode::PARTIAL_CONTENT if part.goes_on_at(range(response.headers())) => part.is_resumed = true,
            StatusCode::PARTIAL_CONTENT => {
                let why = "it sent another range than was asked for";
                return Err(Fault::Source(why.to_owned()));
            }
            status => return Err(Fault::Source(format!("http status {status}"))),
        }
        self.receive(part, response)
    }

    fn request(&self, part: &Part) -> Result<Response<Body>, Fault> {
        let mut request = self.agent.get(&self.candidate.url);
        if part.length > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", part.length));
            if let Some(version) = part.version_at(&self.candidate.url) {
                request = request.header(header::IF_RANGE, version);
            }
        }
        request.call().map_err(|error| Fault::Source(self.explain(error)))
    }

    fn receive(&self, part: &mut Part, response: Response<Body>) -> Result<Transfer, Fault> {
        let total = total_length(part.length, response.headers());
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            (self.progress)(file_name(&self.candidate.url), part.length, total);
            match body.read(&mut buffer) {
                Ok(0) => return Ok(Transfer::Whole),
                Ok(n) if part.length + n as u64 > self.limits.size => {
                    part.restart()?;
                    return Err(Fault::Source(format!("it sent more than {} bytes", self.limits.size)));
                }
                Ok(n) => part.append(&buffer[..n])?,
                Err(error) => {
                    let cause = self.explain(ureq::Error::from(error));
                    return Ok(Transfer::Cut(format!("{cause}, after {} bytes", part.length)));
                }
            }
        }
    }

    fn explain(&self, error: ureq::Error) -> String {
        match error {
            ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => {
                format!("nothing came for {:?}", self.limits.stall)
            }
            ureq::Error::Timeout(_) => format!("no connection within {:?}", self.limits.connect),
            ureq::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => "the connection was cut".to_owned(),
            ureq::Error::Io(error) => begin_lower(&error.to_string()),
            error => error.to_string(),
        }
    }

    /// Puts a file with the wrong hash aside, where it can be looked at and is never taken for a part.
    fn reject(&self, part: &Part) -> Result<Fault, FetchError> {
        let computed = part.sha256();
        let name = format!("rejected-{}-{}", &computed[..16], file_name(&self.candidate.url));
        let aside = self.downloads.join(name);
        fs::rename(&part.path, &aside).map_err(disk(&aside))?;
        part.forget_version();
        let expected = &self.candidate.sha256;
        let why = format!("wrong hash, kept as `{aside}`\n    Expected: {expected}\n    Computed: {computed}");
        Ok(Fault::Source(why))
    }
}

/// The system begins its messages with a capital.
fn begin_lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

/// Start and total length as the source gives them in Content-Range (RFC 9110, section 14.4).
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (span, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    Some((span.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

fn total_length(start: u64, headers: &HeaderMap) -> Option<u64> {
    let length: Option<u64> = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    range(headers).and_then(|(_, total)| total).or(length.map(|length| start.saturating_add(length)))
}

/// A file on its way, and the hash of what is there of it.
struct Part {
    path: Utf8PathBuf,
    /// Says which version of which URL the part was begun with.
    version: Utf8PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
    /// More than one answer went into it.
    is_resumed: bool,
}

impl Part {
    fn open(downloads: &Utf8Path, sha256: &str) -> Result<Part, FetchError> {
        let path = downloads.join(format!("{sha256}.part"));
        let version = downloads.join(format!("{sha256}.version"));
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(disk(&path))?;
        let mut hasher = Sha256::new();
        let length = io::copy(&mut file, &mut hasher).map_err(disk(&path))?;
        Ok(Part { path, version, file, hasher, length, is_resumed: false })
    }

    fn sha256(&self) -> String {
        hex(self.hasher.clone())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(bytes).map_err(disk(&self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), FetchError> {
        self.forget_version();
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).map_err(disk(&self.path))?;
        self.hasher.reset();
        (self.length, self.is_resumed) = (0, false);
        Ok(())
    }

    fn restart_as(&mut self, url: &str, headers: &HeaderMap) -> Result<(), FetchError> {
        self.restart()?;
        match strong_version(headers) {
            Some(version) => fs::write(&self.version, format!("{url}\n{version}\n")).map_err(disk(&self.version)),
            None => Ok(()),
        }
    }

    fn goes_on_at(&self, range: Option<(u64, Option<u64>)>) -> bool {
        self.length > 0 && range.is_some_and(|(start, _)| start == self.length)
    }

    /// For If-Range; `None` where the part was begun with another source, whose versions have other names. The hash decides then.
    fn version_at(&self, url: &str) -> Option<String> {
        let text = fs::read_to_string(&self.version).ok()?;
        let (begun_with, version) = text.trim_end().split_once('\n')?;
        (begun_with == url).then(|| version.to_owned())
    }

    fn forget_version(&self) {
        // It is not there for most sources; one that stays costs a fresh start at worst.
        let _ = fs::remove_file(&self.version);
    }
}

/// A weak entity tag may stand for two different contents and is not allowed in If-Range (RFC 9110, section 13.1.5).
fn strong_version(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    text(header::ETAG).filter(|tag| !tag.starts_with("W/")).or(text(header::LAST_MODIFIED))
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Moves a complete file to `out`; across file systems by a copy that gets its name when it is whole.
fn place(from: &Utf8Path, out: &Utf8Path) -> Result<(), FetchError> {
    match fs::rename(from, out) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            let partial = partial_name(out);
            let moved = fs::copy(from, &partial).and_then(|_| fs::rename(&partial, out));
            moved.and_then(|()| fs::remove_file(from)).map_err(disk(out))
        }
        moved => moved.map_err(disk(out)),
    }
}

fn partial_name(out: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{out}.{}.partial", std::process::id()))
}

/// Copies the file from `folder` to `out`, if it lies there under its hash or its name at one of its sources.
///
/// `sources` are those of the lock: URL and sha256. A file under the right name with a wrong hash is an error, since somebody put
/// it there to be used; unless another one is right.
pub fn local_copy(
    folder: &Utf8Path,
    sources: &[(String, String)],
    out: &Utf8Path,
) -> Result<Option<Fetched>, FetchError> {
    let mut wrong = None;
    for path in local_paths(folder, sources) {
        let partial = partial_name(out);
        let (sha256, size) = copy_hashed(&path, &mut File::create(&partial).map_err(disk(&partial))?, &partial)?;
        if is_expected(sources, &sha256) {
            fs::rename(&partial, out).map_err(disk(out))?;
            return Ok(Some(Fetched { url: path.into_string(), sha256, size, failed: Vec::new() }));
        }
        fs::remove_file(&partial).map_err(disk(&partial))?;
        wrong = Some(FetchError::WrongLocal { path, expected: expected(sources), computed: sha256 });
    }
    wrong.map_or(Ok(None), Err)
}

/// The file that [`local_copy`] would take, without copying it. It is read as a whole for its hash.
pub fn find_local(folder: &Utf8Path, sources: &[(String, String)]) -> Option<Utf8PathBuf> {
    let hash = |path: &Utf8Path| copy_hashed(path, &mut io::sink(), path).map(|(sha256, _)| sha256);
    local_paths(folder, sources).find(|path| hash(path).is_ok_and(|sha256| is_expected(sources, &sha256)))
}

fn local_paths(folder: &Utf8Path, sources: &[(String, String)]) -> impl Iterator<Item = Utf8PathBuf> {
    let names = sources.iter().flat_map(|(url, sha256)| [sha256.as_str(), file_name(url)]);
    let paths = BTreeSet::from_iter(names.map(|name| folder.join(name)));
    paths.into_iter().filter(|path| path.is_file())
}

fn is_expected(sources: &[(String, String)], computed: &str) -> bool {
    sources.iter().any(|(_, sha256)| sha256 == computed)
}

fn expected(sources: &[(String, String)]) -> String {
    let hashes = BTreeSet::from_iter(sources.iter().map(|(_, sha256)| sha256.as_str()));
    Vec::from_iter(hashes).join("\n      or: ")
}

fn copy_hashed(from: &Utf8Path, copy: &mut dyn Write, to: &Utf8Path) -> Result<(String, u64), FetchError> {
    let mut source = File::open(from).map_err(disk(from))?;
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 64 * 1024]);
    loop {
        match source.read(&mut buffer).map_err(disk(from))? {
            0 => return Ok((hex(hasher), size)),
            n => {
                hasher.update(&buffer[..n]);
                copy.write_all(&buffer[..n]).map_err(disk(to))?;
                size += n as u64;
            }
        }
    }
}

/// Turns the sources of a lock into candidates: `debian:` ones into one per mirror of this machine. The notes say which could not be.
pub fn expand(sources: &[(String, String)]) -> (Vec<Candidate>, Vec<Try>) {
    let (mut candidates, mut notes) = (Vec::new(), Vec::new());
    for (url, sha256) in sources {
        let urls = match url.split_once(':') {
            Some(("http" | "https", _)) => Ok(vec![url.clone()]),
            Some(("debian", pool_path)) => expand_debian(pool_path),
            _ => Err("it is neither `https://…` nor `http://…` nor `debian:pool/…`".to_owned()),
        };
        match urls {
            Ok(urls) => candidates.extend(urls.into_iter().map(|url| Candidate { url, sha256: sha256.clone() })),
            Err(why) => notes.push(Try { url: url.clone(), why }),
        }
    }
    (candidates, notes)
}

/// The URLs of a pool path on the mirrors this machine itself is configured with, sorted.
pub fn expand_debian(pool_path: &str) -> Result<Vec<String>, String> {
    let listed = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]).env("LC_ALL", "C").output();
    let listed = listed.map_err(|error| format!("failed to run `apt-get` for the mirrors of this machine: {error}"))?;
    let mut mirrors = http_mirrors(String::from_utf8_lossy(&listed.stdout).lines());
    if mirrors.is_empty() {
        // Before the first `apt-get update`, apt lists nothing of what it is configured with.
        mirrors = configured_mirrors(Utf8Path::new("/etc/apt"));
    }
    if mirrors.is_empty() {
        return Err("apt has no http mirror (looked in `apt-get indextargets` and /etc/apt)".to_owned());
    }
    Ok(Vec::from_iter(mirrors.iter().map(|mirror| format!("{mirror}/{}", pool_path.trim_start_matches('/')))))
}

fn http_mirrors<'a>(uris: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let http = uris.map(str::trim).filter(|uri| uri.starts_with("http://") || uri.starts_with("https://"));
    http.map(|uri| uri.trim_end_matches('/').to_owned()).collect()
}

fn configured_mirrors(apt: &Utf8Path) -> BTreeSet<String> {
    let parts = apt.join("sources.list.d").read_dir_utf8().into_iter().flatten().flatten();
    let mut mirrors = BTreeSet::new();
    for path in parts.map(|entry| entry.into_path()).chain([apt.join("sources.list")]) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        match path.extension() {
            Some("list") => mirrors.extend(http_mirrors(uris_of_list(&text))),
            Some("sources") => mirrors.extend(http_mirrors(uris_of_sources(&text).iter().map(String::as_str))),
            _ => {}
        }
    }
    mirrors
}

/// One-line format of sources.list(5): `deb [ options ] uri suite component…`.
fn uris_of_list(text: &str) -> impl Iterator<Item = &str> {
    let binary = text.lines().filter_map(|line| line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t']));
    binary.filter_map(|rest| match rest.trim_start().strip_prefix('[') {
        Some(options) => options.split_once(']')?.1.split_whitespace().next(),
        None => rest.split_whitespace().next(),
    })
}

/// Stanzas of sources.list(5): fields, whose values go on in lines that start with a blank.
fn uris_of_sources(text: &str) -> Vec<String> {
    let text = Vec::from_iter(text.lines().filter(|line| !line.starts_with('#'))).join("\n");
    let stanzas = text.split("\n\n").filter(|stanza| {
        words(stanza, "types").contains(&"deb".to_owned()) && !words(stanza, "enabled").contains(&"no".to_owned())
    });
    stanzas.flat_map(|stanza| words(stanza, "uris")).collect()
}

fn words(stanza: &str, field: &str) -> Vec<String> {
    let joined = stanza.replace("\n ", " ").replace("\n\t", " ");
    let fields = joined.lines().filter_map(|line| line.split_once(':'));
    let value = fields.filter(|(name, _)| name.trim().eq_ignore_ascii_case(field)).map(|(_, value)| value);
    value.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    fn check_list(text: &str, expect: &[&str]) {
        assert_eq!(Vec::from_iter(uris_of_list(text)), expect);
    }

    #[test]
    fn one_line_sources_give_their_uris() {
        check_list(
            "deb http://a/debian stable main\n  deb\t[arch=amd64 signed-by=/k]  https://b/ s c\n",
            &["http://a/debian", "https://b/"],
        );
        check_list("# deb http://a/ s c\ndeb-src http://b/ s c\ndebug http://c/\n\ndeb\ndeb [x http://d/", &[]);
    }

    #[test]
    fn stanzas_give_the_uris_of_enabled_binary_sources() {
        let text = "Types: deb deb-src\n# no: this\nURIs: http://a/debian\n http://b/debian\nSuites: s\n\ntypes: deb\nuris: http://c\nEnabled: no\n\nTypes: deb-src\nURIs: http://d\n";
        assert_eq!(uris_of_sources(text), ["http://a/debian", "http://b/debian"]);
    }

    #[test]
    fn mirrors_are_sorted_once_each_and_http_only() {
        let mirrors = http_mirrors(
            ["http://b/debian/", "cdrom:[x]/", "https://a", "http://b/debian", "mirror+file:/x"].into_iter(),
        );
        assert_eq!(Vec::from_iter(mirrors), ["http://b/debian", "https://a"]);
    }

    #[test]
    fn urls_have_file_names() {
        let names =
            ["https://h/a/b.tar.xz?x=/y#z", "debian:pool/x/y.deb", "debian:z.deb", "https://h/a/", ""].map(file_name);
        assert_eq!(names, ["b.tar.xz", "y.deb", "z.deb", "a", "download"]);
    }

    #[test]
    fn a_full_disk_is_called_full() {
        let full = OpenOptions::new().write(true).open("/dev/full").and_then(|mut file| file.write_all(b"x"));
        let error = full.map_err(disk(Utf8Path::new("downloads/x.part"))).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to store `downloads/x.part`: No space left")
                && error.contains("hint: the disk is full"),
            "{error}"
        );
    }
}
