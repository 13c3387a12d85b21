//! A web server with one file. It is slow, so that a download can be killed in its midst, and it honours ranges, so that the next
//! one can go on.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes that are sent at once.
const CHUNK: usize = 64 * 1024;
/// Between two chunks: with 3 MB, a download takes about a tenth of a second.
const PAUSE: Duration = Duration::from_millis(2);

pub struct Server {
    pub address: String,
    /// Answers that went on from a part.
    pub n_resumed: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(file: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let n_resumed = Arc::new(AtomicUsize::new(0));
        let (file, counter) = (Arc::new(file), n_resumed.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (file, counter) = (file.clone(), counter.clone());
                // A client that is killed hangs up; that is no failure of the server.
                std::thread::spawn(move || drop(serve(stream, &file, &counter)));
            }
        });
        Self { address, n_resumed }
    }
}

fn serve(mut stream: TcpStream, file: &[u8], n_resumed: &AtomicUsize) -> std::io::Result<()> {
    let mut start = 0;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse().unwrap_or(0);
        }
        if line.is_empty() {
            break;
        }
    }
    let Some(rest) = file.get(start..).filter(|rest| !rest.is_empty()) else {
        return stream
            .write_all(b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let head = match start {
        0 => "200 OK\r\n".to_owned(),
        _ => {
            n_resumed.fetch_add(1, Ordering::SeqCst);
            format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\n", file.len() - 1, file.len())
        }
    };
    write!(stream, "HTTP/1.1 {head}ETag: \"1\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", rest.len())?;
    for chunk in rest.chunks(CHUNK) {
        stream.write_all(chunk)?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
