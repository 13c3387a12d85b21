//! x86 kernels (bzImage): its setup code, its decompressor, or the kernel proper, which is compressed between the two.
//! Layout: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".

use super::{Difference, bytes, of_contents, packed};

/// Where the header's own magic is.
const MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
/// How many sectors follow the boot sector before the protected-mode code starts; 0 means 4.
const SETUP_SECTORS: usize = 0x1f1;
const SECTOR: usize = 512;
/// From the protected-mode code's start to the compressed kernel, and how long that is: 4 bytes each, little-endian.
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

struct Parts<'a> {
    setup: &'a [u8],
    /// Everything after the setup code.
    code: &'a [u8],
    payload: &'a [u8],
}

/// The part that differs, if both are bzImages: the kernel proper first, for its size moves what lies around it.
pub fn compare(usual: &[u8], otherwise: &[u8]) -> Option<Difference> {
    let (ours, theirs) = (parts(usual)?, parts(otherwise)?);
    let kernel = || match (packed::unpack(ours.payload), packed::unpack(theirs.payload)) {
        (Some((_, one)), Some((_, other))) => of_contents(&one, &other),
        _ => bytes::compare(ours.payload, theirs.payload),
    };
    let inside = kernel().map(|found| found.inside("the compressed kernel"));
    inside
        .or_else(|| bytes::compare(ours.setup, theirs.setup).map(|found| found.inside("the setup code")))
        .or_else(|| bytes::compare(ours.code, theirs.code).map(|found| found.inside("the decompressor")))
}

fn parts(image: &[u8]) -> Option<Parts<'_>> {
    image.get(MAGIC.0..).filter(|rest| rest.starts_with(MAGIC.1))?;
    let n_sectors = match usize::from(*image.get(SETUP_SECTORS)?) {
        0 => 4,
        n_sectors => n_sectors,
    };
    let (setup, code) = image.split_at_checked((n_sectors + 1) * SECTOR)?;
    let offset = number(image, PAYLOAD_OFFSET)?;
    let payload = code.get(offset..offset.checked_add(number(image, PAYLOAD_LENGTH)?)?)?;
    Some(Parts { setup, code, payload })
}

fn number(image: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?)).ok()
}
