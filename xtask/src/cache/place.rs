//! Where a cache is, as the user writes it; checked before anything else happens. Pure.
//!
//! A URL may hold a name and a password. This room must never let them into a message.

use std::fmt;

use camino::Utf8Path;

/// A place that can be asked, by the form of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    address: String,
    secret: Option<String>,
    is_folder: bool,
}

/// Why a place is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read the cache's URL `{shown}`: {cause}\n\
     hint: a cache is s3://BUCKET/PREFIX, http://HOST/PATH, https://HOST/PATH, file:///FOLDER or /FOLDER"
)]
pub struct BadPlace {
    shown: String,
    cause: &'static str,
}

impl Place {
    /// Reads a URL, or the absolute path of a folder.
    pub fn parse(text: &str) -> Result<Self, BadPlace> {
        let bad = |cause| Err(BadPlace { shown: without_secret(text), cause });
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return bad("it has a blank in it");
        }
        if text.starts_with('/') {
            return Ok(Self::folder(text));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return bad("it is neither a URL nor an absolute path");
        };
        if rest.contains(['?', '#']) {
            return bad("it has a `?` or a `#` in it");
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        match scheme {
            "file" if rest.starts_with('/') => Ok(Self::folder(rest)),
            "file" => bad("its path is not absolute"),
            "s3" if !user.is_empty() => bad("credentials for S3 come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
            "s3" if host.is_empty() => bad("it names no bucket"),
            "http" | "https" if host.is_empty() || host.starts_with(':') => bad("it names no host"),
            "s3" | "http" | "https" => {
                let secret = (!user.is_empty()).then(|| user.to_owned());
                Ok(Self { address: text.trim_end_matches('/').to_owned(), secret, is_folder: false })
            }
            _ => bad("no cache has that scheme"),
        }
    }

    fn folder(path: &str) -> Self {
        Self {
            address: Utf8Path::new(path).components().collect::<camino::Utf8PathBuf>().into(),
            secret: None,
            is_folder: true,
        }
    }

    /// For the client alone: with the secret.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it can be asked without a network.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// A message from elsewhere, without the secret.
    pub fn redact(&self, text: &str) -> String {
        self.secret.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// For people: without the secret.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secret(&self.address))
    }
}

/// What stands before the last `@` of the host's part is a name, a password, or a mistake that may hold one.
fn without_secret(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let separator = if text.contains("://") { "://" } else { "" };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{separator}{}{path}", host.split(['?', '#']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_their_form() {
        let check = |text, address: &str, is_folder| {
            let place = Place::parse(text).unwrap();
            assert_eq!((place.address(), place.is_folder()), (address, is_folder));
        };
        check("s3://bucket/some/prefix/", "s3://bucket/some/prefix", false);
        check("https://example.org/cache", "https://example.org/cache", false);
        check("http://127.0.0.1:8080", "http://127.0.0.1:8080", false);
        check("file:///var/cache/pid1/", "/var/cache/pid1", true);
        check("/var/cache//pid1", "/var/cache/pid1", true);
    }

    #[test]
    fn what_is_no_cache_is_refused_with_what_is_one() {
        for (text, cause) in [
            ("ftp://host/x", "no cache has that scheme"),
            ("cache", "neither a URL nor an absolute path"),
            ("./cache", "neither a URL nor an absolute path"),
            ("", "neither a URL nor an absolute path"),
            ("s3:///prefix", "names no bucket"),
            ("http:///path", "names no host"),
            ("file://host/path", "not absolute"),
            ("https://host/a?token=1", "a `?`"),
            ("/a b", "a blank"),
            ("s3://key:secret@bucket", "AWS_ACCESS_KEY_ID"),
        ] {
            let error = Place::parse(text).unwrap_err().to_string();
            assert!(error.contains(cause) && error.contains("hint: a cache is s3://BUCKET/PREFIX"), "{text}: {error}");
        }
    }

    #[test]
    fn no_message_holds_a_secret() {
        let place = Place::parse("https://me:hunter2@example.org/cache").unwrap();
        assert_eq!(place.to_string(), "https://example.org/cache");
        assert_eq!(place.redact("no route to https://me:hunter2@example.org"), "no route to https://***@example.org");
        for text in [
            "htps://me:hunter2@host/x",
            "me:hunter2@host",
            "https://h/x?hunter2",
            "https://h?hunter2",
            "s3://a:hunter2@b",
        ] {
            let error = Place::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
