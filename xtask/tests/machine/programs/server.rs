//! An HTTP server that has a thread for each connection, and counts with more of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

fn serve(mut guest: TcpStream) -> std::io::Result<()> {
    guest.read(&mut [0; 4096])?;
    let count = Arc::new(Mutex::new(0));
    let counting = (0..50).map(|_| {
        let count = Arc::clone(&count);
        thread::spawn(move || (0..100).for_each(|_| *count.lock().unwrap() += 1))
    });
    for thread in counting.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    write!(guest, "HTTP/1.0 200 OK\r\n\r\n50 threads counted to {}", count.lock().unwrap())
}

fn main() -> std::io::Result<()> {
    for guest in TcpListener::bind("0.0.0.0:80")?.incoming() {
        let guest = guest?;
        thread::spawn(|| serve(guest));
    }
    Ok(())
}
