//! The finished program, asked over a loopback port of the host.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A running server, killed when the test is over.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_web"));
        let mut child =
            command.args(["--listen", "127.0.0.1:0"]).env_remove("PORT").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").expect(&line).parse().unwrap();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Head and body of the answer to one request.
    fn ask(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_page_the_data_and_what_is_not_there() {
    let server = Server::start();
    let (head, page) = server.ask("GET", "/");
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    assert!(page.starts_with("<!doctype html>") && page.contains("<h2 id=\"memory\">Memory</h2>"), "{page}");
    assert!(page.contains("<dd>127.0.0.1/8"), "the loopback interface has an address:\n{page}");

    let (_, data) = server.ask("GET", "/status.json");
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert!(data["memory"]["total_bytes"].as_u64().unwrap() > 0);
    assert!(data["boot"]["listening_seconds"].as_f64().unwrap() <= data["uptime_seconds"].as_f64().unwrap() + 0.1);

    assert_eq!(server.ask("GET", "/healthz").1, "ok\n");
    let (head, page) = server.ask("GET", "/nowhere");
    assert!(head.starts_with("http/1.1 404") && page.contains("<code>/nowhere</code>"), "{head}\n{page}");
}

#[test]
fn head_has_the_length_and_no_body() {
    let (head, body) = Server::start().ask("HEAD", "/healthz");
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 3"), "{head}");
    assert_eq!(body, "");
}

/// Sends a first request, whose answer shows that the connection was taken, and then `rest`; ends the server.
fn end_beside(rest: &str) {
    let mut server = Server::start();
    let mut stream = server.connect();
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = [0; 1024];
    let n = stream.read(&mut answer).unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200"));
    stream.write_all(rest.as_bytes()).unwrap();
    kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn sigterm_ends_it_with_status_0() {
    end_beside("");
}

#[test]
fn a_client_that_dawdles_does_not_keep_it_from_ending() {
    end_beside("GET / HTTP/1.1\r\nHost:");
}
