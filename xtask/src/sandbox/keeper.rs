//! Ends the tools of an xtask that was killed.
//!
//! Bubblewrap dies with its parent, and the first process inside with bubblewrap; but that one only asks for it when all walls are
//! up. Killed before, xtask would leave it behind: waiting for ever, or at work for nobody. So a shell outlives xtask for a moment.
//! It is told of every process group that starts and ends, and kills those that are left when xtask's end of the pipe closes.
//! It must never get hold of xtask's own output: who reads that waits for its end.

use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Lines are `+ GROUP` and `- GROUP`.
const SCRIPT: &str = "\
while read sign group; do
  case $sign in
  +) groups=\"$groups $group \" ;;
  -) case $groups in *\" $group \"*) groups=\"${groups%% $group *} ${groups#* $group }\" ;; esac ;;
  esac
done
for group in $groups; do kill -s KILL -- \"-$group\"; done";

/// What the shell is told by.
pub struct Keeper(PipeWriter);

impl Keeper {
    /// The one of this process; it starts with the first tool.
    pub fn of_this_process() -> Result<&'static Self, io::Error> {
        static KEEPER: LazyLock<io::Result<Keeper>> = LazyLock::new(Keeper::start);
        KEEPER.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
    }

    fn start() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new("/bin/sh");
        // In a group of its own, so that Ctrl-C does not end it before its time.
        command.args(["-c", SCRIPT]).env_clear().current_dir("/").process_group(0);
        command.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self(writer))
    }

    /// Says that the process group `group` starts. Safe between fork and exec.
    pub fn begins(&self, group: u32) -> io::Result<()> {
        self.tell(b'+', group)
    }

    /// Says that a group has ended; before its leader is waited for, while the number is still its own.
    pub fn ends(&self, group: u32) {
        // A keeper that is gone has nothing to remember.
        let _ = self.tell(b'-', group);
    }

    /// Without memory from the heap: between fork and exec another thread may hold its lock.
    fn tell(&self, sign: u8, mut group: u32) -> io::Result<()> {
        let mut line = *b"+ 0000000000\n";
        line[0] = sign;
        let mut end = line.len() - 1;
        while group > 0 && end > 2 {
            end -= 1;
            line[end] = b'0' + (group % 10) as u8;
            group /= 10;
        }
        // `kill` would take leading zeros for another number.
        line[2..end].fill(b' ');
        rustix::io::write(&self.0, &line)?;
        Ok(())
    }
}
