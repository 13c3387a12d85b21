//! The command line and the environment, checked. Pure.

use std::net::{Ipv6Addr, SocketAddr};

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// To be told what there is.
    Help,
    /// To serve at this address.
    Listen(SocketAddr),
}

/// The port of HTTP.
const PORT: u16 = 80;

/// The text of `--help`.
pub const HELP: &str = "\
Serves a status page of the machine it runs on.

usage: web [--listen ADDR:PORT]

  --listen ADDR:PORT   the address to listen at, such as 127.0.0.1:8080 or [::1]:8080
                       [default: [::]:80, which takes IPv4 as well; 0.0.0.0:80 where there is no IPv6]
  -h, --help           this text

environment:
  PORT                 the port, where --listen says nothing

addresses:
  /                    the page
  /status.json         the same as data
  /healthz             200 and `ok`

SIGTERM and SIGINT end it in order.";

/// Reads the arguments (without the program's own name) and the value of `PORT`.
pub fn parse(args: impl IntoIterator<Item = String>, port: Option<String>) -> Result<Asked, String> {
    let mut args = args.into_iter();
    let mut listen = None;
    while let Some(arg) = args.next() {
        let value = match arg.as_str() {
            "-h" | "--help" => return Ok(Asked::Help),
            "--listen" => args.next().ok_or("--listen wants a value: ADDR:PORT")?,
            other => match other.strip_prefix("--listen=") {
                Some(value) => value.to_owned(),
                None => return Err(format!("unknown argument `{other}`\nhint: web --help")),
            },
        };
        listen = Some(address(&value)?);
    }
    let address = match (listen, port) {
        (Some(address), _) => address,
        (None, Some(text)) => everywhere(text.parse().map_err(|_| format!("PORT is `{text}`, which is no port"))?),
        (None, None) => everywhere(PORT),
    };
    Ok(Asked::Listen(address))
}

fn everywhere(port: u16) -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, port).into()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is no address with a port\nhint: --listen 127.0.0.1:8080, --listen [::]:8080"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str], port: Option<&str>, expect: Result<&str, &str>) {
        let found = parse(args.iter().map(|arg| (*arg).to_owned()), port.map(str::to_owned));
        match expect {
            Ok(address) => assert_eq!(found, Ok(Asked::Listen(address.parse().unwrap()))),
            Err(part) => assert!(found.as_ref().unwrap_err().contains(part), "{found:?}"),
        }
    }

    #[test]
    fn an_argument_counts_more_than_the_environment_and_both_more_than_the_default() {
        check(&[], None, Ok("[::]:80"));
        check(&[], Some("8080"), Ok("[::]:8080"));
        check(&["--listen", "127.0.0.1:1"], Some("8080"), Ok("127.0.0.1:1"));
        check(&["--listen=[::1]:2"], None, Ok("[::1]:2"));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        check(&["--listen"], None, Err("wants a value"));
        check(&["--listen", "localhost"], None, Err("`localhost` is no address"));
        check(&["--port", "80"], None, Err("unknown argument `--port`"));
        check(&[], Some("http"), Err("PORT is `http`"));
    }

    #[test]
    fn help_is_given_even_beside_other_arguments() {
        assert_eq!(parse(["--listen=[::]:1".to_owned(), "-h".to_owned()], None), Ok(Asked::Help));
    }
}
