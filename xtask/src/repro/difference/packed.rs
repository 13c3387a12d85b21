//! Compressed streams (gzip, xz, zstd): what differs inside, for outside everything does.

use std::io::Read;

use super::{Difference, bytes, of_contents};

/// More than any artifact unpacks to, in bytes; a broken stream must not fill the memory.
const LIMIT: u64 = 4 << 30;

/// What differs inside, if both are compressed in one way.
pub fn compare(usual: &[u8], otherwise: &[u8]) -> Option<Difference> {
    let ((format, ours), (other_format, theirs)) = (unpack(usual)?, unpack(otherwise)?);
    if format != other_format {
        return Some(Difference::new("compression", format, other_format));
    }
    let inside = of_contents(&ours, &theirs).map(|found| found.inside(format!("inside the {format} stream")));
    inside.or_else(|| {
        let found = bytes::compare(usual, otherwise)?;
        Some(found.noting(format!("the {format} streams hold the same and are packed differently")))
    })
}

/// The format's name and the content, if it is a format that can be read to its end.
pub fn unpack(packed: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let (name, reader): (_, Box<dyn Read + '_>) = match packed {
        [0x1f, 0x8b, ..] => ("gzip", Box::new(flate2::read::MultiGzDecoder::new(packed))),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("xz", Box::new(liblzma::read::XzDecoder::new(packed))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", Box::new(zstd::stream::read::Decoder::new(packed).ok()?)),
        _ => return None,
    };
    let mut content = Vec::new();
    reader.take(LIMIT).read_to_end(&mut content).ok()?;
    Some((name, content))
}
