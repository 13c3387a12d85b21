//! The flags of `volume`.

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};
use pid1_init::config::FileSystem;

use crate::disk;

/// A disk file to make. The same arguments give the same file, bit for bit.
#[derive(Args)]
pub struct VolumeArgs {
    /// The file; what is there already is never overwritten
    pub file: Utf8PathBuf,

    /// How large, in powers of 1024, as in 64M or 1G; the file takes only the room that is used
    #[arg(long, value_name = "SIZE", value_parser = disk::size)]
    pub size: u64,

    /// The name by which `label = "NAME"` of a [[volume]] finds it
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,

    /// The file system
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value_t = VolumeType::Ext4)]
    pub kind: VolumeType,

    /// The UUID; without one it is determined by the size, the type and the label
    #[arg(long, value_name = "UUID")]
    pub uuid: Option<String>,
}

/// What a volume is formatted with.
#[derive(Clone, Copy, ValueEnum)]
pub enum VolumeType {
    /// Linux's own; survives power cuts
    Ext4,
    /// FAT, which every system reads
    Vfat,
}

impl From<VolumeType> for FileSystem {
    fn from(kind: VolumeType) -> Self {
        match kind {
            VolumeType::Ext4 => Self::Ext4,
            VolumeType::Vfat => Self::Vfat,
        }
    }
}
