//! `cargo xtask sign`: signs a finished image, or checks its signature; makes the keys for it.

use anyhow::{Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::cli::SignArgs;
use crate::session::Session;
use crate::signature::{self, Pair};
use crate::{report, workspace};

/// Does the one thing of the three that was asked for. Nothing is built: what is there is signed.
pub fn run(session: &Session, args: &SignArgs) -> Result<()> {
    if let Some(path) = &args.new_key {
        return new_key(session, path);
    }
    let folder = folder(session, &args.image)?;
    if let Some(key) = &args.verify_key {
        let key = signature::public_key(key)?;
        let (n_files, comment) = signature::check_folder(&folder, &key, name(&args.image))?;
        report::print(&format!("{folder}: {n_files} files are as signed: {comment}\n"));
    }
    if let Some(key) = &args.key {
        let path = signature::sign_folder(&folder, &signature::secret_key(key)?)?;
        report::print(&format!("{path}\n"));
    }
    Ok(())
}

/// The image's name, if it is no path.
fn name(image: &str) -> Option<&str> {
    (!image.contains('/') && !image.starts_with('.')).then_some(image)
}

/// A name is that of an image of this checkout; a path is a folder.
fn folder(session: &Session, image: &str) -> Result<Utf8PathBuf> {
    let folder = name(image).map_or_else(|| Utf8PathBuf::from(image), |name| session.workspace.output(name));
    if !folder.is_dir() {
        bail!(
            "there is no folder `{folder}`\n\
             hint: give the folder of an image that was built, or the name of one that `cargo xtask image NAME` has built here"
        );
    }
    Ok(folder)
}

fn new_key(session: &Session, path: &Utf8Path) -> Result<()> {
    let store = workspace::store_root()?;
    let forbidden = [("the checkout", session.workspace.root()), ("the store", store.as_path())];
    let Pair { secret, public, text } = signature::new_key(path, &forbidden)?;
    report::print(&format!("{secret}: keep it secret\n{public}: give it to everybody; it is {text}\n"));
    Ok(())
}
