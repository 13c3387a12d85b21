//! What the cache promises, by name, with recipes that write what they are told.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use std::fs;
use std::sync::atomic::Ordering;

use camino::Utf8PathBuf;

use super::files::expand_tree;
use super::*;
use crate::packages::Cut;
use crate::report;
use crate::sandbox::ToolFailed;
use crate::steps::Job;
use crate::steps::program::{GoProgram, RustProgram};
use crate::steps::{FileInput, Recipe, write};
use crate::store::Access;

/// Writes `text` and the content of its inputs, and counts its runs.
#[derive(Clone, Default)]
struct Text {
    text: String,
    n_runs: Arc<AtomicU32>,
    /// Makes this instead of what it says, so that the key alone does not tell the output.
    always: Option<String>,
    declared: Option<ArtifactId>,
    network: Option<String>,
    at_hand: bool,
    file: Option<FileInput>,
    fails: bool,
    /// What it makes is another thing each time.
    varies: bool,
    /// A store whose disk is found full while this runs, beside a tool that says nothing of it.
    full: Option<Utf8PathBuf>,
}

impl Recipe for Text {
    fn name(&self) -> &'static str {
        "text 1"
    }
    fn describe(&self, fields: &mut Fields) {
        fields.set("text", &self.text);
    }
    fn declared(&self) -> Option<ArtifactId> {
        self.declared
    }
    fn network(&self) -> Option<String> {
        self.network.clone()
    }
    fn is_at_hand(&self, _vendor: &Utf8Path) -> bool {
        self.at_hand
    }
    fn tools(&self) -> Vec<ToolName> {
        self.full.iter().map(|_| "sh").collect()
    }
    fn files(&self) -> Vec<FileInput> {
        self.file.clone().into_iter().collect()
    }
    fn run(&self, job: &Job<'_>) -> Result<()> {
        let n_before = self.n_runs.fetch_add(1, Ordering::SeqCst);
        job.sandbox.note("a line of the log");
        if let Some(root) = &self.full {
            Store::open(root, Access::Shared)?.met_full_disk();
        }
        if self.fails {
            let status = std::os::unix::process::ExitStatusExt::from_raw(3 << 8);
            return Err(ToolFailed { program: "cc".to_owned(), status, full_disk: None }.into());
        }
        let mut text = self.always.clone().unwrap_or_else(|| self.text.clone());
        for (role, path) in &job.inputs {
            text.push_str(&format!(" {role}={}", fs::read_to_string(path)?));
        }
        if self.varies {
            text.push_str(&n_before.to_string());
        }
        if let Some(file) = &self.file {
            text.push_str(&fs::read_to_string(job.files.join(&file.name))?);
        }
        write(job.out, text)
    }
}

fn text(text: &str) -> Text {
    Text { text: text.to_owned(), ..Text::default() }
}

fn step(name: &str, recipe: &Text, inputs: &[&str]) -> Step {
    let inputs = inputs.iter().map(|input| ((*input).to_owned(), (*input).to_owned())).collect();
    Step { name: name.to_owned(), recipe: Box::new(recipe.clone()), inputs }
}

/// A checkout and a store of its own.
struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    workspace: Workspace,
    reporter: Reporter,
    cores: jobserver::Client,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let store = Store::open(&root.join("store"), Access::Shared).unwrap();
        let workspace = Workspace::at(root);
        Self { store, workspace, reporter: Reporter::new(false), cores: jobserver::Client::new(2).unwrap(), folder }
    }

    fn build_as(&self, offline: bool, steps: Vec<Step>, goal: &str) -> Result<String> {
        Ok(self.build_all(offline, steps, &[goal])?.remove(0))
    }

    fn build_all(&self, offline: bool, steps: Vec<Step>, goals: &[&str]) -> Result<Vec<String>> {
        let toolbox = Toolbox::open(&self.store);
        let engine = Engine {
            workspace: &self.workspace,
            image: "test",
            store: &self.store,
            toolbox: &toolbox,
            reporter: &self.reporter,
            cores: &self.cores,
            walls: Walls::of_this_host(),
            preload: None,
            offline,
            cache: None,
        };
        let report = engine.build(&Graph::new(steps)?, goals)?;
        let read = |goal: &&str| fs::read_to_string(self.store.object(report.built[*goal].id).unwrap());
        Ok(goals.iter().map(read).collect::<Result<_, _>>()?)
    }

    fn build(&self, steps: Vec<Step>, goal: &str) -> Result<String> {
        self.build_as(false, steps, goal)
    }

    /// What a step was recorded to have made.
    fn trace_of(&self, step: &str) -> Trace {
        let mut traces = self.store.traces().unwrap().into_iter().filter_map(|key| self.store.trace(key));
        traces.find(|trace| trace.step == step).unwrap()
    }

    fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }
}

