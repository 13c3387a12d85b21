//! Folders, made and listed by system calls: the standard library's way brings half of its paths along, which nothing else
//! in init needs.

use std::mem::MaybeUninit;

use rustix::fs::{Mode, OFlags, RawDir, mkdir, open};
use rustix::io::Errno;

/// Makes a folder, and those around it that are missing.
pub fn make(path: &str) -> Result<(), Errno> {
    let around = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
    for folder in around.chain([path]).filter(|folder| !folder.is_empty()) {
        match mkdir(folder, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The names in a folder, but for hidden ones. None if it cannot be read.
pub fn names(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(folder) = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return names;
    };
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(folder, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_str().ok().filter(|name| !name.starts_with('.'));
        names.extend(name.map(str::to_owned));
    }
    names
}
