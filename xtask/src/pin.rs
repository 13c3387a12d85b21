//! A new version of a pin: what its archives hash to, whether they are one and the same tree, and what nobody could check.
//!
//! Every source is asked anew, also where the version stays the same. A hash that was neither computed here nor signed by
//! somebody is never written for a new version. These rooms change no file: they say what would be in it.

use std::fs;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use self::compare::differences;
use self::signed::Signer;
use self::urls::Candidate;
use crate::artifact;
use crate::key::ArtifactId;
use crate::lock::{Pin, Source};
use crate::report::StepProgress;
use crate::steps::fetch::{self, Limits, Try};
use crate::steps::unpack::{self, Selection};

pub mod compare;
pub mod diff;
pub mod edit;
pub mod library;
pub mod signed;
pub mod urls;

/// A list of checksums that somebody signed.
pub struct SignedList<'a> {
    /// Where it is.
    pub url: String,
    /// Whose signature it has to have.
    pub signer: Signer<'a>,
}

/// What to look at.
pub struct Question<'a> {
    /// The pin as it is.
    pub pin: &'a Pin,
    /// The version that is asked for.
    pub version: &'a str,
    /// Where it may be had.
    pub candidates: Vec<Candidate>,
    /// Who else says what its archives hash to.
    pub signed: Option<SignedList<'a>>,
    /// An empty folder on a disk with room for two unpacked trees.
    pub work: &'a Utf8Path,
    /// Where cut downloads are kept.
    pub downloads: &'a Utf8Path,
    /// How long to wait.
    pub limits: Limits,
    /// Tells the user how far it is.
    pub progress: &'a StepProgress,
}

/// What came of it.
#[derive(Debug)]
pub struct Answer {
    /// The sources to write, in order.
    pub sources: Vec<Source>,
    /// The tree that they unpack to.
    pub tree: ArtifactId,
    /// What was seen to hold.
    pub verified: Vec<String>,
    /// What was not, and why.
    pub unverified: Vec<String>,
    /// The first archive that could be had.
    pub archive: Utf8PathBuf,
}

/// An archive that could be had.
struct Got {
    url: String,
    sha256: String,
    tree: ArtifactId,
    /// The unpacked tree; only the first one stays.
    folder: Utf8PathBuf,
    archive: Utf8PathBuf,
}

