//! The image of a program that comes without a spec: `--file PATH`. Pure.

use camino::Utf8Path;
use pid1_init::config::NetworkMode;

use super::{Base, Image, Kernel, Origin};

/// What a network service wants of a kernel. It is the same for all such programs, so that they share one.
const FRAGMENTS: [&str; 7] = ["base", "serial", "pci", "acpi", "hardening", "virtio", "net"];
/// The first serial port, and only what is serious of the kernel's own words.
const CMDLINE: &str = "console=ttyS0 quiet";
/// Told apart by this from the image of a spec that has the same name.
const SUFFIX: &str = "-file";
/// For a file whose name has no letter that an image's could have.
const NAMELESS: &str = "program";

impl Image {
    /// The image of the program at `file`, with the network that DHCP gives. `names` are the images that have a spec:
    /// the folder of finished files of none of them is taken.
    pub fn of_program(file: &Utf8Path, names: &[String]) -> Self {
        let fragments = FRAGMENTS.map(str::to_owned).to_vec();
        let kernel = Kernel { base: Base::Tinyconfig, fragments, cmdline: CMDLINE.to_owned() };
        let mut name = plain(file.file_name().unwrap_or_default());
        while names.contains(&name) {
            name.push_str(SUFFIX);
        }
        let mut image = Self::new(&name, Origin::File(file.to_owned()), kernel);
        image.network.mode = NetworkMode::Dhcp;
        image
    }
}

/// The nearest thing to `name` that can name an image: lower case, and `-` for all that is neither letter nor digit.
fn plain(name: &str) -> String {
    let lower = name.to_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    let plain = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    if plain.is_empty() { NAMELESS.to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::is_name;

    #[test]
    fn a_file_gives_its_image_a_plain_name_that_no_spec_has() {
        let check = |file: &str, expect: &str| {
            let names = ["hello".to_owned(), "web".to_owned(), "web-file".to_owned()];
            let image = Image::of_program(Utf8Path::new(file), &names);
            assert_eq!(image.name, expect);
            assert!(is_name(&image.name));
        };
        check("/x/server", "server");
        check("./My_Server.x86_64", "my-server-x86-64");
        check("--file", "file");
        check("hello", "hello-file");
        check("Web", "web-file-file");
        check("/x/Ω", "program");
    }

    #[test]
    fn all_programs_without_a_spec_share_a_kernel_with_a_network() {
        let one = Image::of_program(Utf8Path::new("/a"), &[]);
        let other = Image::of_program(Utf8Path::new("/b"), &[]);
        assert_eq!(one.kernel, other.kernel);
        assert_eq!(one.fragments(), FRAGMENTS);
        assert_eq!(one.network.mode, NetworkMode::Dhcp);
        assert!(one.has_console());
    }
}
