//! One run of a graph: every step is looked up, and if need be claimed, run, and committed; each in a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::explain::explain;
use super::files::{copy, read_files};
use super::{Built, Engine};
use crate::artifact;
use crate::cache::upload::Offers;
use crate::graph::{Graph, Step};
use crate::key::{ArtifactId, Fields, StepKey};
use crate::report::StepProgress;
use crate::sandbox::{Sandbox, Setting};
use crate::space::{self, Free};
use crate::steps::Job;
use crate::store::{Claim, FULL_HINT, Temp, Trace};

/// One run of a graph: what is done so far.
pub struct Run<'a> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) graph: &'a Graph,
    /// Locked while a step is being made, so that a second asker waits for the first.
    pub(super) done: BTreeMap<&'a str, Mutex<Option<Built>>>,
    /// What steps will come to, as far as that was asked and can be told.
    pub(super) foreseen: Mutex<BTreeMap<&'a str, Option<Built>>>,
    /// Where to put what others may have, too.
    pub(super) offers: Option<Offers>,
    /// Artifacts whose content was compared with their id in this run.
    intact: Mutex<BTreeSet<ArtifactId>>,
    failed: AtomicBool,
    n_running: AtomicUsize,
}

/// Said by a step that was not started because another one failed.
const NOT_STARTED: &str = "not started, because another step failed";

impl<'a> Run<'a> {
    /// Nothing is done yet.
    pub fn new(engine: &'a Engine<'a>, graph: &'a Graph, offers: Option<Offers>) -> Self {
        Self {
            engine,
            graph,
            foreseen: Mutex::default(),
            offers,
            done: graph.names().into_iter().map(|name| (name, Mutex::new(None))).collect(),
            intact: Mutex::default(),
            failed: AtomicBool::new(false),
            n_running: AtomicUsize::new(0),
        }
    }

