//! The tar data in a file: found by its first bytes, and decoded.
//!
//! This room must never go by a file's name, and never look at what the tar data says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::MtStreamBuilder;
use object::read::ReadCache;
use object::read::archive::ArchiveFile;

use super::{Cause, damaged};

/// Compressed tar data within a file.
pub(super) struct Payload {
    file: File,
    offset: u64,
    length: u64,
    codec: Codec,
}

enum Codec {
    Plain,
    Gzip,
    Xz,
}

/// As far as the magic of tar, which has five bytes at 257 (POSIX.1-1988, ustar).
const MAGIC_LENGTH: u64 = 262;
/// Those five bytes.
const TAR: &[u8] = b"ustar";

impl Payload {
    pub(super) fn find(mut file: File) -> Result<Payload, Cause> {
        let (mut offset, mut length) = (0, file.metadata().map_err(Cause::Read)?.len());
        let mut magic = read_magic(&mut file, offset, length)?;
        if magic.starts_with(b"!<arch>\n") {
            (offset, length) = debian_data(&file)?;
            magic = read_magic(&mut file, offset, length)?;
        }
        Ok(Payload { codec: codec(&magic)?, file, offset, length })
    }

    /// A file that is tar data as a whole.
    pub(super) fn plain(mut file: File) -> Result<Payload, Cause> {
        let length = file.metadata().map_err(Cause::Read)?.len();
        match read_magic(&mut file, 0, length)?.ends_with(TAR) {
            true => Ok(Payload { codec: Codec::Plain, file, offset: 0, length }),
            false => Err(Cause::UnknownFormat),
        }
    }

    /// In bytes, as compressed.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// What is decoded, to be read; `n_read` counts the compressed bytes that went into it.
    pub(super) fn decoder(mut self, n_read: &AtomicU64) -> io::Result<Box<dyn Read + Send + '_>> {
        self.file.seek(SeekFrom::Start(self.offset))?;
        let input = BufReader::with_capacity(READ_SIZE, Counted { inner: self.file.take(self.length), n_read });
        Ok(match self.codec {
            Codec::Plain => Box::new(input),
            Codec::Gzip => Box::new(MultiGzDecoder::new(input)),
            Codec::Xz => Box::new(XzStreams { current: Some(xz_decoder(input)?) }),
        })
    }
}

/// In bytes.
const READ_SIZE: usize = 256 * 1024;

fn read_magic(file: &mut File, offset: u64, length: u64) -> Result<Vec<u8>, Cause> {
    let mut magic = Vec::new();
    file.seek(SeekFrom::Start(offset)).map_err(Cause::Read)?;
    file.take(length.min(MAGIC_LENGTH)).read_to_end(&mut magic).map_err(Cause::Read)?;
    Ok(magic)
}

fn codec(magic: &[u8]) -> Result<Codec, Cause> {
    match magic {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Codec::Xz),
        [0x1f, 0x8b, ..] => Ok(Codec::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(Cause::Zstd),
        _ if magic.ends_with(TAR) => Ok(Codec::Plain),
        _ => Err(Cause::UnknownFormat),
    }
}

/// Offset and length of a Debian package's file tree (deb(5)).
fn debian_data(file: &File) -> Result<(u64, u64), Cause> {
    let cache = ReadCache::new(file);
    let package = ArchiveFile::parse(&cache).map_err(damaged)?;
    for member in package.members() {
        let member = member.map_err(damaged)?;
        if member.name().starts_with(b"data.tar") {
            return Ok(member.file_range());
        }
    }
    Err(Cause::NoData)
}

/// Blocks are decoded apart where the archive has several (each of 24 MiB in what `xz -6 -T` makes); more threads cost
/// memory only.
const N_XZ_THREADS: u32 = 2;
/// In bytes. An archive whose blocks need more is decoded by one thread.
const XZ_MEMORY: u64 = 256 << 20;

fn xz_decoder<R: BufRead>(input: R) -> io::Result<XzDecoder<R>> {
    let stream =
        MtStreamBuilder::new().threads(N_XZ_THREADS).memlimit_threading(XZ_MEMORY).memlimit_stop(u64::MAX).decoder()?;
    Ok(XzDecoder::new_stream(input, stream))
}

/// All streams of an xz file, one after the other: the parallel decoder stops after the first.
struct XzStreams<R: BufRead> {
    current: Option<XzDecoder<R>>,
}

impl<R: BufRead> Read for XzStreams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.current {
            let n = decoder.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            if let Some(ended) = self.current.take() {
                self.current = next_xz_stream(ended.into_inner())?;
            }
        }
        Ok(0)
    }
}

/// Zeros between streams are padding (the .xz file format, 2.2).
fn next_xz_stream<R: BufRead>(mut input: R) -> io::Result<Option<XzDecoder<R>>> {
    loop {
        let ahead = input.fill_buf()?;
        match ahead.iter().take_while(|byte| **byte == 0).count() {
            0 if ahead.is_empty() => return Ok(None),
            0 => return xz_decoder(input).map(Some),
            n_zeros => input.consume(n_zeros),
        }
    }
}

/// Tells the other thread how far the compressed file is read.
struct Counted<'a, R> {
    inner: R,
    n_read: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.n_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
