//! A relay between a store and its database, which can cut connections.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A relay on a port of its own.
pub struct Relay {
    port: u16,
    target: String,
    /// Changes with each cut of all connections.
    cuts: Arc<watch::Sender<u64>>,
    /// Whether new connections are refused.
    is_closed: Arc<Mutex<bool>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Starts a relay to a database.
    pub async fn to(url: &str) -> Self {
        let target = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = Arc::new(watch::Sender::new(0));
        let is_closed = Arc::new(Mutex::new(false));
        let mut tasks = JoinSet::new();
        let (signal, closed, to) = (Arc::clone(&cuts), Arc::clone(&is_closed), target.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut cut = signal.subscribe();
                if *closed.lock() {
                    continue;
                }
                let mut server = TcpStream::connect(&to).await.unwrap();
                connections.spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { port, target, cuts, is_closed, _tasks: tasks }
    }

    /// The address of the database through the relay.
    pub fn url(&self, url: &str) -> String {
        url.replace(&self.target, &format!("127.0.0.1:{}", self.port))
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Waits until the connections are cut, so that nothing more goes through them.
    pub async fn until_cut(&self) {
        self.cuts.closed().await;
    }

    /// Refuses connections from now on, or accepts them again.
    pub fn close(&self, is_closed: bool) {
        *self.is_closed.lock() = is_closed;
        self.cut();
    }
}