    /// Makes the goals, and gives every step that was needed for them.
    pub fn build(self, goals: &[&'a str]) -> Result<BTreeMap<String, Built>> {
        if self.engine.offline {
            self.require_offline(goals)?;
        }
        self.make_consistent(goals)?;
        self.offer_all()?;
        let foreseen = self.only_foreseen();
        for (name, built) in &foreseen {
            self.keep_foreseen(self.step(name)?, built)?;
        }
        let built = |(name, slot): (&'a str, Mutex<Option<Built>>)| Some((name, slot.into_inner().ok()??));
        Ok(self
            .done
            .into_iter()
            .filter_map(built)
            .chain(foreseen)
            .map(|(name, built)| (name.to_owned(), built))
            .collect())
    }

    /// Makes the goals of the very inputs that this run comes to. A damaged artifact that is made again may be another one
    /// than before, and by then something else may have been looked up by the old one's id.
    fn make_consistent(&self, goals: &[&'a str]) -> Result<()> {
        for _ in 0..N_REPAIRS {
            self.make_intact(goals)?;
            if !self.forget_stale()? {
                return Ok(());
            }
        }
        bail!("artifacts are other ones each time that they are made\nhint: check the disk of the store")
    }

    pub(super) fn step(&self, name: &str) -> Result<&'a Step> {
        self.graph.get(name).ok_or_else(|| anyhow!("there is no step `{name}`"))
    }

    pub(super) fn slot(&self, name: &str) -> Result<MutexGuard<'_, Option<Built>>> {
        let slot = self.done.get(name).ok_or_else(|| anyhow!("there is no step `{name}`"))?;
        slot.lock().map_err(|_| anyhow!(NOT_STARTED))
    }

    /// Makes steps side by side.
    fn make(&self, names: &[&'a str]) -> Result<Vec<Built>> {
        if let [name] = names {
            return Ok(vec![self.make_one(name)?]);
        }
        let results: Vec<Result<Built>> = std::thread::scope(|scope| {
            let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| self.make_one(name))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
                .collect()
        });
        first_cause(results)
    }

    fn make_one(&self, name: &'a str) -> Result<Built> {
        let mut slot = self.slot(name)?;
        if let Some(built) = slot.as_ref() {
            return Ok(built.clone());
        }
        let step = self.step(name)?;
        let built = self.look_up_or_run(step)?;
        self.engine.remember(step, &built.fields);
        *slot = Some(built.clone());
        Ok(built)
    }

    /// Makes steps, and makes those again whose artifact turns out to be damaged.
    fn make_intact(&self, names: &[&'a str]) -> Result<Vec<Built>> {
        for _ in 0..N_REPAIRS {
            let built = self.make(names)?;
            let mut n_damaged = 0;
            for (name, built) in names.iter().zip(&built) {
                if !self.is_intact(built.id)? && self.engine.store.discard_damaged(built.id)? {
                    n_damaged += 1;
                    self.engine.reporter.say(&format!(
                        "{name}: its artifact {} in the store is damaged; making it again",
                        built.id.short()
                    ));
                    *self.slot(name)? = None;
                }
            }
            if n_damaged == 0 {
                return Ok(built);
            }
        }
        bail!("artifacts are damaged as soon as they are made: {}\nhint: check the disk of the store", names.join(", "))
    }

    pub(super) fn is_intact(&self, id: ArtifactId) -> Result<bool> {
        let is_known =
            |run: &Self| run.intact.lock().map(|intact| intact.contains(&id)).map_err(|_| anyhow!(NOT_STARTED));
        if is_known(self)? {
            return Ok(true);
        }
        let is_intact = self.engine.store.is_intact(id)?;
        if is_intact {
            self.intact.lock().map_err(|_| anyhow!(NOT_STARTED))?.insert(id);
        }
        Ok(is_intact)
    }

    fn look_up_or_run(&self, step: &'a Step) -> Result<Built> {
        if let Some(hit) = self.hit_beforehand(step)? {
            return Ok(hit);
        }
        let names: Vec<&'a str> = step.inputs.iter().map(|(_, input)| input.as_str()).collect();
        let mut inputs = self.make(&names)?;
        loop {
            let fields = self.engine.fields(step, &self.roles(step, &inputs))?;
            if let Some(hit) = self.hit(step, fields.clone()) {
                return Ok(hit);
            }
            if self.failed.load(Ordering::Relaxed) {
                bail!(NOT_STARTED);
            }
            // Inputs are read from here on, so their content is compared with their ids. A damaged one is made
            // again, and what comes out may be another one if its recipe is not reproducible: then the key changes too.
            let checked = self.make_intact(&names)?;
            if checked != inputs {
                inputs = checked;
                continue;
            }
            let claim = self.claim(step, &fields)?;
            // The process that had the claim has probably just made it.
            if let Some(hit) = self.hit(step, fields.clone()) {
                return Ok(hit);
            }
            // What went into it could perhaps not be foreseen.
            if let Some(shared) = self.take_shared(step, &fields, &claim)? {
                return Ok(shared);
            }
            let built = self.run(step, fields, &inputs, &claim)?;
            self.offer(step, &built);
            return Ok(built);
        }
    }

    fn roles<'b>(&self, step: &'b Step, inputs: &[Built]) -> Vec<(&'b str, ArtifactId)> {
        step.inputs.iter().zip(inputs).map(|((role, _), built)| (role.as_str(), built.id)).collect()
    }

    pub(super) fn hit(&self, step: &Step, fields: Fields) -> Option<Built> {
        let trace = self.engine.trace(fields.key()).or_else(|| self.declared_trace(step, &fields))?;
        self.engine.reporter.detail(&format!("{}: up to date, {}", step.name, trace.id.short()));
        Some(Built { key: fields.key(), id: trace.id, fields, hermetic: trace.hermetic })
    }

    fn run(&self, step: &Step, fields: Fields, inputs: &[Built], _claim: &Claim) -> Result<Built> {
        let key = fields.key();
        let is_download = step.recipe.network().is_some();
        // A download waits for others; everything else computes and takes a core.
        let _core = if is_download {
            None
        } else {
            Some(self.engine.cores.acquire().context("failed to wait for a free core")?)
        };
        if self.failed.load(Ordering::Relaxed) {
            bail!(NOT_STARTED);
        }
        // What was looked up before the build may have turned out to be damaged since.
        if self.engine.offline && is_download && !step.recipe.is_at_hand(&self.engine.workspace.vendor()) {
            bail!(
                "failed to make `{}` offline: it has to be fetched anew\n\
                 hint: run once without --offline, or put the file into vendor/",
                step.name
            );
        }
        let progress = self.engine.reporter.step(&step.name);
        self.n_running.fetch_add(1, Ordering::Relaxed);
        let result = self.run_recipe(step, &fields, inputs, &progress);
        let n_others = self.n_running.fetch_sub(1, Ordering::Relaxed) - 1;
        let seconds = progress.seconds();
        drop(progress);
        let (id, hermetic) = result.map_err(|error| self.fail(step, key, n_others, error))?;
        self.engine.reporter.say(&format!("{}: done in {seconds:.1} s", step.name));
        Ok(Built { key, id, fields, hermetic })
    }

    fn run_recipe(
        &self,
        step: &Step,
        fields: &Fields,
        inputs: &[Built],
        progress: &StepProgress,
    ) -> Result<(ArtifactId, bool)> {
        let temp = self.engine.store.temp(&step.name).map_err(|error| self.mention_full_disk(error))?;
        // While the half-made output still fills the disk.
        self.run_in(&temp, step, fields, inputs, progress).map_err(|error| self.mention_full_disk(error))
    }

    fn run_in(
        &self,
        temp: &Temp,
        step: &Step,
        fields: &Fields,
        inputs: &[Built],
        progress: &StepProgress,
    ) -> Result<(ArtifactId, bool)> {
        let engine = self.engine;
        let mut paths = BTreeMap::new();
        for ((role, _), built) in step.inputs.iter().zip(inputs) {
            let path = engine.store.object(built.id).ok_or_else(|| {
                anyhow!("the artifact {} has vanished from the store\nhint: run the command again", built.id)
            })?;
            paths.insert(role.clone(), path);
        }
        let sandbox = self.sandbox(step, fields.key(), temp, &paths)?;
        let (out, work) = (temp.path().join("out"), sandbox.build().join("work"));
        let files = sandbox.build().join("files");
        for folder in [&work, &files] {
            fs::create_dir(folder).with_context(|| format!("failed to make the folder `{folder}`"))?;
        }
        self.copy_files(step, fields, &files)?;
        let job = Job {
            out: &out,
            work: &work,
            inputs: paths,
            versions: engine.tools(step)?.into_iter().map(|(name, tool)| (name, tool.identity.version)).collect(),
            files: &files,
            sandbox: &sandbox,
            downloads: engine.store.downloads(),
            vendor: engine.workspace.vendor(),
            progress,
        };
        let id = self.make_output(step, &job)?;
        let seconds = progress.seconds();
        // A step without tools of the host needs no walls.
        let hermetic = engine.walls.are_closed() || step.recipe.tools().is_empty();
        let trace = Trace { step: step.name.clone(), id, fields: fields.clone(), seconds, hermetic, elsewhere: false };
        engine.store.record(&trace)?;
        Ok((id, hermetic))
    }

    fn make_output(&self, step: &Step, job: &Job<'_>) -> Result<ArtifactId> {
        let store = self.engine.store;
        let n_times_full = store.n_times_full();
        step.recipe.run(job)?;
        // Not every tool looks whether it could write what it wrote: the disk still is full, or somebody found it so meanwhile.
        let was_full = || space::free(job.work).is_some_and(Free::is_exhausted) || store.n_times_full() != n_times_full;
        if !step.recipe.tools().is_empty() && was_full() {
            return Err(space::full());
        }
        job.progress.now("storing");
        let id = store.commit(job.out)?;
        match step.recipe.declared() {
            Some(declared) if declared != id => {
                // What was committed may be another checkout's good artifact; if nobody needs it, gc takes it.
                bail!(
                    "the output is not what vendor/sources.toml declares\n  Expected: {declared}\n  Computed: {id}\n\
                     hint: if the pin is meant to change, write the computed hash into `tree`"
                )
            }
            _ => Ok(id),
        }
    }

    /// Few tools say plainly that the disk is full; some clean up before they end, so that it is not full any more.
    fn mention_full_disk(&self, error: anyhow::Error) -> anyhow::Error {
        let store = self.engine.store;
        if space::is_full(&error) || space::free(store.root()).is_some_and(Free::is_exhausted) {
            store.met_full_disk();
            return space::explain(error, "the store", store.root(), FULL_HINT);
        }
        error
    }

    fn sandbox(
        &self,
        step: &Step,
        key: StepKey,
        temp: &Temp,
        inputs: &BTreeMap<String, Utf8PathBuf>,
    ) -> Result<Sandbox> {
        let tools: Vec<_> = self.engine.tools(step)?.into_iter().map(|(name, tool)| (name, tool.path)).collect();
        let path = self.engine.store.log(key);
        Sandbox::new(Setting {
            walls: self.engine.walls,
            folder: temp.path(),
            tools: &tools,
            inputs,
            preload: self.engine.preload,
            log: File::create(&path).with_context(|| format!("failed to write the log `{path}`"))?,
            cores: self.engine.cores.clone(),
        })
    }

    /// Copies the files the step reads, so that an editor that saves meanwhile cannot slip other content under the key.
    fn copy_files(&self, step: &Step, fields: &Fields, to: &Utf8Path) -> Result<()> {
        let mut copied = Fields::default();
        for (name, path) in read_files(step)? {
            let to = to.join(&name);
            let folder = to.parent().unwrap_or(&to);
            fs::create_dir_all(folder).with_context(|| format!("failed to make the folder `{folder}`"))?;
            copy(&path, &to)?;
            copied.set(format!("file.{name}"), artifact::hash_path(&to)?);
        }
        let expected = fields.iter().filter(|(name, _)| name.starts_with("file."));
        if step.recipe.declared().is_none() && !expected.eq(copied.iter()) {
            bail!("a file that it reads changed while the build began\nhint: run the command again");
        }
        Ok(())
    }

    /// No step starts after this one failed. Those that run are let finish, for their work is good; but nobody should
    /// have to wait for them to learn what is wrong.
    fn fail(&self, step: &Step, key: StepKey, n_others: usize, error: anyhow::Error) -> anyhow::Error {
        self.failed.store(true, Ordering::Relaxed);
        let log = self.engine.store.log(key);
        let error = explain(&step.name, key, &log, self.engine.walls.are_closed(), error);
        if n_others > 0 {
            let say = |text: &str| self.engine.reporter.say(text);
            say(&crate::report::render(&error));
            say(&format!("{n_others} other steps are being finished; Ctrl-C ends them, too"));
        }
        error
    }
}

/// How often damaged artifacts are made again in one run, before the disk is to blame.
const N_REPAIRS: u32 = 3;

/// All results, or the failure that made the others not start.
fn first_cause(results: Vec<Result<Built>>) -> Result<Vec<Built>> {
    let (done, mut failures): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    failures.sort_by_key(|failure| failure.as_ref().is_err_and(|error| error.to_string() == NOT_STARTED));
    match failures.into_iter().next() {
        Some(failure) => failure.map(|_| Vec::new()),
        None => done.into_iter().collect(),
    }
}
