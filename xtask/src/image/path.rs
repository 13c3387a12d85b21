//! Paths in the machine, as a spec writes them. Pure.

use pid1_init::config::CONFIG_PATH;

/// What init mounts over; a file of the initramfs would be there and never be seen.
pub const MOUNTED: [&str; 5] = ["/dev", "/proc", "/run", "/sys", "/tmp"];

/// Why `path` is no absolute path written in the one way there is to write it.
pub fn problem(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("it must be absolute; write `/{path}`"));
    }
    if path.chars().any(char::is_control) {
        return Some("it holds a control character; take another name".to_owned());
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Some("it holds `..`; write where it leads to".to_owned());
    }
    let normal = format!("/{}", parts.join("/"));
    (normal != path).then(|| format!("it must be written without detours; write `{normal}`"))
}

/// Whether `path` is `folder` or lies in it.
pub fn is_in(path: &str, folder: &str) -> bool {
    folder == "/" || path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Why no file of the user's can be at `path`, in the machine whose program is at `program`.
pub fn taken(path: &str, program: &str) -> Option<String> {
    if path == "/init" {
        return Some("is PID 1 itself".to_owned());
    }
    if path == program {
        return Some("is the program itself".to_owned());
    }
    if path == CONFIG_PATH {
        return Some("is init's own configuration".to_owned());
    }
    let folder = MOUNTED.iter().find(|folder| is_in(path, folder))?;
    Some(format!("is in `{folder}`, over which init mounts: it would be invisible"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_and_without_detours() {
        let check = |path: &str, expect: &str| {
            let found = problem(path).unwrap_or_default();
            assert!(found.contains(expect) && found.is_empty() == expect.is_empty(), "{path}: {found}");
        };
        check("/", "");
        check("/data", "");
        check("/etc/.hidden", "");
        check("data", "write `/data`");
        check("", "write `/`");
        check("/data/", "write `/data`");
        check("//a/./b", "write `/a/b`");
        check("/a/../b", "holds `..`");
        check("/a\nb", "control character");
    }

    #[test]
    fn what_is_taken_is_told_with_the_reason() {
        let check = |path: &str, expect: &str| {
            let found = taken(path, "/bin/web").unwrap_or_default();
            assert!(found.contains(expect) && found.is_empty() == expect.is_empty(), "{path}: {found}");
        };
        check("/init", "PID 1");
        check("/bin/web", "program itself");
        check("/etc/pid1.conf", "configuration");
        check("/run", "in `/run`");
        check("/proc/x", "in `/proc`");
        check("/runner", "");
        check("/etc/hosts", "");
    }
}
