//! Accepts connections: a limited number, each within a time limit, over TLS where that is set up.

use std::future::poll_fn;
use std::net::IpAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use futures::FutureExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::base_path::BasePath;
use crate::body::{Late, TimedBody};
use crate::config::TlsConfig;
use crate::connection_permits::{ConnectionPermit, ConnectionPermits, counted_as};
use crate::phase::Phase;
use crate::stalled::Impatient;
use crate::takeover::ConnectionTakeover;
use crate::upgraded_stream::UpgradedStream;
use crate::websocket::WRITE_TIMEOUT;

/// Pause before the next connection is accepted when the system has no file left for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The parts that all listeners share.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) router: Router,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) tasks: TaskTracker,
    /// Time limit of a TLS handshake, of a request's head, and of its body.
    pub(crate) within: Duration,
    /// The prefix that the path of a request may have.
    pub(crate) base_path: BasePath,
    /// The permits of each address.
    pub(crate) guests: ConnectionPermits<IpAddr>,
    /// Whether connections from this machine count as well.
    pub(crate) counts_loopback: bool,
}

/// The permit of a connection's address. Requests carry it, so an upgraded connection keeps it.
pub(crate) type Guest = Arc<ConnectionPermit<IpAddr>>;

impl Doors {
    /// Accepts connections until the server stops. While it leaves, they are told so.
    pub(crate) async fn keep(mut self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // The loss of the sender is a stop as well.
                _ = self.phase.wait_for(|phase| *phase == Phase::Stopped) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let address = peer.ip().to_canonical();
                    let is_counted = self.counts_loopback || !address.is_loopback();
                    let guest = if is_counted {
                        self.guests.take(counted_as(address)).map(Arc::new)
                    } else {
                        None
                    };
                    if is_counted && guest.is_none() {
                        tracing::debug!("an address has as many connections as it may have");
                        continue;
                    }
                    drop(self.tasks.spawn(self.clone().welcome(stream, guest)));
                }
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "no connection can be accepted; is the limit of open files too low?"
                    );
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn welcome(self, stream: TcpStream, guest: Option<Guest>) {
        // Frames are small and have to go out at once.
        drop(stream.set_nodelay(true));
        match self.tls.clone() {
            None => self.serve(stream, guest).await,
            Some(tls) => {
                if let Ok(Ok(stream)) = tokio::time::timeout(self.within, tls.accept(stream)).await
                {
                    self.serve(stream, guest).await;
                }
            }
        }
    }

    async fn serve<S>(self, stream: S, guest: Option<Guest>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        UpgradedStream: From<S>,
    {
        let (within, base_path) = (self.within, self.base_path.clone());
        let takeover = ConnectionTakeover::default();
        let rights = takeover.clone();
        let held = guest.clone();
        let service = self.router.clone().map_request(
            move |mut request: hyper::Request<hyper::body::Incoming>| {
                if let Some(guest) = guest.clone() {
                    request.extensions_mut().insert(guest);
                }
                if let Some(stripped) = base_path.strip(request.uri()) {
                    *request.uri_mut() = stripped;
                }
                let version = request.version();
                request.extensions_mut().insert(rights.of_request(version));
                let late = Late::default();
                request.extensions_mut().insert(late.clone());
                request.map(|body| axum::body::Body::new(TimedBody::new(body, within, late)))
            },
        );
        let stream = Impatient::new(stream, WRITE_TIMEOUT, takeover.clone());
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.within)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .with_upgrades();
        let mut phase = self.phase.clone();
        // The result borrows the phase, so it is dropped at once.
        let leaving = async { drop(phase.wait_for(|phase| *phase == Phase::Stopped).await) };
        let mut leaving = pin!(leaving.fuse());
        let outcome = poll_fn(|context| {
            if leaving.as_mut().poll(context).is_ready() {
                Pin::new(&mut connection).graceful_shutdown();
            }
            match Pin::new(&mut connection).poll(context) {
                Poll::Ready(outcome) => Poll::Ready(outcome.map(|()| None)),
                Poll::Pending => match takeover.driver() {
                    Some(driver) => Poll::Ready(Ok(Some(driver))),
                    None => Poll::Pending,
                },
            }
        });
        match outcome.await {
            Ok(None) => {}
            Ok(Some(driver)) => {
                let Some(parts) = connection.into_parts() else { return };
                let stream = UpgradedStream::from(parts.io.into_inner().into_inner());
                // A task of its own, which does not hold the room for HTTP.
                let driven = driver(stream, self.phase);
                drop(self.tasks.spawn(async move {
                    driven.await;
                    drop(held);
                }));
            }
            Err(error) => tracing::debug!(%error, "a connection broke before it was upgraded"),
        }
    }
}

/// The wall clock for TLS. The library's own panics if the clock is before 1970.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// Reads a certificate and its key.
///
/// # Errors
/// When they cannot be read, or do not belong together.
pub(crate) fn tls(config: &TlsConfig) -> Result<TlsAcceptor, String> {
    let failed = |path: &Path, error: String| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&config.certificate, error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed(&config.certificate, "there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|error| failed(&config.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| error.to_string())?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.time_provider = Arc::new(WallClock);
    Ok(TlsAcceptor::from(Arc::new(server)))
}