fn runs(recipe: &Text) -> u32 {
    recipe.n_runs.load(Ordering::SeqCst)
}

#[test]
fn a_second_build_runs_nothing() {
    let (bench, a, b) = (Bench::new(), text("a"), text("b"));
    let steps = || vec![step("a", &a, &[]), step("b", &b, &["a"])];
    assert_eq!(bench.build(steps(), "b").unwrap(), "b a=a");
    assert_eq!(bench.build(steps(), "b").unwrap(), "b a=a");
    assert_eq!((runs(&a), runs(&b)), (1, 1));
}

#[test]
fn a_changed_step_rebuilds_what_follows_it_and_nothing_else() {
    let (bench, a, other, b) = (Bench::new(), text("a"), text("other"), text("b"));
    let steps = |a: &Text| vec![step("a", a, &[]), step("other", &other, &[]), step("b", &b, &["a", "other"])];
    bench.build(steps(&a), "b").unwrap();
    assert_eq!(bench.build(steps(&text("a2")), "b").unwrap(), "b a=a2 other=other");
    assert_eq!((runs(&other), runs(&b)), (1, 2));
}

#[test]
fn an_unchanged_output_stops_the_rebuild_of_what_follows() {
    let (bench, b) = (Bench::new(), text("b"));
    let a = |text: &str| Text { text: text.to_owned(), always: Some("same".to_owned()), ..Text::default() };
    let steps = |a: &Text| vec![step("a", a, &[]), step("b", &b, &["a"])];
    let (first, second) = (a("one"), a("two"));
    bench.build(steps(&first), "b").unwrap();
    bench.build(steps(&second), "b").unwrap();
    assert_eq!((runs(&first), runs(&second), runs(&b)), (1, 1, 1));
}

#[test]
fn a_declared_output_asks_for_no_input_while_the_store_has_it() {
    let (bench, archive) = (Bench::new(), text("archive"));
    let tree = declared(&bench, "t", "t archive=archive");
    let steps = || vec![step("archive", &archive, &[]), step("tree", &tree, &["archive"])];
    bench.build(steps(), "tree").unwrap();
    bench.build(steps(), "tree").unwrap();
    assert_eq!((runs(&archive), runs(&tree)), (1, 1));
}

/// As after damage to its trace, or under another name of the recipe; the archive was collected.
#[test]
fn a_declared_output_that_no_trace_names_is_taken_if_it_is_whole() {
    let (bench, archive) = (Bench::new(), Text { network: Some("an archive".to_owned()), ..text("archive") });
    let tree = declared(&bench, "t", "t archive=archive");
    let steps = || vec![step("archive", &archive, &[]), step("tree", &tree, &["archive"])];
    bench.build(steps(), "tree").unwrap();
    let forget = || {
        bench.store.traces().unwrap().into_iter().for_each(|key| bench.store.forget(key));
        bench.store.objects().unwrap().into_iter().filter(|id| Some(*id) != tree.declared).for_each(|id| {
            bench.store.discard(id).unwrap();
        });
    };
    for offline in [true, false] {
        forget();
        assert_eq!(bench.build_as(offline, steps(), "tree").unwrap(), "t archive=archive");
        assert_eq!((runs(&archive), runs(&tree), bench.store.traces().unwrap().len()), (1, 1, 1));
    }
    forget();
    damage(&bench, tree.declared.unwrap());
    assert_eq!(bench.build(steps(), "tree").unwrap(), "t archive=archive");
    assert_eq!((runs(&archive), runs(&tree)), (2, 2));
}

/// A recipe that says `says` and is known to make `content`.
fn declared(bench: &Bench, says: &str, content: &str) -> Text {
    let path = bench.root().join("content");
    fs::write(&path, content).unwrap();
    Text { declared: Some(artifact::hash_path(&path).unwrap()), ..text(says) }
}

fn damage(bench: &Bench, id: ArtifactId) {
    let object = bench.store.object(id).unwrap();
    artifact::remove(&object).unwrap();
    fs::write(object, "evil").unwrap();
}

