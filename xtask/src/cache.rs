//! A shared cache: finished artifacts that others have made, and a place for ours.
//!
//! ```text
//! v1/traces/KEY.json        a step's key -> its artifact's id, and everything that went into the key
//! v1/objects/ID.tar.zst     an artifact; there before a trace names it
//! ```
//! Nothing that comes back is believed: a trace must be of the very key that was asked for, and an artifact have the
//! content that its id says. Nothing that goes wrong here may fail a build, and nothing is waited for without a limit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use self::client::{Client, Limits, Reply};
use self::place::Place;
use crate::artifact;
use crate::key::{ArtifactId, Fields, StepKey};
use crate::report;
use crate::store::Store;

pub mod client;
pub mod pack;
pub mod place;
pub mod upload;

/// One success of somebody: this key gave this artifact. The same step has the same bytes, whoever writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedTrace {
    /// The step's name in its graph.
    pub step: String,
    /// What it made.
    pub id: ArtifactId,
    /// Everything that went into the key.
    pub fields: Fields,
}

/// Takes a line for the user.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);

/// A cache, as one build sees it.
pub struct Cache<'a> {
    place: &'a Place,
    program: Utf8PathBuf,
    limits: Limits,
    say: Say<'a>,
    /// Takes what only `-v` shows.
    detail: Say<'a>,
    /// Asks for what steps want, one after the other.
    reader: Mutex<Option<Client>>,
    /// What it said to each key that it was asked for.
    traces: Mutex<BTreeMap<StepKey, Option<SharedTrace>>>,
    /// Keys for which it held something that is no good: what is made in its place is written over it.
    refused: Mutex<BTreeSet<StepKey>>,
    /// It failed once, and is asked nothing more.
    is_dead: AtomicBool,
    /// It said once that something may not be read.
    is_denied: AtomicBool,
}

/// Why something from the cache is not used.
enum Fault {
    /// The cache does not have it.
    Missing,
    /// It was not asked, or does not show it; the user was told of that.
    Unknown,
    /// What it has is no good.
    Bad(anyhow::Error),
}

impl<'a> Cache<'a> {
    /// A cache at `place`, of which nothing was asked yet; `program` is the client.
    pub fn new(place: &'a Place, program: Utf8PathBuf, limits: Limits, say: Say<'a>, detail: Say<'a>) -> Self {
        Self {
            place,
            program,
            limits,
            say,
            detail,
            reader: Mutex::default(),
            traces: Mutex::default(),
            refused: Mutex::default(),
            is_dead: AtomicBool::new(false),
            is_denied: AtomicBool::new(false),
        }
    }

    /// What somebody made of exactly these fields, if the cache knows it. It is asked once for each key.
    pub fn trace(&self, store: &Store, fields: &Fields) -> Option<SharedTrace> {
        let key = fields.key();
        let mut traces = self.traces.lock().ok()?;
        if let Some(known) = traces.get(&key) {
            return known.clone();
        }
        let found = match self.read_trace(store, fields) {
            Ok(trace) => Some(trace),
            Err(fault) => {
                self.tell(key, fault);
                None
            }
        };
        traces.insert(key, found.clone());
        found
    }

    fn read_trace(&self, store: &Store, fields: &Fields) -> Result<SharedTrace, Fault> {
        let temp = store.temp("cache").map_err(Fault::Bad)?;
        let path = temp.path().join("trace");
        self.get(store, &trace_name(fields.key()), &path, self.limits.trace)?;
        check_trace(&path, fields).map_err(Fault::Bad)
    }

    /// Unpacks the artifact of `trace` below `folder`, and says where it is. Its content is then what the trace says.
    pub fn artifact(&self, store: &Store, trace: &SharedTrace, folder: &Utf8Path) -> Option<Utf8PathBuf> {
        match self.read_artifact(store, trace, folder) {
            Ok(path) => Some(path),
            Err(fault) => {
                let key = trace.fields.key();
                // A trace that leads nowhere is as bad as a wrong one.
                let fault = match fault {
                    Fault::Missing => Fault::Bad(anyhow::anyhow!("there is a trace, and no {}", object_name(trace.id))),
                    fault => fault,
                };
                self.tell(key, fault);
                self.forget(key);
                None
            }
        }
    }

    fn read_artifact(&self, store: &Store, trace: &SharedTrace, folder: &Utf8Path) -> Result<Utf8PathBuf, Fault> {
        let packed = folder.join("packed");
        self.get(store, &object_name(trace.id), &packed, self.limits.packed)?;
        let checked = self.check_artifact(&packed, folder, trace.id);
        checked.inspect_err(|error| store.note_full_disk(error)).map_err(Fault::Bad)
    }

