//! Where the cache is: a folder, an HTTP server that takes GET, HEAD and PUT, or a bucket of S3 or of what speaks as it does.
//!
//! A password in a URL goes into a header and out of the URL, so that no error message can hold it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Name;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use percent_encoding::percent_decode_str;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;

/// A name that does not resolve and a host that drops packets are told within this time; a far one answers in a tenth.
const CONNECT: Duration = Duration::from_secs(5);
/// Silence in the middle of an answer. xtask kills this process when it is less patient.
const SILENCE: Duration = Duration::from_secs(15);
/// A hiccup is tried once more; what fails twice is left alone, for a build waits.
const N_RETRIES: usize = 1;

/// An open cache. Nothing was asked of it yet.
pub struct Bucket {
    /// The library's way to it.
    pub store: Box<dyn ObjectStore>,
    prefix: String,
}

impl Bucket {
    /// Reads a place as xtask has checked it: `s3://BUCKET/PREFIX`, `http://`, `https://`, or an absolute path.
    pub fn open(place: &str) -> Result<Self> {
        if place.starts_with('/') {
            return folder(Path::new(place));
        }
        let url = Url::parse(place).map_err(|error| anyhow!("failed to read the URL: {error}"))?;
        match url.scheme() {
            "s3" => s3(&url),
            "http" | "https" => http(url),
            _ => bail!("there is no cache of that kind"),
        }
    }

    /// The full name of something in the cache.
    pub fn name(&self, name: &str) -> Name {
        Name::from(format!("{}/{name}", self.prefix))
    }
}

/// Only the last folder is made: above it, a missing folder is a disk that is not mounted.
fn folder(path: &Path) -> Result<Bucket> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).context("failed to make the folder");
        }
        _ => {}
    }
    let store = LocalFileSystem::new_with_prefix(path).context("failed to open the folder")?;
    Ok(Bucket { store: Box::new(store), prefix: String::new() })
}

fn http(mut url: Url) -> Result<Bucket> {
    let mut headers = HeaderMap::new();
    if !url.username().is_empty() || url.password().is_some() {
        headers.insert(AUTHORIZATION, basic(&url)?);
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| anyhow!("failed to read the name and the password of the URL"))?;
    }
    let options = options().with_allow_http(true).with_default_headers(headers);
    let builder = HttpBuilder::new().with_url(url.as_str()).with_client_options(options).with_retry(retry());
    Ok(Bucket { store: Box::new(builder.build()?), prefix: String::new() })
}

/// RFC 7617: `Basic` and base64 of `NAME:PASSWORD`.
fn basic(url: &Url) -> Result<HeaderValue> {
    let decode = |text| percent_decode_str(text).collect::<Vec<u8>>();
    let both = [decode(url.username()), decode(url.password().unwrap_or_default())].join(&b':');
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(both)))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Region, endpoint and credentials come from the `AWS_` variables that every S3 tool reads. Without credentials requests
/// are not signed: the library would otherwise look for those of a virtual machine in a cloud, and wait for them.
fn s3(url: &Url) -> Result<Bucket> {
    let bucket = url.host_str().context("the URL names no bucket")?;
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_credentials = CREDENTIALS.iter().any(is_set);
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let endpoint = endpoint.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
    // The variable AWS_ALLOW_HTTP is the library's own and allows any host.
    let is_http_allowed = is_local(&endpoint) || std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true");
    builder = builder.with_client_options(options().with_allow_http(is_http_allowed));
    if !has_credentials {
        builder = builder.with_skip_signature(true);
    }
    Ok(Bucket { store: Box::new(builder.build()?), prefix: url.path().trim_matches('/').to_owned() })
}

/// Any one of these says that requests are to be signed.
const CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Without TLS, credentials go to this machine only.
fn is_local(endpoint: &str) -> bool {
    match Url::parse(endpoint).ok().and_then(|url| url.host().map(|host| host.to_owned())) {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn options() -> ClientOptions {
    // The library's limit for a whole request would be one for the line's speed; xtask watches that by rate.
    ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT).with_read_timeout(SILENCE)
}

fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: N_RETRIES, retry_timeout: CONNECT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        for (endpoint, expect) in [
            ("http://localhost:9000", true),
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("http://localhost.example.org", false),
            ("http://10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_local(endpoint), expect, "{endpoint}");
        }
    }
}
