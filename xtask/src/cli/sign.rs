//! The flags of `sign`.

use camino::Utf8PathBuf;
use clap::Args;

/// What to sign, and with what. manifest.json is signed, which holds the hash of every other file.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["key", "verify_key", "new_key"]))]
pub struct SignArgs {
    /// An image of this checkout that was built, or the path of a folder with one
    #[arg(value_name = "NAME|DIR", default_value = "hello")]
    pub image: String,

    /// Sign with this secret key; $MINISIGN_PASSWORD is its password where there is no terminal
    #[arg(long, value_name = "FILE")]
    pub key: Option<Utf8PathBuf>,

    /// Check signature and files by this public key: a file, or the key itself
    #[arg(long, value_name = "FILE|KEY")]
    pub verify_key: Option<String>,

    /// Make a secret key in this file, and the public one in FILE.pub beside it (x.pub for x.key)
    #[arg(long, value_name = "FILE")]
    pub new_key: Option<Utf8PathBuf>,
}