    fn check_artifact(&self, packed: &Utf8Path, folder: &Utf8Path, id: ArtifactId) -> Result<Utf8PathBuf> {
        let path = pack::unpack(packed, folder, self.limits.size).context("failed to unpack its artifact")?;
        artifact::remove(packed)?;
        let computed = artifact::hash_path(&path)?;
        if computed != id {
            bail!("its artifact is not what the trace says\n  Expected: {id}\n  Computed: {computed}");
        }
        Ok(path)
    }

    /// What the cache said of a key is not to be asked for again.
    fn forget(&self, key: StepKey) {
        if let Ok(mut traces) = self.traces.lock() {
            traces.insert(key, None);
        }
    }

    fn get(&self, store: &Store, name: &str, path: &Utf8Path, limit: u64) -> Result<(), Fault> {
        let mut reader = self.reader.lock().map_err(|_| Fault::Unknown)?;
        if self.is_dead() {
            return Err(Fault::Unknown);
        }
        if reader.is_none() {
            match self.start() {
                Ok(client) => *reader = Some(client),
                Err(cause) => {
                    self.give_up(&cause);
                    return Err(Fault::Unknown);
                }
            }
        }
        let Some(client) = reader.as_mut() else { return Err(Fault::Unknown) };
        let reply = client.ask(&format!("get {limit} {name} {path}"), None, &|| false);
        if matches!(reply, Reply::Full(_)) {
            store.met_full_disk();
        }
        match reply {
            Reply::Done(_) => Ok(()),
            Reply::Missing => Err(Fault::Missing),
            // So is whoever put it there; the others are asked for as before.
            Reply::TooLarge => {
                let limit = report::size(limit);
                (self.detail)(&format!("cache {}: {name} is larger than {limit}, and not taken", self.place));
                Err(Fault::Unknown)
            }
            Reply::Failed(cause) | Reply::Full(cause) => {
                // It may be in the middle of an answer that nobody waits for any more. Whoever waits for the lock sees that
                // there is no more to be had.
                *reader = None;
                self.give_up(&cause);
                Err(Fault::Unknown)
            }
            // S3 says this also of what it does not have, to those who may not list a bucket.
            Reply::Denied(cause) => {
                if !self.is_denied.swap(true, Ordering::Relaxed) {
                    self.warn(&format!("{cause}; what it does not show is built"));
                }
                Err(Fault::Unknown)
            }
        }
    }

    fn start(&self) -> Result<Client, String> {
        Client::start(&self.program, self.place, self.limits)
    }

    /// Whether it was given up.
    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    fn give_up(&self, cause: &str) {
        if !self.is_dead.swap(true, Ordering::Relaxed) {
            self.warn(&format!("{cause}; going on without it"));
        }
    }

    /// Whether something that this cache holds for the key turned out to be no good.
    fn was_refused(&self, key: StepKey) -> bool {
        self.refused.lock().is_ok_and(|refused| refused.contains(&key))
    }

    fn tell(&self, key: StepKey, fault: Fault) {
        match fault {
            Fault::Missing | Fault::Unknown => {}
            Fault::Bad(error) => {
                if let Ok(mut refused) = self.refused.lock() {
                    refused.insert(key);
                }
                self.warn(&format!("what it has for the key {key} is not used: {}", report::render(&error)));
            }
        }
    }

    /// One line, or more, on stderr; without the secret that a URL or an answer may hold.
    fn warn(&self, text: &str) {
        (self.say)(&format!("cache {}: {}", self.place, self.place.redact(text)));
    }
}

/// For people.
impl std::fmt::Display for Cache<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place.fmt(f)
    }
}

fn trace_name(key: StepKey) -> String {
    format!("v1/traces/{key}.json")
}

fn object_name(id: ArtifactId) -> String {
    format!("v1/objects/{id}.tar.zst")
}

fn check_trace(path: &Utf8Path, fields: &Fields) -> Result<SharedTrace> {
    let text = fs::read_to_string(path).context("failed to read its trace")?;
    let trace: SharedTrace = serde_json::from_str(&text).context("failed to read its trace")?;
    if trace.fields != *fields {
        let (expected, computed) = (fields.key(), trace.fields.key());
        bail!("its trace is of another step\n  Expected: {expected}\n  Computed: {computed}");
    }
    Ok(trace)
}
