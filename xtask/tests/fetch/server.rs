//! A server that answers what a test tells it to, once per connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// First byte of its Range.
    pub start: Option<usize>,
    pub if_range: Option<String>,
}

/// What the server does about it.
pub struct Reply {
    /// From the status code on. Empty: nothing is said.
    pub head: String,
    pub body: Vec<u8>,
    /// Keep the connection open and say nothing more.
    pub stalls: bool,
}

/// Each connection gets one answer and is closed. The log pairs requests with the bytes of body sent.
pub struct Server {
    pub address: String,
    pub log: Arc<Mutex<Vec<(Request, usize)>>>,
}

impl Server {
    /// `answer` gets the number of the request, from 0, and the request.
    pub fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (server_log, answer) = (log.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (server_log.clone(), answer.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &log, &*answer));
            }
        });
        Server { address, log }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    pub fn n_served(&self) -> Vec<usize> {
        self.log.lock().unwrap().iter().map(|(_, n_bytes)| *n_bytes).collect()
    }
}

pub fn serve(mut stream: TcpStream, log: &Mutex<Vec<(Request, usize)>>, answer: &dyn Fn(usize, &Request) -> Reply) {
    let request = read_request(&stream);
    let number = {
        let mut log = log.lock().unwrap();
        log.push((request.clone(), 0));
        log.len() - 1
    };
    let reply = answer(number, &request);
    log.lock().unwrap()[number].1 = reply.body.len();
    let head = match reply.head.as_str() {
        "" => String::new(),
        head => format!("HTTP/1.1 {head}Connection: close\r\n\r\n"),
    };
    // A client that gives up early is no failure of the server.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&reply.body));
    if reply.stalls {
        let _ = stream.read(&mut [0]);
    }
}

pub fn read_request(stream: &TcpStream) -> Request {
    let mut lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let mut request = Request { path, start: None, if_range: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                request.start = Some(value.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap())
            }
            "if-range" => request.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    request
}

pub fn status(line: &str) -> Reply {
    Reply { head: format!("{line}\r\nContent-Length: 0\r\n"), body: Vec::new(), stalls: false }
}

/// The whole file with an ETag, of which only `n_sent` bytes are sent.
pub fn cut(file: &[u8], tag: &str, n_sent: usize) -> Reply {
    let head = format!("200 OK\r\nETag: {tag}\r\nContent-Length: {}\r\n", file.len());
    Reply { head, body: file[..n_sent].to_vec(), stalls: false }
}

pub fn whole(file: &[u8]) -> Reply {
    cut(file, "\"1\"", file.len())
}

/// As a good server does it (RFC 9110, sections 13.1.5 and 14).
pub fn honest(file: &[u8], tag: &str, request: &Request) -> Reply {
    match request.start {
        Some(start) if request.if_range.as_deref().is_none_or(|asked| asked == tag) && start < file.len() => Reply {
            head: format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\n",
                file.len() - 1,
                file.len(),
                file.len() - start
            ),
            body: file[start..].to_vec(),
            stalls: false,
        },
        Some(start) if start >= file.len() => status("416 Range Not Satisfiable"),
        _ => cut(file, tag, file.len()),
    }
}