impl Question<'_> {
    /// Downloads and unpacks everything that can be reached, and compares.
    pub fn answer(&self) -> Result<Answer> {
        let signed = self.signed.as_ref().map(|list| self.read_signed(list)).transpose()?;
        let (mut got, mut missed, mut problems) = (Vec::<Got>::new(), Vec::new(), Vec::new());
        for (index, candidate) in self.candidates.iter().enumerate() {
            match self.get(index, candidate)? {
                Ok(one) => {
                    problems.extend(self.contradiction(candidate, &one, got.first(), signed.as_ref())?);
                    if !got.is_empty() {
                        artifact::remove(&one.folder)?;
                        artifact::remove(&one.archive)?;
                    }
                    got.push(one);
                }
                Err(why) => {
                    let listed = self.signed_hash(&candidate.url, signed.as_ref());
                    if let (Some(pinned), Some(listed)) =
                        (&candidate.pinned, listed.filter(|one| Some(one) != candidate.pinned.as_ref()))
                    {
                        problems.push(format!(
                            "{}: the signed list has another hash than the pin of this very version\n    Expected: {listed}\n    Pinned:   {pinned}",
                            candidate.url
                        ));
                    }
                    missed.push((candidate, why));
                }
            }
        }
        if !problems.is_empty() {
            bail!("failed to pin {}: nothing was changed\n  {}", self.version, problems.join("\n  "));
        }
        self.conclude(&got, &missed, signed.as_ref())
    }

    /// One archive, from the first mirror that has it.
    fn get(&self, index: usize, candidate: &Candidate) -> Result<Result<Got, String>> {
        let (candidates, notes) = fetch::expand(&[(candidate.url.clone(), String::new())]);
        let archive = self.work.join(format!("archive-{index}"));
        let mut why: Vec<String> = notes.into_iter().map(|note| note.why).collect();
        for place in candidates {
            let report = |what: &str, done, total| self.progress.bytes(what, done, total);
            match fetch::fetch_unknown(&place.url, self.downloads, &archive, &report, &self.limits)? {
                Ok(fetched) => {
                    let (folder, tree) = self.unpack(index, &archive, &candidate.url)?;
                    return Ok(Ok(Got { url: candidate.url.clone(), sha256: fetched.sha256, tree, folder, archive }));
                }
                Err(Try { url, why: cause }) if url == candidate.url => why.push(cause),
                Err(Try { url, why: cause }) => why.push(format!("{url}: {cause}")),
            }
        }
        Ok(Err(why.join("; ")))
    }

    fn unpack(&self, index: usize, archive: &Utf8Path, url: &str) -> Result<(Utf8PathBuf, ArtifactId)> {
        let folder = self.work.join(format!("tree-{index}"));
        let Pin { root, leave_out, keep, .. } = self.pin;
        let report = |done, total| self.progress.bytes("unpacking", done, Some(total));
        let unpacked = unpack::unpack(archive, &Selection { root, leave_out, keep }, &folder, &report)
            .with_context(|| format!("failed to use `{url}`"))?;
        if unpacked.n_files == 0 {
            bail!("failed to use `{url}`: the archive holds nothing below `{root}`");
        }
        self.progress.now("hashing what was unpacked");
        artifact::normalise(&folder)?;
        let tree = artifact::hash_path(&folder)?;
        Ok((folder, tree))
    }

    /// What speaks against an archive: the pin's own hash, a signed one, another archive's tree.
    fn contradiction(
        &self,
        candidate: &Candidate,
        got: &Got,
        first: Option<&Got>,
        signed: Option<&Result<String, String>>,
    ) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        let mut compare = |who: &str, expected: &str| {
            if expected != got.sha256 {
                problems.push(format!(
                    "{}: {who} another hash\n    Expected: {expected}\n    Computed: {}",
                    got.url, got.sha256
                ));
            }
        };
        if let Some(expected) = &candidate.pinned {
            compare("the pin of this very version has", expected);
        }
        if let Some(expected) = self.signed_hash(&got.url, signed) {
            compare("the signed list has", &expected);
        }
        if let Some(first) = first.filter(|first| first.tree != got.tree) {
            let list = differences(&first.folder, &got.folder)?;
            problems.push(format!(
                "{} and {} unpack to different trees:\n    {}\n    hint: a path that no image needs can go into `leave-out`",
                first.url,
                got.url,
                list.join("\n    ")
            ));
        }
        Ok(problems)
    }

    /// The text of the signed list, or why there is none. A list whose signature is wrong is an error: somebody lies.
    fn read_signed(&self, list: &SignedList<'_>) -> Result<Result<String, String>> {
        let file = self.work.join("signed");
        let report = |what: &str, done, total| self.progress.bytes(what, done, total);
        match fetch::fetch_unknown(&list.url, self.downloads, &file, &report, &self.limits)? {
            Err(Try { url, why }) => Ok(Err(format!("{url}: {why}"))),
            Ok(_) => {
                list.signer.text(&file, self.work).map(Ok).with_context(|| format!("failed to believe `{}`", list.url))
            }
        }
    }

    /// What the signed list says of the archive at `url`, which has to be beside the list.
    fn signed_hash(&self, url: &str, signed: Option<&Result<String, String>>) -> Option<String> {
        let (folder, _) = self.signed.as_ref()?.url.rsplit_once('/')?;
        let name = url.strip_prefix(folder)?.strip_prefix('/')?;
        signed::listed(signed?.as_ref().ok()?, name)
    }

    fn conclude(
        &self,
        got: &[Got],
        missed: &[(&Candidate, String)],
        signed: Option<&Result<String, String>>,
    ) -> Result<Answer> {
        let Some(first) = got.first() else {
            let lines: Vec<_> = missed.iter().map(|(candidate, why)| format!("{}: {why}", candidate.url)).collect();
            bail!("failed to pin {}: none of its sources could be reached\n  {}", self.version, lines.join("\n  "));
        };
        let mut answer = Answer {
            sources: Vec::new(),
            tree: first.tree,
            verified: Vec::new(),
            unverified: Vec::new(),
            archive: first.archive.clone(),
        };
        for candidate in &self.candidates {
            let why = missed.iter().find(|(missed, _)| missed.url == candidate.url).map(|(_, why)| why.as_str());
            let got = got.iter().find(|got| got.url == candidate.url);
            self.settle(candidate, got, why.unwrap_or("not reached"), signed, &mut answer);
        }
        self.say_of_guesses(got, missed, &mut answer);
        self.say_of_trees(got, &mut answer);
        self.say_of_signature(signed, &mut answer);
        Ok(answer)
    }

    /// Which hash a source gets, if any, and on whose word.
    fn settle(
        &self,
        candidate: &Candidate,
        got: Option<&Got>,
        why: &str,
        signed: Option<&Result<String, String>>,
        answer: &mut Answer,
    ) {
        let (url, pinned) = (&candidate.url, candidate.pinned.as_ref());
        let signed_hash = self.signed_hash(url, signed);
        let (sha256, consequence) = if let Some(got) = got {
            let same = if pinned.is_some() { "; it is the pinned one" } else { "" };
            answer.verified.push(format!("{url}: downloaded, unpacked; sha256 {}{same}", got.sha256));
            answer.verified.extend(signed_hash.map(|_| format!("{url}: the signed list has this hash")));
            (Some(got.sha256.clone()), None)
        } else if let Some(sha256) = signed_hash {
            (Some(sha256), Some("its hash is the signed list's, its tree was compared with nothing"))
        } else if let Some(sha256) = pinned {
            (Some(sha256.clone()), Some("its hash stays, for the version is the same"))
        } else {
            (None, (!candidate.is_guess).then_some("left out, for nobody says its hash"))
        };
        answer.unverified.extend(consequence.map(|consequence| format!("{url}: {why}; {consequence}")));
        answer.sources.extend(sha256.map(|sha256| Source { url: url.clone(), sha256 }));
    }

    /// Of several names that a source's archive may have, most are nowhere. Only if none is there, the source is lost, and said.
    fn say_of_guesses(&self, got: &[Got], missed: &[(&Candidate, String)], answer: &mut Answer) {
        let mut guesses = missed.iter().filter(|(candidate, _)| candidate.is_guess);
        let is_got = |candidate: &Candidate| got.iter().any(|got| got.url == candidate.url);
        if self.candidates.iter().any(|candidate| candidate.is_guess && is_got(candidate)) {
            return;
        }
        if let Some((candidate, why)) = guesses.next() {
            let (url, n_others) = (&candidate.url, guesses.count());
            answer.unverified.push(format!("{url}: {why}; left out, with {n_others} other names that were tried"));
        }
    }

    fn say_of_trees(&self, got: &[Got], answer: &mut Answer) {
        let tree = answer.tree;
        match got.len() {
            1 => answer
                .unverified
                .push(format!("only one archive could be unpacked: its tree {tree} was compared with no other")),
            n => answer.verified.push(format!("all {n} archives unpack to the tree {tree}")),
        }
        if self.version == self.pin.version && tree == self.pin.tree {
            answer.verified.push("the tree is the pinned one".to_owned());
        }
    }

    fn say_of_signature(&self, signed: Option<&Result<String, String>>, answer: &mut Answer) {
        let (Some(list), Some(signed)) = (&self.signed, signed) else { return };
        match signed {
            Err(why) => answer.unverified.push(format!("the signed list of checksums: {why}")),
            Ok(text) => {
                answer.verified.push(format!("{}: signed by {}", list.url, list.signer.fingerprint));
                let has_one =
                    self.candidates.iter().any(|one| self.signed_hash(&one.url, Some(&Ok(text.clone()))).is_some());
                if !has_one {
                    answer.unverified.push(format!("{}: names no archive of {}", list.url, self.version));
                }
            }
        }
    }
}

/// Takes one file below the pin's root out of an archive, also where the pin keeps it out of the tree.
pub fn read_from_archive(archive: &Utf8Path, pin: &Pin, name: &str, work: &Utf8Path) -> Result<String> {
    let folder = work.join("one");
    artifact::remove(&folder)?;
    let keep = [name.to_owned()];
    unpack::unpack(archive, &Selection { root: &pin.root, leave_out: &[], keep: &keep }, &folder, &|_, _| ())?;
    let path = folder.join(name);
    fs::read_to_string(&path).with_context(|| format!("failed to read `{name}` of the archive"))
}
