//! What a curious user sees who starts init on a running system: one sentence, and nothing else happens.

use std::process::Command;

#[test]
fn init_touches_nothing_unless_it_is_pid_1() -> std::io::Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_init")).output()?;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "pid1's init is the first process of a machine: boot it with `cargo xtask qemu`\n");
    Ok(())
}
