//! A relay before a server, which can cut connections and refuse new ones.

use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A relay on a port of its own, which it keeps.
pub(super) struct CuttingRelay {
    port: u16,
    state: Arc<RelayState>,
    _task: JoinSet<()>,
}

struct RelayState {
    /// Address of the server behind it.
    target: Mutex<Option<String>>,
    is_closed: Mutex<bool>,
    /// Changes with each cut.
    cuts: watch::Sender<u64>,
}

impl CuttingRelay {
    /// Starts a relay that has no server behind it yet.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(RelayState {
            target: Mutex::default(),
            is_closed: Mutex::default(),
            cuts: watch::Sender::new(0),
        });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, _task: task }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to a server, given as host and port.
    pub(super) fn lead_to(&self, target: &str) {
        *self.state.target.lock().unwrap() = Some(target.to_owned());
    }

    /// Cuts all connections.
    pub(super) fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts all connections, and refuses new ones.
    pub(super) fn close(&self) {
        *self.state.is_closed.lock().unwrap() = true;
        self.cut();
    }

    /// Accepts connections again.
    pub(super) fn open(&self) {
        *self.state.is_closed.lock().unwrap() = false;
    }
}

/// Host and port of a database's address.
pub(super) fn host_of(database: &str) -> &str {
    database.split('@').nth(1).unwrap().split('/').next().unwrap()
}

async fn accept(listener: TcpListener, state: Arc<RelayState>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let cut = state.cuts.subscribe();
        let target = state.target.lock().unwrap().clone();
        if let Some(target) = target.filter(|_| !*state.is_closed.lock().unwrap()) {
            connections.spawn(pass(client, target, cut));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(mut client: TcpStream, target: String, mut cut: watch::Receiver<u64>) {
    let both = async {
        // A server that is not there ends the connection.
        if let Ok(mut server) = TcpStream::connect(target).await {
            // As both ends do: small pieces do not wait for acknowledgements.
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            drop(copy_bidirectional(&mut client, &mut server).await);
        }
    };
    tokio::select! {
        () = both => {}
        _ = cut.changed() => {}
    }
}
