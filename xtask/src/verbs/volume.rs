//! `cargo xtask volume`: makes a disk file with an empty file system.

use anyhow::Result;

use crate::cli::VolumeArgs;
use crate::disk::{self, Disk, Interrupted};
use crate::session::Session;
use crate::store::Access;
use crate::{doctor, report};

/// As a shell's status after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Makes the file, and says what to write into a spec.
pub fn run(session: &Session, args: &VolumeArgs) -> Result<u8> {
    let disk = Disk::new(args.size, args.kind.into(), args.label.as_deref(), args.uuid.as_deref())?;
    doctor::require(&[disk.tool()].into(), session.policy, &session.reporter)?;
    let store = session.store(Access::Shared)?;
    match disk::make(&disk, &args.file, &store) {
        Ok(()) => report::print(&format!("{}: {disk}\n", args.file)),
        Err(error) if error.is::<Interrupted>() => {
            session.reporter.say(&error.to_string());
            return Ok(INTERRUPTED);
        }
        Err(error) => return Err(error),
    }
    Ok(0)
}
