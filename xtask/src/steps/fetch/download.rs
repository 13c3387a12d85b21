//! One source, tried: asked, asked again where it was cut, and judged by the hash of what it gave.
//!
//! This is the one room with network. It must never keep a file with a wrong hash where it could be taken for a part,
//! and never wait without a limit, save for another process that downloads the same file.

use std::fs::File;
use std::io::{ErrorKind, Read};

use camino::Utf8Path;
use ureq::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

use super::part::Part;
use super::{Candidate, FetchError, Limits, disk, file_name};

/// ureq takes ALL_PROXY, HTTPS_PROXY, HTTP_PROXY and NO_PROXY from the environment. A limit for the whole body would be
/// a limit for the line's speed, so there is only one for each read.
pub(super) fn agent(limits: &Limits) -> Agent {
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
pub(super) enum Fault {
    Source(String),
    Here(FetchError),
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        Fault::Here(error)
    }
}

/// One candidate, being tried.
pub(super) struct Download<'a> {
    pub(super) agent: &'a Agent,
    pub(super) candidate: &'a Candidate,
    pub(super) downloads: &'a Utf8Path,
    pub(super) progress: &'a dyn Fn(&str, u64, Option<u64>),
    pub(super) limits: &'a Limits,
}

impl Download<'_> {
    /// Downloads the candidate to `out`; its size in bytes.
    pub(super) fn run(&self, out: &Utf8Path) -> Result<u64, Fault> {
        let _lock = self.lock()?;
        let mut part = Part::open(self.downloads, &self.candidate.sha256)?;
        // A run that was killed just before its rename has left all there is to do.
        if part.sha256() != self.candidate.sha256 {
            self.fill(&mut part)?;
        }
        part.move_to(out)?;
        Ok(part.length())
    }

    /// Downloads the candidate to `out` whatever its hash is, which nobody knows yet; gives size and hash. Without a hash
    /// nothing tells whether two answers are parts of one file but the version that the source itself gives it.
    pub(super) fn run_unknown(&self, out: &Utf8Path) -> Result<(u64, String), Fault> {
        let _lock = self.lock()?;
        let mut part = Part::open(self.downloads, &self.candidate.sha256)?;
        part.restart()?;
        self.transfer_all(&mut part)?;
        if part.is_resumed() && part.version_at(&self.candidate.url).is_none() {
            return Err(Fault::Source("it was cut, and does not say whether the rest is of the same file".to_owned()));
        }
        part.move_to(out)?;
        Ok((part.length(), part.sha256()))
    }

    /// Held until the returned file is closed. The lock file stays: removing it would let two processes hold different
    /// ones.
    fn lock(&self) -> Result<File, FetchError> {
        let path = self.downloads.join(format!("{}.lock", self.candidate.sha256));
        let file = File::create(&path).map_err(disk(&path))?;
        if file.try_lock().is_err() {
            (self.progress)("waiting for another process that downloads the same file", 0, None);
            file.lock().map_err(disk(&path))?;
        }
        Ok(file)
    }

    /// Fills the part until its hash is right. What was resumed may be two versions in one; only a fresh file condemns
    /// the source.
    fn fill(&self, part: &mut Part) -> Result<(), Fault> {
        self.transfer_all(part)?;
        if part.is_resumed() && part.sha256() != self.candidate.sha256 {
            part.restart()?;
            self.transfer_all(part)?;
        }
        if part.sha256() == self.candidate.sha256 { Ok(()) } else { Err(self.reject(part)?) }
    }

    /// Goes on as long as each connection gets further than the one before.
    fn transfer_all(&self, part: &mut Part) -> Result<(), Fault> {
        let mut furthest = part.length();
        let mut n_resumes = 0;
        while let Transfer::Cut(why) = self.transfer(part)? {
            if part.length() <= furthest || n_resumes >= self.limits.n_resumes {
                return Err(Fault::Source(why));
            }
            furthest = part.length();
            n_resumes += 1;
        }
        Ok(())
    }

    fn transfer(&self, part: &mut Part) -> Result<Transfer, Fault> {
        let mut response = self.request(part)?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && part.length() > 0 {
            // The part is as long as the file or longer, and wrong.
            part.restart()?;
            response = self.request(part)?;
        }
        match response.status() {
            StatusCode::OK => part.restart_as(&self.candidate.url, strong_version(response.headers()))?,
            StatusCode::PARTIAL_CONTENT => {
                if !range(response.headers()).is_some_and(|(start, _)| part.resume_at(start)) {
                    return Err(Fault::Source("it sent another range than was asked for".to_owned()));
                }
            }
            status => return Err(Fault::Source(format!("http status {status}"))),
        }
        self.receive(part, response)
    }

    fn request(&self, part: &Part) -> Result<Response<Body>, Fault> {
        let mut request = self.agent.get(&self.candidate.url);
        if part.length() > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", part.length()));
            // What the disk has garbled may be no header's value; then the hash alone decides.
            let version = part.version_at(&self.candidate.url).and_then(|text| HeaderValue::from_str(&text).ok());
            if let Some(version) = version {
                request = request.header(header::IF_RANGE, version);
            }
        }
        request.call().map_err(|error| Fault::Source(self.explain(error)))
    }

    fn receive(&self, part: &mut Part, response: Response<Body>) -> Result<Transfer, Fault> {
        let total = total_length(part.length(), response.headers());
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            (self.progress)(file_name(&self.candidate.url), part.length(), total);
            match body.read(&mut buffer) {
                Ok(0) => return Ok(Transfer::Whole),
                Ok(n) if part.length() + n as u64 > self.limits.size => {
                    part.restart()?;
                    return Err(Fault::Source(format!("it sent more than {} bytes", self.limits.size)));
                }
                Ok(n) => part.append(&buffer[..n])?,
                Err(error) => {
                    let cause = self.explain(ureq::Error::from(error));
                    return Ok(Transfer::Cut(format!("{cause}, after {} bytes", part.length())));
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
        part.move_to(&aside)?;
        let expected = &self.candidate.sha256;
        let why = format!("wrong hash, kept as `{aside}`\n    Expected: {expected}\n    Computed: {computed}");
        Ok(Fault::Source(why))
    }
}

/// How a transfer ended that did not fail for good.
enum Transfer {
    Whole,
    /// Why it ended early.
    Cut(String),
}

/// The machine's own certificates, since a company's proxy may have its own CA; SSL_CERT_FILE and SSL_CERT_DIR are
/// honoured. A machine without any gets Mozilla's as compiled in: what is downloaded is judged by its hash, whoever
/// sent it.
fn root_certs() -> RootCerts {
    let certs = rustls_native_certs::load_native_certs().certs;
    if certs.is_empty() {
        return RootCerts::WebPki;
    }
    RootCerts::from(Vec::from_iter(certs.iter().map(|cert| Certificate::from_der(cert).to_owned())))
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

/// A weak entity tag may stand for two different contents and is not allowed in If-Range (RFC 9110, section 13.1.5).
fn strong_version(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    text(header::ETAG).filter(|tag| !tag.starts_with("W/")).or(text(header::LAST_MODIFIED))
}
