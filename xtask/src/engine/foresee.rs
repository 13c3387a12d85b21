//! What can be told of steps before anything runs: the key of a step whose inputs' ids are known, whether or not the inputs
//! themselves are there. Such a step needs none of them while its output can be had, from the store or from a shared cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use super::Built;
use super::run::Run;
use crate::cache::SharedTrace;
use crate::cache::upload::Offer;
use crate::graph::Step;
use crate::key::{ArtifactId, Fields};
use crate::store::{Claim, Trace};

impl<'a> Run<'a> {
    /// What goes into a step, if that can be told beforehand.
    pub(super) fn foresee(&self, step: &'a Step) -> Result<Option<Fields>> {
        if step.recipe.declared().is_some() {
            return self.engine.fields(step, &[]).map(Some);
        }
        let mut inputs = Vec::new();
        for (role, input) in &step.inputs {
            match self.foresee_output(input)? {
                Some(built) => inputs.push((role.as_str(), built.id)),
                None => return Ok(None),
            }
        }
        self.engine.fields(step, &inputs).map(Some)
    }

    /// What a step will come to, if that can be told: by declaration, by a success of ours, or by one of somebody else.
    fn foresee_output(&self, name: &'a str) -> Result<Option<Built>> {
        let known = |run: &Self| Some(run.foreseen.lock().ok()?.get(name)?.clone());
        if let Some(known) = known(self) {
            return Ok(known);
        }
        let step = self.step(name)?;
        let built = match self.foresee(step)? {
            Some(fields) => {
                self.foresee_id(step, &fields).map(|(id, hermetic)| Built { key: fields.key(), id, fields, hermetic })
            }
            None => None,
        };
        self.foreseen.lock().map_err(|_| anyhow!("a thread panicked"))?.insert(name, built.clone());
        Ok(built)
    }

    /// The id, and whether it comes of closed tools alone. Others share nothing else.
    fn foresee_id(&self, step: &Step, fields: &Fields) -> Option<(ArtifactId, bool)> {
        let ours = self.engine.known(fields.key()).map(|trace| (trace.id, trace.hermetic));
        let declared = || step.recipe.declared().map(|id| (id, true));
        ours.or_else(declared).or_else(|| self.shared_trace(step, fields).map(|trace| (trace.id, true)))
    }

    /// What was foreseen, and not made because nobody needed it after all: by name.
    pub(super) fn only_foreseen(&self) -> Vec<(&'a str, Built)> {
        let Ok(foreseen) = self.foreseen.lock() else { return Vec::new() };
        let is_made = |name: &str| self.done.get(name).is_none_or(|slot| slot.lock().is_ok_and(|slot| slot.is_some()));
        foreseen
            .iter()
            .filter(|(name, _)| !is_made(name))
            .filter_map(|(name, built)| Some((*name, built.clone()?)))
            .collect()
    }

    /// Forgets the steps that were looked up or made with an input that has come to something else since, and all that follows
    /// from them. False, if there are none.
    pub(super) fn forget_stale(&self) -> Result<bool> {
        let (mut known, mut stale) = (BTreeMap::new(), BTreeSet::new());
        let foreseen: BTreeMap<_, _> = self.only_foreseen().into_iter().collect();
        for step in self.graph.in_order() {
            let slot = self.slot(&step.name)?;
            let Some(built) = slot.as_ref().or_else(|| foreseen.get(step.name.as_str())) else { continue };
            let is_other = |(role, input): &(String, String)| {
                let used = built.fields.get(&format!("input.{role}"));
                stale.contains(input.as_str())
                    || known.get(input.as_str()).zip(used).is_some_and(|(id, used): (&String, _)| id != used)
            };
            if step.recipe.declared().is_none() && step.inputs.iter().any(is_other) {
                stale.insert(step.name.as_str());
            }
            known.insert(step.name.as_str(), built.id.to_string());
        }
        for name in &stale {
            *self.slot(name)? = None;
        }
        if !stale.is_empty() {
            self.foreseen.lock().map_err(|_| anyhow!("a thread panicked"))?.clear();
        }
        Ok(!stale.is_empty())
    }

    /// Remembers a success of somebody else that this build went by, so that the next one foresees the same without asking.
    pub(super) fn keep_foreseen(&self, step: &Step, built: &Built) -> Result<()> {
        self.engine.remember(step, &built.fields);
        let store = self.engine.store;
        if step.recipe.declared().is_some() || self.engine.known(built.key).is_some() {
            return Ok(());
        }
        store.record(&Trace {
            step: step.name.clone(),
            id: built.id,
            fields: built.fields.clone(),
            seconds: 0.0,
            hermetic: built.hermetic,
            elsewhere: true,
        })
    }

    /// Whether a step that can be foreseen need not run: the store has its output, or the cache should have it.
    pub(super) fn is_to_be_had(&self, step: &'a Step) -> Result<bool> {
        let Some(fields) = self.foresee(step)? else { return Ok(false) };
        if self.hit(step, fields.clone()).is_some() {
            return Ok(true);
        }
        Ok(step.recipe.network().is_none() && self.shared_trace(step, &fields).is_some())
    }

