//! What a build made goes to the cache beside the build, which never waits for it but at its end, and then not for long.
//!
//! An artifact is written before the trace that names it. What the cache has is not written again, save where it was no good.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use anyhow::{Context, Result};
use camino::Utf8Path;

use super::client::{Client, Reply};
use super::{Cache, SharedTrace, object_name, pack, trace_name};
use crate::store::Store;
use crate::{artifact, report, space};

/// Something to be had from us.
pub struct Offer {
    /// The success.
    pub trace: SharedTrace,
    /// Whether the artifact itself goes along. Of what comes from elsewhere, as crates do, only the id is shared.
    pub with_object: bool,
}

/// Where a build puts what it made.
pub type Offers = Sender<Offer>;

/// Why the rest is not uploaded.
enum Stop {
    /// Nothing more can be done with the cache.
    Dead(String),
    /// It is for reading only.
    ReadOnly(String),
    /// The build is over, and has waited long enough.
    Over,
}

impl Cache<'_> {
    /// Does `build`, and uploads what it offers, until a while after its end.
    pub fn share<T>(&self, store: &Store, build: impl FnOnce(&Offers) -> T) -> T {
        let (offers, offered) = channel();
        let ends = &Mutex::new(None);
        std::thread::scope(|scope| {
            let uploads = scope.spawn(move || Uploads { cache: self, store, ends, client: None }.all(offered));
            let built = build(&offers);
            drop(offers);
            if let Ok(mut ends) = ends.lock() {
                *ends = Instant::now().checked_add(self.limits.finish);
            }
            let _ = uploads.join();
            built
        })
    }
}

struct Uploads<'a> {
    cache: &'a Cache<'a>,
    store: &'a Store,
    /// Set when the build is over.
    ends: &'a Mutex<Option<Instant>>,
    client: Option<Client>,
}

