//! The client and a bucket: what it sends, by a server that speaks as much of S3 as is needed for that.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::bench::CLIENT;
use crate::server::{Answer, Server};

/// What the client answers to these requests, in this environment and no other.
fn client(server: &Server, variables: &[(&str, &str)], requests: &[&str]) -> Vec<String> {
    let mut command = Command::new(CLIENT.as_str());
    command.env_clear().env("AWS_ENDPOINT_URL", format!("http://{}", server.address)).envs(variables.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut answers = Vec::new();
    for request in requests {
        writeln!(stdin, "{request}").unwrap();
        answers.extend(lines.by_ref().find(|line| !line.starts_with("at ")));
    }
    drop(stdin);
    child.wait().unwrap();
    answers
}

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hunter2"), ("AWS_REGION", "eu-west-1")];

#[test]
fn requests_are_signed_and_in_the_bucket_below_the_prefix() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::honest());
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&from, "content").unwrap();
    let (put, get) = (format!("put v1/x.json {from}"), format!("get 100 v1/x.json {to}"));
    let answers =
        client(&server, &KEYS, &["open s3://bucket/some/prefix", "has v1/x.json", &put, "has v1/x.json", &get]);
    assert_eq!(answers, ["done 0", "missing", "done 7", "done 7", "done 7"]);
    assert_eq!(std::fs::read_to_string(to).unwrap(), "content");
    let path = "/bucket/some/prefix/v1/x.json";
    assert_eq!(server.requests(), ["HEAD", "PUT", "HEAD", "GET"].map(|method| format!("{method} {path}")));
    for request in server.log.lock().unwrap().iter() {
        let signed = "AWS4-HMAC-SHA256 Credential=AKID/";
        assert!(request.authorization.starts_with(signed), "{request:?}");
        assert!(request.authorization.contains("/eu-west-1/s3/aws4_request"), "{request:?}");
    }
}

#[test]
fn without_credentials_a_public_bucket_is_read_and_nobody_else_is_asked() {
    let server = Server::honest();
    let answers = client(&server, &[], &["open s3://bucket", "has x"]);
    assert_eq!((answers, server.requests()), (vec!["done 0".into(), "missing".into()], vec!["HEAD /bucket/x".into()]));
    assert_eq!(server.log.lock().unwrap()[0].authorization, "");
}

#[test]
fn a_refusal_is_told_from_a_failure_and_holds_no_secret() {
    let server = Server::start(|_| Answer::Status("403 Forbidden"));
    let answers = client(&server, &KEYS, &["open s3://bucket", "has x"]);
    assert!(answers[1].starts_with("denied ") && !answers[1].contains("hunter2"), "{answers:?}");
}

#[test]
fn plain_http_goes_to_this_machine_only() {
    let server = Server::honest();
    let endpoint = ("AWS_ENDPOINT_URL", "http://192.0.2.1:9000");
    let answers = client(&server, &[KEYS[0], KEYS[1], endpoint], &["open s3://bucket", "has x"]);
    assert!(answers[1].starts_with("failed "), "{answers:?}");
    assert_eq!(server.n_requests(), 0);
}