    /// A success that nobody recorded, or not under this name of the recipe: the store has what is declared. Nothing else is
    /// asked of such a step.
    pub(super) fn declared_trace(&self, step: &Step, fields: &Fields) -> Option<Trace> {
        let (id, store) = (step.recipe.declared()?, self.engine.store);
        if store.object(id).is_none() || !self.is_intact(id).unwrap_or(false) {
            return None;
        }
        let trace = Trace {
            step: step.name.clone(),
            id,
            fields: fields.clone(),
            seconds: 0.0,
            hermetic: true,
            elsewhere: false,
        };
        if let Err(error) = store.record(&trace) {
            // The artifact is good all the same.
            self.engine.reporter.detail(&crate::report::render(&error));
        }
        Some(trace)
    }

    /// What the shared cache knows of a step. One with a declared output needs no word of others.
    fn shared_trace(&self, step: &Step, fields: &Fields) -> Option<SharedTrace> {
        let cache = self.engine.cache.filter(|_| step.recipe.declared().is_none())?;
        cache.trace(self.engine.store, fields)
    }

    /// The output of a step whose inputs need not be made: from the store, or from the shared cache.
    pub(super) fn hit_beforehand(&self, step: &'a Step) -> Result<Option<Built>> {
        let Some(fields) = self.foresee(step)? else { return Ok(None) };
        if let Some(hit) = self.hit(step, fields.clone()) {
            return Ok(Some(hit));
        }
        if step.recipe.network().is_some() || self.shared_trace(step, &fields).is_none() {
            return Ok(None);
        }
        let claim = self.claim(step, &fields)?;
        if let Some(hit) = self.hit(step, fields.clone()) {
            return Ok(Some(hit));
        }
        self.take_shared(step, &fields, &claim)
    }

    /// Waits until no other process makes the step.
    pub(super) fn claim(&self, step: &Step, fields: &Fields) -> Result<Claim> {
        self.engine.store.claim(fields.key(), &step.name, &|holder| {
            self.engine.reporter.say(&format!("{}: waiting for {holder}, which is making it", step.name));
        })
    }

    /// The output of a claimed step from the shared cache, checked, and from now on in the store.
    pub(super) fn take_shared(&self, step: &Step, fields: &Fields, _claim: &Claim) -> Result<Option<Built>> {
        let Some(cache) = self.engine.cache.filter(|_| step.recipe.network().is_none()) else { return Ok(None) };
        let Some(trace) = self.shared_trace(step, fields) else { return Ok(None) };
        let (store, started, key) = (self.engine.store, Instant::now(), fields.key());
        let temp = store.temp("shared")?;
        let Some(path) = cache.artifact(store, &trace, temp.path()) else { return Ok(None) };
        let id = store.commit(&path).inspect_err(|error| store.note_full_disk(error))?;
        let log = store.log(key);
        fs::write(&log, format!("made elsewhere, and taken from the cache {cache}\n"))
            .with_context(|| format!("failed to write the log `{log}`"))?;
        let seconds = started.elapsed().as_secs_f64();
        let (name, fields) = (step.name.clone(), fields.clone());
        store.record(&Trace { step: name, id, fields: fields.clone(), seconds, hermetic: true, elsewhere: true })?;
        self.engine.reporter.say(&format!("{}: from the cache, in {seconds:.1} s", step.name));
        Ok(Some(Built { key, id, fields, hermetic: true }))
    }

    /// Offers also what the store had already, so that a machine with a full store fills an empty cache.
    pub(super) fn offer_all(&self) -> Result<()> {
        let made = self.done.iter().filter_map(|(name, slot)| Some((*name, slot.lock().ok()?.clone()?)));
        for (name, built) in made.chain(self.only_foreseen()) {
            self.offer(self.step(name)?, &built);
        }
        Ok(())
    }

    /// Offers a success to the shared cache.
    pub(super) fn offer(&self, step: &Step, built: &Built) {
        if step.recipe.declared().is_some() || !built.hermetic {
            return;
        }
        let trace = SharedTrace { step: step.name.clone(), id: built.id, fields: built.fields.clone() };
        let with_object = step.recipe.network().is_none();
        // What was only foreseen is not here to be uploaded.
        if let Some(offers) =
            self.offers.as_ref().filter(|_| !with_object || self.engine.store.object(built.id).is_some())
        {
            // Nobody listens any more when uploading has failed.
            let _ = offers.send(Offer { trace, with_object });
        }
    }

    /// Without network: every download that would be needed, in one message.
    pub(super) fn require_offline(&self, goals: &[&'a str]) -> Result<()> {
        let mut missing = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = goals.to_vec();
        while let Some(name) = open.pop() {
            let step = self.step(name)?;
            if !seen.insert(name) || self.is_to_be_had(step)? {
                continue;
            }
            if let Some(what) = step.recipe.network()
                && self.hit(step, self.engine.fields(step, &[])?).is_none()
                && !step.recipe.is_at_hand(&self.engine.workspace.vendor())
            {
                missing.push(format!("\n  {what}"));
            }
            open.extend(step.inputs.iter().map(|(_, input)| input.as_str()));
        }
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort();
        bail!(
            "failed to build offline: {} of the inputs are not in the store:{}\nhint: run once without --offline, or put the files into vendor/",
            missing.len(),
            missing.concat()
        )
    }
}