impl Uploads<'_> {
    /// Takes offers until there are no more, and says of which the cache got nothing.
    fn all(mut self, offered: Receiver<Offer>) {
        let (mut seen, mut late) = (BTreeSet::new(), Vec::new());
        let (mut is_open, mut n_done) = (true, 0_u32);
        for offer in offered {
            if !is_open || self.cache.is_dead() || !seen.insert(offer.trace.fields.key()) {
                continue;
            }
            if self.is_over() {
                late.push(offer.trace.step);
                continue;
            }
            match self.one(&offer) {
                Ok(is_new) => n_done += u32::from(is_new),
                Err(Stop::Over) => late.push(offer.trace.step),
                Err(Stop::Dead(cause)) => self.cache.give_up(&cause),
                Err(Stop::ReadOnly(cause)) => {
                    is_open = false;
                    self.cache.warn(&format!("{cause}; it is only read"));
                }
            }
        }
        if n_done > 0 {
            self.cache.warn(&format!("{n_done} results uploaded"));
        }
        if !late.is_empty() {
            self.cache.warn(&format!("not uploaded in time: {}", late.join(", ")));
        }
    }

    /// Uploads one thing, if the cache lacks it; whether it did.
    fn one(&mut self, offer: &Offer) -> Result<bool, Stop> {
        let key = offer.trace.fields.key();
        let is_bad = self.cache.was_refused(key);
        if !is_bad && self.has(&trace_name(key), self.known(offer))? {
            return Ok(false);
        }
        let unusable = |error: anyhow::Error| {
            // While what was packed still fills the disk.
            self.store.note_full_disk(&error);
            // A full disk, or an artifact that was damaged or collected meanwhile: nothing that the cache is to blame for.
            self.cache.warn(&report::render(&error));
            Ok(false)
        };
        let temp = match self.store.temp("upload") {
            Ok(temp) => temp,
            Err(error) => return unusable(error),
        };
        let (packed, path) = (temp.path().join("packed"), temp.path().join("trace"));
        match write_trace(&offer.trace, &path) {
            Ok(n_bytes) if self.fits(offer, n_bytes, self.cache.limits.trace) => {}
            Ok(_) => return Ok(false),
            Err(error) => return unusable(error),
        }
        if offer.with_object {
            let name = object_name(offer.trace.id);
            if is_bad || !self.has(&name, None)? {
                match self.pack(offer, &packed) {
                    Ok(true) => self.put(&name, &packed)?,
                    Ok(false) => return Ok(false),
                    Err(error) => return unusable(error),
                }
            }
        }
        self.put(&trace_name(key), &path).map(|()| true)
    }

    /// What the cache said of this key already, in this build.
    fn known(&self, offer: &Offer) -> Option<bool> {
        let traces = self.cache.traces.lock().ok()?;
        traces.get(&offer.trace.fields.key()).map(Option::is_some)
    }

    /// Packs an artifact that is whole. False, if it is larger than anybody would take.
    fn pack(&self, offer: &Offer, to: &Utf8Path) -> Result<bool> {
        let id = offer.trace.id;
        let path = self.store.object(id).filter(|_| self.store.is_intact(id).unwrap_or(false));
        let path =
            path.with_context(|| format!("failed to upload `{}`: the store has no whole {id}", offer.trace.step))?;
        let limits = self.cache.limits;
        Ok(self.fits(offer, artifact::size(&path)?, limits.size)
            && self.fits(offer, pack::pack(&path, to)?, limits.size)
            && self.fits(offer, artifact::size(to)?, limits.packed))
    }

    /// Whether readers take so many bytes. Who made them may know why others make them again.
    fn fits(&self, offer: &Offer, n_bytes: u64, limit: u64) -> bool {
        if n_bytes > limit {
            let (cache, limit) = (self.cache, report::size(limit));
            (cache.detail)(&format!("cache {cache}: {} is not uploaded: it is larger than {limit}", offer.trace.step));
        }
        n_bytes <= limit
    }

    fn has(&mut self, name: &str, known: Option<bool>) -> Result<bool, Stop> {
        if let Some(known) = known {
            return Ok(known);
        }
        match self.ask(&format!("has {name}"), None)? {
            Reply::Done(_) => Ok(true),
            // S3 denies also what it does not have; whether it may be written is seen then.
            Reply::Missing | Reply::TooLarge | Reply::Denied(_) => Ok(false),
            Reply::Failed(cause) | Reply::Full(cause) => Err(self.stop(cause)),
        }
    }

    fn put(&mut self, name: &str, path: &Utf8Path) -> Result<(), Stop> {
        let size = artifact::size(path).map_err(|error| Stop::Dead(report::render(&error)))?;
        match self.ask(&format!("put {name} {path}"), Some(size))? {
            Reply::Done(_) => Ok(()),
            Reply::Missing | Reply::TooLarge => Err(Stop::ReadOnly("there is no place for what was made".to_owned())),
            Reply::Denied(cause) => Err(Stop::ReadOnly(cause)),
            Reply::Full(cause) => {
                // A cache may be a folder of the store's own disk.
                if self.cache.place.is_folder() && space::is_same_disk(self.cache.place.address(), self.store.root()) {
                    self.store.met_full_disk();
                }
                Err(self.stop(cause))
            }
            Reply::Failed(cause) => Err(self.stop(cause)),
        }
    }

    fn ask(&mut self, request: &str, size: Option<u64>) -> Result<Reply, Stop> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.cache.start().map_err(Stop::Dead)?,
        };
        let reply = client.ask(request, size, &|| self.is_over());
        if !matches!(reply, Reply::Failed(_)) {
            self.client = Some(client);
        }
        Ok(reply)
    }

    fn is_over(&self) -> bool {
        self.ends.lock().is_ok_and(|ends| ends.is_some_and(|ends| ends <= Instant::now()))
    }

    fn stop(&self, cause: String) -> Stop {
        if self.is_over() { Stop::Over } else { Stop::Dead(cause) }
    }
}

/// How many bytes it has, too.
fn write_trace(trace: &SharedTrace, path: &Utf8Path) -> Result<u64> {
    let text = serde_json::to_string_pretty(trace).context("failed to write a trace")? + "\n";
    crate::steps::write(path, &text)?;
    Ok(text.len() as u64)
}
