//! A little HTTP server that keeps what is put there, as far as a test lets it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a client asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub authorization: String,
}

/// What the server does about it.
pub enum Answer {
    /// As a good server does.
    Honest,
    /// A status line, and more header lines; no body.
    Status(&'static str),
    /// These bytes, whatever it has.
    Body(Vec<u8>),
    /// Half of what it says it sends.
    Cut,
    /// One byte, then a pause, and so on.
    Drip,
    /// Nothing, for as long as the client stays.
    Silence,
}

pub type Things = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

pub struct Server {
    pub address: String,
    /// What it keeps, by path.
    pub things: Things,
    pub log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (things, log, answer) = (Things::default(), Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let (kept, requests) = (things.clone(), log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, requests, answer) = (kept.clone(), requests.clone(), answer.clone());
                // A client that is killed in between is what is tested.
                std::thread::spawn(move || serve(stream, &kept, &requests, &*answer));
            }
        });
        Self { address, things, log }
    }

    /// One that is good.
    pub fn honest() -> Self {
        Self::start(|_| Answer::Honest)
    }

    pub fn url(&self) -> String {
        format!("http://{}/some/cache", self.address)
    }

    /// Method and path of all requests.
    pub fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    pub fn n_requests(&self) -> usize {
        self.log.lock().unwrap().len()
    }
}

fn serve(
    mut stream: TcpStream,
    things: &Mutex<BTreeMap<String, Vec<u8>>>,
    log: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Answer,
) -> Option<()> {
    let (request, body) = read_request(&stream)?;
    log.lock().unwrap().push(request.clone());
    let sent = match answer(&request) {
        Answer::Honest => honest(&request, body, &mut things.lock().unwrap()),
        Answer::Status(line) => head(line, 0),
        Answer::Body(bytes) => [head("200 OK", bytes.len()), bytes].concat(),
        Answer::Cut => {
            let whole = honest(&request, body, &mut things.lock().unwrap());
            whole[..whole.len() - (whole.len() / 4).min(100)].to_vec()
        }
        Answer::Drip => return drip(stream),
        Answer::Silence => {
            let _ = stream.read(&mut [0]);
            return None;
        }
    };
    stream.write_all(&sent).ok()
}

fn honest(request: &Request, body: Vec<u8>, things: &mut BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    match (request.method.as_str(), things.get(&request.path)) {
        ("PUT", _) => {
            things.insert(request.path.clone(), body);
            head("201 Created", 0)
        }
        ("GET", Some(thing)) => [head("200 OK", thing.len()), thing.clone()].concat(),
        ("HEAD", Some(thing)) => head("200 OK", thing.len()),
        _ => head("404 Not Found", 0),
    }
}

/// S3 clients want the date and the entity tag.
fn head(line: &str, length: usize) -> Vec<u8> {
    format!(
        "HTTP/1.1 {line}\r\nContent-Length: {length}\r\nLast-Modified: Tue, 01 Jan 1980 00:00:00 GMT\r\n\
         ETag: \"1\"\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// The pause is the speed of a bad line; nothing waits for its end.
fn drip(mut stream: TcpStream) -> Option<()> {
    stream.write_all(&head("200 OK", 1_000_000)).ok()?;
    loop {
        stream.write_all(b"x").ok()?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read_request(stream: &TcpStream) -> Option<(Request, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let mut request = Request { method: words.next()?, path: words.next()?, authorization: String::new() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => request.authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((request, body))
}
