//! A request's method and path to a response. Pure: the machine's status is handed in.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Response, StatusCode};

use crate::page;
use crate::status::Status;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The page brings its style and its empty icon along, and nothing else may be loaded or run.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The answer; hyper leaves out its body for HEAD.
pub fn answer(method: &Method, path: &str, read: impl FnOnce() -> Status) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal =
            response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are answered here\n".into());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/" => response(StatusCode::OK, HTML, page::status(&read())),
        "/status.json" => json(&read()),
        "/healthz" => response(StatusCode::OK, TEXT, "ok\n".to_owned()),
        _ => response(StatusCode::NOT_FOUND, HTML, page::not_found(path)),
    }
}

fn json(status: &Status) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(status) {
        Ok(text) => response(StatusCode::OK, JSON, text + "\n"),
        Err(error) => {
            response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("failed to write the status: {error}\n"))
        }
    }
}

fn response(status: StatusCode, kind: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::example;

    fn check(method: Method, path: &str, status: u16, kind: HeaderValue) {
        let response = answer(&method, path, example);
        assert_eq!((response.status().as_u16(), &response.headers()[CONTENT_TYPE]), (status, &kind), "{method} {path}");
    }

    #[test]
    fn each_path_has_its_answer() {
        check(Method::GET, "/", 200, HTML);
        check(Method::HEAD, "/", 200, HTML);
        check(Method::GET, "/status.json", 200, JSON);
        check(Method::GET, "/healthz", 200, TEXT);
        check(Method::GET, "/status", 404, HTML);
        check(Method::POST, "/", 405, TEXT);
    }

    #[test]
    fn the_readme_shows_the_json_as_it_is() {
        let text = serde_json::to_string_pretty(&example()).unwrap();
        assert!(include_str!("../README.md").contains(&text), "apps/web/README.md must hold:\n{text}");
    }
}
