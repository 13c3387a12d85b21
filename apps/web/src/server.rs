//! Listens, takes connections, and ends in order. One thread; what a client can take up is bounded.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{answers, complain, machine, say};

/// Connections at one time; more wait in the kernel's queue. Each takes some 20 kB, of a machine that may have 32 MB.
const N_CONNECTIONS: usize = 128;

/// How long a client may take to send a request, or to be silent between two.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long what is being answered may take once the server shall end. Less than the 5 s after which init kills.
const FAREWELL: Duration = Duration::from_secs(3);

/// The pause after a connection could not be taken, when files or memory are used up.
const BREATH: Duration = Duration::from_millis(100);

/// A request's head may be as long as this, in bytes: hyper's least.
const BUFFER: usize = 8192;

/// Serves until SIGTERM or SIGINT.
pub fn run(address: SocketAddr) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("failed to start: {error}"))?.block_on(serve(address))
}

async fn serve(address: SocketAddr) -> Result<(), String> {
    // Before anybody can know that we run, so that no signal is lost.
    let mut stop = Stop::new().map_err(|error| format!("failed to wait for signals: {error}"))?;
    let listener = listen(address).await.map_err(|error| format!("failed to listen at {address}: {error}"))?;
    let listening_seconds = machine::now();
    say(&format!("listening on http://{}", listener.local_addr().unwrap_or(address)));

    let connections = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(N_CONNECTIONS));
    loop {
        let taken = tokio::select! {
            taken = take(&listener, &room) => taken,
            () = stop.asked() => break,
        };
        match taken {
            Ok((stream, place)) => talk(stream, place, &connections, listening_seconds),
            Err(error) => {
                complain(&format!("failed to take a connection: {error}"));
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    // Those that take longer are cut off.
    let _ = tokio::time::timeout(FAREWELL, connections.shutdown()).await;
    Ok(())
}

/// A listener at `address`; where `[::]` is asked for and the kernel has no IPv6, at 0.0.0.0.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let is_everywhere = address.is_ipv6() && address.ip().is_unspecified();
    match TcpListener::bind(address).await {
        Err(error) if is_everywhere && lacks_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}

fn lacks_ipv6(error: &std::io::Error) -> bool {
    let is_unsupported = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    is_unsupported || error.kind() == ErrorKind::AddrNotAvailable
}

/// The next connection, as soon as there is room for it.
async fn take(listener: &TcpListener, room: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// Answers a client's requests, beside all others.
fn talk(stream: TcpStream, place: OwnedSemaphorePermit, connections: &GracefulShutdown, listening_seconds: f64) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| async move {
        let read = || machine::read(Some(listening_seconds));
        Ok::<_, Infallible>(answers::answer(request.method(), request.uri().path(), read))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        // A client that went away, or spoke something else than HTTP, is its own business.
        let _ = connection.await;
        drop(place);
    });
}

/// The signals that ask the server to end.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
