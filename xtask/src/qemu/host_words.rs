//! Why QEMU did not start, in our words. Pure.

use super::ending::Ending;

/// What QEMU says, what that means, and what to do about it.
const KNOWN: [(&str, &str, &str); 4] = [
    (
        "Is another process using the image",
        "a volume is in use by another machine",
        "end the other one first, or give both of them the disk with `:ro`",
    ),
    (
        "network backend 'user' is not compiled",
        "this QEMU has no user-mode network",
        "install a QEMU with slirp; distributions' own have it",
    ),
    ("is not a valid device model name", "this QEMU lacks a device", "install all of QEMU for x86-64"),
    ("Cannot allocate memory", "the host has too little memory free for the machine", "give it less with `-m MB`"),
];

/// Explains the lines that QEMU printed before it gave up, if they are known.
pub fn explain(lines: &[String]) -> Option<Ending> {
    let text = lines.join("\n");
    if let Some((_, rule)) = text.split_once("Could not set up host forwarding rule '") {
        // tcp:127.0.0.1:8080-:80
        let port = rule.split_once('-').map_or(rule, |(port, _)| port);
        let port = port.split_once(':').map_or(port, |(_, port)| port);
        let cause = format!("the host's port {port} was taken in the meantime");
        return Some(Ending::HostFailed { cause, hint: Some("start it again, with another `-p`".to_owned()) });
    }
    let (_, cause, hint) = KNOWN.iter().find(|(said, ..)| text.contains(said))?;
    Some(Ending::HostFailed { cause: (*cause).to_owned(), hint: Some((*hint).to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Option<&str>) {
        let cause = explain(&[line.to_owned()]).map(|ending| match ending {
            Ending::HostFailed { cause, hint: Some(_) } => cause,
            other => panic!("{other:?}"),
        });
        assert_eq!(cause.as_deref(), expect, "{line}");
    }

    #[test]
    fn what_qemu_says_is_said_in_our_words() {
        check(
            "qemu-system-x86_64: -netdev user,id=n: Could not set up host forwarding rule 'udp:1.2.3.4:9999-:80'",
            Some("the host's port 1.2.3.4:9999 was taken in the meantime"),
        );
        check("Is another process using the image [d.img]?", Some("a volume is in use by another machine"));
        check(
            "cannot set up guest memory 'pc.ram': Cannot allocate memory",
            Some("the host has too little memory free for the machine"),
        );
        check("qemu: something new", None);
    }
}
