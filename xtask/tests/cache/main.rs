//! A shared cache, good and bad: what one checkout made another one takes, and no cache ever breaks a build.

mod bench;
mod full;
mod good;
mod hostile;
mod s3;
mod server;
#[path = "../fire/small_disk.rs"]
mod small_disk;
