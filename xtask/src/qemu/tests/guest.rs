//! Guests made of a few bytes of 32-bit machine code, put together by hand.

use crate::qemu::accel::{Accelerator, multiboot};
use crate::qemu::devices::Devices;
use crate::qemu::{Machine, Mode, Opened, QEMU, Run};
use std::io::Write;
use std::time::Duration;
use tempfile::NamedTempFile;

/// What a kernel prints when a program that is PID 1 exits with status 3.
pub const PANIC_TEXT: &str = "[    0.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300\r\n";

/// The console's serial port and the report's (COM1, COM2).
const CONSOLE: u16 = 0x3f8;
const REPORT: u16 = 0x2f8;

/// Time enough for a guest that does nothing else.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The line status register of a serial port, counted from its first; bit 0: a byte came, bit 5: room for one.
const LINE_STATUS: u16 = 5;
const BYTE_CAME: u8 = 1 << 0;
const HAS_ROOM: u8 = 1 << 5;

/// Machine code that grows by each call, and the file that QEMU loads it from.
pub struct Guest {
    code: Vec<u8>,
    file: NamedTempFile,
}

impl Guest {
    pub fn new() -> Self {
        Self { code: Vec::new(), file: NamedTempFile::new().expect("a temporary file") }
    }

    /// Writes to the console.
    pub fn say(mut self, text: &str) -> Self {
        text.bytes().for_each(|byte| self.write(CONSOLE, byte));
        self
    }

    /// Writes to the report port.
    pub fn report(mut self, text: &str) -> Self {
        text.bytes().for_each(|byte| self.write(REPORT, byte));
        self
    }

    /// Reads so many bytes from the console and writes them back.
    pub fn echo(mut self, n_bytes: usize) -> Self {
        for _ in 0..n_bytes {
            self.await_status(CONSOLE, BYTE_CAME);
            self.select(CONSOLE);
            // in al, dx; mov bl, al
            self.code.extend([0xec, 0x88, 0xc3]);
            self.await_status(CONSOLE, HAS_ROOM);
            self.select(CONSOLE);
            // mov al, bl; out dx, al
            self.code.extend([0x88, 0xd8, 0xee]);
        }
        self
    }

    /// Waits until so many bytes came over the report port.
    pub fn hear(mut self, n_bytes: usize) -> Self {
        for _ in 0..n_bytes {
            self.await_status(REPORT, BYTE_CAME);
            self.select(REPORT);
            // in al, dx
            self.code.push(0xec);
        }
        self
    }

    /// Does what another guest does, so many times.
    pub fn repeat(mut self, n_times: u32, body: Self) -> Self {
        // mov ecx, n_times; body; dec ecx; jnz body
        let back = -i32::try_from(body.code.len() + 7).expect("a short body");
        self.code.push(0xb9);
        self.code.extend(n_times.to_le_bytes());
        self.code.extend(body.code);
        self.code.extend([0x49, 0x0f, 0x85]);
        self.code.extend(back.to_le_bytes());
        self
    }

    /// Switches the power off: S5 into the PM1a control register, where QEMU's firmware puts it
    /// (mov dx, 0x604; mov ax, 0x2000; out dx, ax).
    pub fn stop(mut self) -> Self {
        self.select(0x604);
        self.code.extend([0x66, 0xb8, 0x00, 0x20, 0x66, 0xef]);
        self.stay()
    }

    /// Resets the machine by its keyboard controller (mov al, 0xfe; out 0x64, al).
    pub fn reset(mut self) -> Self {
        self.code.extend([0xb0, 0xfe, 0xe6, 0x64]);
        self.stay()
    }

    /// Starts the watchdog (Intel 6300ESB, the first PCI device), with 10 ms for each of its two timers.
    pub fn start_watchdog(mut self) -> Self {
        const BASE: u32 = 0xfe00_0000;
        // The base address, and that the device answers there.
        self.configure(0x10, BASE);
        self.configure(0x04, 2);
        for timer in [BASE, BASE + 4] {
            // Two words unlock one write.
            for word in [0x80, 0x86] {
                // mov word [reload], word
                self.code.extend([0x66, 0xc7, 0x05]);
                self.code.extend((BASE + 0x0c).to_le_bytes());
                self.code.extend([word, 0]);
            }
            // mov dword [timer], 10
            self.code.extend([0xc7, 0x05]);
            self.code.extend(timer.to_le_bytes());
            self.code.extend(10_u32.to_le_bytes());
        }
        // The lock register takes a byte: enable.
        self.select_configuration(0x68);
        self.code.extend([0xb0, 0x02, 0xee]);
        self
    }

    /// Writes a word of the first PCI device's configuration (mov eax, value; out dx, eax).
    fn configure(&mut self, register: u8, value: u32) {
        self.select_configuration(register);
        self.code.push(0xb8);
        self.code.extend(value.to_le_bytes());
        self.code.push(0xef);
    }

    /// mov dx, 0xcf8; mov eax, address; out dx, eax; mov dx, 0xcfc
    fn select_configuration(&mut self, register: u8) {
        const FIRST_DEVICE: u32 = 2;
        let address = 1 << 31 | FIRST_DEVICE << 11 | u32::from(register);
        self.select(0xcf8);
        self.code.push(0xb8);
        self.code.extend(address.to_le_bytes());
        self.code.push(0xef);
        self.select(0xcfc);
    }

    /// Sleeps for ever (hlt; jmp back to it).
    pub fn stay(mut self) -> Self {
        self.code.extend([0xf4, 0xeb, 0xfd]);
        self.file.write_all(&multiboot(&self.code)).expect("the disk has room");
        self
    }

    /// A supervised run of this guest.
    pub fn run(&self, deadline: Duration) -> Run {
        let machine = Machine {
            qemu: QEMU.to_owned(),
            kernel: self.file.path().to_path_buf().try_into().expect("a path in UTF-8"),
            initramfs: None,
            command_line: "a 'b' \"c d\"".to_owned(),
            memory_mib: 16,
            n_processors: 1,
            accelerator: Accelerator::Tcg,
            devices: Devices::default(),
            restarts: false,
            extra: Vec::new(),
        };
        let opened = Opened { kernel: self.file.reopen().expect("it is there"), initramfs: None };
        Run {
            machine,
            opened,
            mode: Mode::Supervised,
            until: None,
            deadline: Some(deadline),
            stop_timeout: STOP_TIMEOUT,
            options: None,
        }
    }

    fn write(&mut self, port: u16, byte: u8) {
        self.await_status(port, HAS_ROOM);
        self.select(port);
        // mov al, byte; out dx, al
        self.code.extend([0xb0, byte, 0xee]);
    }

    /// mov dx, status; again: in al, dx; test al, bits; jz again
    fn await_status(&mut self, port: u16, bits: u8) {
        self.select(port + LINE_STATUS);
        self.code.extend([0xec, 0xa8, bits, 0x74, 0xfb]);
    }

    /// mov dx, port
    fn select(&mut self, port: u16) {
        self.code.extend([0x66, 0xba]);
        self.code.extend(port.to_le_bytes());
    }
}