#[test]
fn all_that_is_handed_out_is_made_of_what_is_handed_out_beside_it() {
    let (bench, other) = (Bench::new(), text("other"));
    let (a, b) = (Text { varies: true, ..text("a") }, text("b"));
    let steps = || vec![step("a", &a, &[]), step("other", &other, &[]), step("b", &b, &["a", "other"])];
    let goals = ["b", "a"];
    assert_eq!(bench.build_all(false, steps(), &goals).unwrap(), ["b a=a0 other=other", "a0"]);
    // `b` can be had by what `a` was; then the one that `a` is now is damaged, and made anew.
    damage(&bench, bench.trace_of("a").id);
    assert_eq!(bench.build_all(false, steps(), &goals).unwrap(), ["b a=a1 other=other", "a1"]);
    // Nor if that is known only when another input is made again.
    damage(&bench, bench.trace_of("a").id);
    bench.store.forget(bench.trace_of("other").fields.key());
    assert_eq!(bench.build_all(false, steps(), &goals).unwrap(), ["b a=a2 other=other", "a2"]);
    assert_eq!((runs(&a), runs(&b), runs(&other)), (3, 3, 2));
}

#[test]
fn an_output_that_is_not_the_declared_one_is_refused_with_both_hashes() {
    let (bench, other) = (Bench::new(), Fields::default().key().to_string().parse().unwrap());
    let tree = Text { declared: Some(other), ..text("t") };
    let error = format!("{:#}", bench.build(vec![step("tree", &tree, &[])], "tree").unwrap_err());
    assert!(error.contains(&format!("Expected: {other}")) && error.contains("Computed: "), "{error}");
    assert_eq!(bench.store.traces().unwrap(), []);
}

#[test]
fn a_damaged_input_is_found_and_made_again_before_it_is_read() {
    let (bench, a) = (Bench::new(), text("a"));
    bench.build(vec![step("a", &a, &[])], "a").unwrap();
    damage(&bench, bench.store.objects().unwrap()[0]);
    assert_eq!(bench.build(vec![step("a", &a, &[]), step("b", &text("b"), &["a"])], "b").unwrap(), "b a=a");
    assert_eq!(runs(&a), 2);
}

#[test]
fn a_failure_names_the_step_shows_the_log_and_keeps_what_was_finished() {
    let (bench, a) = (Bench::new(), text("a"));
    let bad = Text { fails: true, ..text("bad") };
    let steps = || vec![step("a", &a, &[]), step("bad", &bad, &["a"])];
    let error = format!("{:#}", bench.build(steps(), "bad").unwrap_err());
    for part in ["failed to make `bad`", "`cc` failed with exit status: 3", "| a line of the log", "the whole log: "] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert!(bench.build(steps(), "bad").is_err());
    assert_eq!((runs(&a), runs(&bad)), (1, 2));
}

/// The other store is what another process has of the same one.
#[test]
fn what_a_tool_made_while_somebody_met_the_full_disk_is_not_taken() {
    let bench = Bench::new();
    let beside = |root: &str| Text { full: Some(bench.root().join(root)), ..text("a") };
    let error = report::render(&bench.build(vec![step("a", &beside("store"), &[])], "a").unwrap_err());
    assert!(error.contains("the disk of the store is full") && error.contains("said that it had succeeded"), "{error}");
    assert_eq!(bench.store.traces().unwrap(), []);
    // It is no reason to refuse what is made later, or beside another store.
    assert_eq!(bench.build(vec![step("a", &beside("other"), &[])], "a").unwrap(), "a");
}

