//! Where a machine's console is shown: on a stream of ours, and in a file if one is asked for.

use std::fs::File;
use std::io::{self, Write};

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::qemu::Screen;
use crate::report::Reporter;

/// The console as it comes: a prompt without a newline must be seen, too.
pub struct Console<'a> {
    stream: Box<dyn Write>,
    transcript: Option<(Utf8PathBuf, File)>,
    last: u8,
    reporter: &'a Reporter,
}

impl<'a> Console<'a> {
    /// Shows it on `stream`. The transcript's file is made anew.
    pub fn new(stream: Box<dyn Write>, transcript: Option<&Utf8Path>, reporter: &'a Reporter) -> Result<Self> {
        let create = |path: &Utf8Path| {
            let file = File::create(path).with_context(|| format!("failed to write `{path}`"))?;
            anyhow::Ok((path.to_owned(), file))
        };
        Ok(Self { stream, transcript: transcript.map(create).transpose()?, last: b'\n', reporter })
    }

    /// The machine may end in the middle of a line; what follows on the terminal is not its.
    pub fn end_line(&mut self) {
        if self.last != b'\n' {
            // Whoever has closed the stream does not miss the end of a line.
            let _ = self.stream.write_all(b"\n").and_then(|()| self.stream.flush());
            self.last = b'\n';
        }
    }
}

impl Screen for Console<'_> {
    fn say(&mut self, line: &str) {
        self.end_line();
        self.reporter.say(line);
    }
}

impl Write for Console<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_bytes = self.stream.write(bytes)?;
        self.stream.flush()?;
        let written = bytes.get(..n_bytes).unwrap_or_default();
        self.last = written.last().copied().unwrap_or(self.last);
        if let Some((path, file)) = &mut self.transcript {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("failed to write `{path}`: {error}"));
            file.write_all(written).map_err(named)?;
        }
        Ok(n_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
