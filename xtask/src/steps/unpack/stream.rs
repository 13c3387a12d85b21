//! The decoded data, handed from a thread that decodes to the one that writes the tree.
//!
//! This room must never take a decoder's failure for the end of the data, and never let anything behind the end pass.

use std::io::{self, Cursor, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Cause, damaged};

/// Decodes in a thread of its own while `read` takes what comes out, and checks that the data ends where the archive
/// does. `report` is called whenever some more of it has come.
pub(super) fn with_stream<T>(
    decoder: impl Read + Send,
    report: &dyn Fn(),
    read: impl FnOnce(&mut Stream) -> Result<T, Cause>,
) -> Result<T, Cause> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(N_CHUNKS_AHEAD);
        scope.spawn(move || pump(decoder, &sender));
        let mut stream = Stream { receiver, chunk: Cursor::default(), at_end: false, failure: None, report };
        let result = read(&mut stream).and_then(|value| stream.finish().map(|()| value));
        // A decoder that failed is the reason of whatever the reader says then.
        stream.failure.map_or(result, |failure| Err(Cause::Damaged(failure)))
    })
}

/// In bytes: large enough that handing over costs nothing, small enough for the cache.
const CHUNK_SIZE: u64 = 512 * 1024;
/// Evens out a writer that has to wait for the disk.
const N_CHUNKS_AHEAD: usize = 16;

/// The decoding thread. It ends with the data, with an error, or when nobody listens any more.
fn pump(mut decoder: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_SIZE as usize);
        let message = match decoder.by_ref().take(CHUNK_SIZE).read_to_end(&mut chunk) {
            Ok(0) => return,
            Ok(_) => Ok(chunk),
            Err(error) => Err(error),
        };
        let is_last = message.is_err();
        if sender.send(message).is_err() || is_last {
            return;
        }
    }
}

/// The decoded tar data, as the writing thread reads it.
pub(super) struct Stream<'a> {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Cursor<Vec<u8>>,
    at_end: bool,
    /// What the decoder failed with.
    failure: Option<String>,
    report: &'a dyn Fn(),
}

impl Stream<'_> {
    /// Reads what is behind the last entry, so that every checksum is checked and nothing hides there.
    fn finish(&mut self) -> Result<(), Cause> {
        if self.at_end {
            return Err(Cause::Damaged("it ends without the mark that ends an archive".to_owned()));
        }
        let mut rest = [0; 4096];
        loop {
            match self.read(&mut rest).map_err(damaged)? {
                0 => return Ok(()),
                n if rest[..n].iter().all(|byte| *byte == 0) => {}
                _ => return Err(Cause::Damaged("there is something behind its end".to_owned())),
            }
        }
    }

    /// Waits for the next chunk.
    fn receive(&mut self) -> io::Result<()> {
        match self.receiver.recv() {
            Ok(Ok(chunk)) => self.chunk = Cursor::new(chunk),
            Ok(Err(error)) => {
                self.failure = Some(error.to_string());
                return Err(error);
            }
            Err(_) => self.at_end = true,
        }
        (self.report)();
        Ok(())
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.chunk.read(buffer)?;
            if n > 0 || buffer.is_empty() || self.at_end {
                return Ok(n);
            }
            self.receive()?;
        }
    }
}