#[test]
fn nothing_is_left_in_tmp() {
    let bench = Bench::new();
    bench.build(vec![step("a", &text("a"), &[])], "a").unwrap();
    let _ = bench.build(vec![step("bad", &Text { fails: true, ..text("bad") }, &[])], "bad");
    assert_eq!(fs::read_dir(bench.store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn offline_lists_everything_that_is_missing_and_runs_nothing() {
    let bench = Bench::new();
    let fetch = |name: &str| Text { network: Some(format!("the file {name}")), ..text(name) };
    let (one, two, plain) = (fetch("one"), fetch("two"), text("plain"));
    let steps = || {
        vec![
            step("one", &one, &[]),
            step("two", &two, &[]),
            step("plain", &plain, &[]),
            step("all", &text("all"), &["one", "two", "plain"]),
        ]
    };
    let error = bench.build_as(true, steps(), "all").unwrap_err().to_string();
    assert!(error.contains("the file one\n  the file two") && error.contains("2 of the inputs"), "{error}");
    assert_eq!(runs(&plain), 0);
    bench.build(steps(), "all").unwrap();
    assert!(bench.build_as(true, steps(), "all").is_ok());
}

#[test]
fn offline_takes_what_is_at_hand() {
    let fetch = Text { network: Some("a file".to_owned()), at_hand: true, ..text("x") };
    assert_eq!(Bench::new().build_as(true, vec![step("x", &fetch, &[])], "x").unwrap(), "x");
}

#[test]
fn files_count_by_content_not_by_time_or_place() {
    let (bench, path) = (Bench::new(), |bench: &Bench, name: &str| bench.root().join(name));
    let recipe = |path: Utf8PathBuf, n_runs: &Arc<AtomicU32>| Text {
        file: Some(FileInput { name: "main.rs".into(), path }),
        n_runs: n_runs.clone(),
        ..text("x")
    };
    let n_runs = Arc::default();
    fs::write(path(&bench, "one"), "content").unwrap();
    fs::write(path(&bench, "two"), "content").unwrap();
    for name in ["one", "two"] {
        let built = bench.build(vec![step("x", &recipe(path(&bench, name), &n_runs), &[])], "x");
        assert_eq!(built.unwrap(), "xcontent");
    }
    assert_eq!(n_runs.load(Ordering::SeqCst), 1);
    fs::write(path(&bench, "two"), "changed").unwrap();
    bench.build(vec![step("x", &recipe(path(&bench, "two"), &n_runs), &[])], "x").unwrap();
    assert_eq!(n_runs.load(Ordering::SeqCst), 2);
}

#[test]
fn two_builds_at_once_make_a_step_once() {
    let (bench, a) = (Bench::new(), text("a"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| bench.build(vec![step("a", &a, &[])], "a").unwrap());
        }
    });
    assert_eq!(runs(&a), 1);
}

#[test]
fn what_was_built_is_remembered_for_why() {
    let bench = Bench::new();
    for value in ["one", "two"] {
        bench.build(vec![step("a", &text(value), &[])], "a").unwrap();
    }
    let last = last_build(&bench.workspace.last_build("test", "a"));
    let changes = last.newest.unwrap().changes_since(&last.before.unwrap());
    assert_eq!(changes, [crate::key::Change::Changed("text".into(), "one".into(), "two".into())]);
}

#[test]
fn hidden_files_and_backups_are_no_inputs_nor_is_target_of_a_rust_program() {
    let bench = Bench::new();
    for name in ["app/src/main.rs", "app/src/target/mod.rs", "app/target/debug/app", "app/.swp", "app/src/main.rs~"] {
        let path = bench.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let check = |recipe: Box<dyn Recipe>, expect: &[&str]| {
        let files = read_files(&Step { name: "program".to_owned(), recipe, inputs: Vec::new() }).unwrap();
        assert_eq!(files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expect);
    };
    let folder = bench.root().join("app");
    let sources = vec![FileInput { name: "app".into(), path: folder.clone() }];
    let cut = Cut {
        package: "app".to_owned(),
        root_manifest: String::new(),
        members: Vec::new(),
        lock: String::new(),
        crates: Vec::new(),
        fetch_project: Default::default(),
    };
    check(Box::new(RustProgram { cut, sources, is_plain: false }), &["app/src/main.rs", "app/src/target/mod.rs"]);
    // A package of Go's may have any name.
    check(
        Box::new(GoProgram { folder, shown: "app".to_owned() }),
        &["module/src/main.rs", "module/src/target/mod.rs", "module/target/debug/app"],
    );
}

#[test]
fn of_what_the_user_packs_everything_counts() {
    let bench = Bench::new();
    for name in ["site/a/x", "site/a.b", "site/.hidden", "site/x~", "site/target/x"] {
        let path = bench.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    fs::create_dir_all(bench.root().join("site/empty/er")).unwrap();
    std::os::unix::fs::symlink("absent", bench.root().join("site/link")).unwrap();
    let expand = |path: &str| expand_tree(Utf8Path::new("1"), &bench.root().join(path)).unwrap();
    let names = |path: &str| expand(path).iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names("site"), ["1/.hidden", "1/a.b", "1/a/x", "1/empty/er", "1/link", "1/target/x", "1/x~"]);
    assert_eq!((names("site/a.b"), names("site/empty/er")), (vec!["1".to_owned()], vec!["1".to_owned()]));
    let ids = || expand("site").iter().map(|(_, path)| artifact::hash_path(path).unwrap()).collect::<Vec<_>>();
    let before = ids();
    fs::remove_file(bench.root().join("site/link")).unwrap();
    std::os::unix::fs::symlink("other", bench.root().join("site/link")).unwrap();
    assert_eq!(ids().iter().zip(&before).filter(|(now, before)| now != before).count(), 1);
}

#[test]
fn a_link_among_the_files_counts_by_what_it_leads_to() {
    let bench = Bench::new();
    fs::write(bench.root().join("real"), "content").unwrap();
    std::os::unix::fs::symlink("real", bench.root().join("link")).unwrap();
    let file = FileInput { name: "link".into(), path: bench.root().join("link") };
    let recipe = Text { file: Some(file), ..text("x") };
    assert_eq!(bench.build(vec![step("x", &recipe, &[])], "x").unwrap(), "xcontent");
}
