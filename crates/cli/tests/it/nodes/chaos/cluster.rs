//! Three nodes on a PostgreSQL server of their own, with relays between all of them.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use super::faults::Fault;
use crate::live::{Live, postgres_tool};
use crate::nodes::relay::{CuttingRelay, host_of};

/// Number of nodes.
pub(super) const NODES: usize = 3;

/// Longer than a lease, which lasts 5 seconds.
const LONGER_THAN_LEASE: Duration = Duration::from_secs(7);

/// The nodes, and their database.
pub(super) struct ChaosCluster {
    dir: TempDir,
    /// Address of the database without a relay.
    database: String,
    nodes: Vec<ChaosNode>,
}

struct ChaosNode {
    dir: PathBuf,
    live: Option<Live>,
    to_database: CuttingRelay,
    /// The relay at which other nodes reach this one.
    from_nodes: CuttingRelay,
    store: String,
}

impl ChaosCluster {
    pub(super) async fn start() -> Self {
        // PostgreSQL runs as another user.
        let permissions = PermissionsExt::from_mode(0o755);
        let dir = tempfile::Builder::new().permissions(permissions).tempdir().unwrap();
        let data = dir.path().join("postgres");
        let database = postgres_tool(&["cluster", data.to_str().unwrap(), "max_connections=200"]);
        let host = host_of(&database);
        let mut nodes = Vec::new();
        for name in ["one", "two", "three"] {
            let (to_database, from_nodes) =
                (CuttingRelay::start().await, CuttingRelay::start().await);
            to_database.lead_to(host);
            let store = database.replace(host, &format!("127.0.0.1:{}", to_database.port()));
            let dir = dir.path().join(name);
            nodes.push(ChaosNode { dir, live: None, to_database, from_nodes, store });
        }
        let mut cluster = Self { dir, database, nodes };
        for node in 0..NODES {
            cluster.start_node(node).await;
        }
        cluster
    }

    /// Starts a node, or starts it again. Gives the URL at which clients reach it.
    pub(super) async fn start_node(&mut self, number: usize) -> String {
        let node = &mut self.nodes[number];
        let advertised = format!("http://127.0.0.1:{}", node.from_nodes.port());
        let flags = ["--store", &node.store, "--advertise", &advertised];
        let live = Live::on(&node.dir, &flags).await;
        node.from_nodes.lead_to(live.url.trim_start_matches("http://"));
        node.live.insert(live).url.clone()
    }

    pub(super) fn live(&self, number: usize) -> &Live {
        self.nodes[number].live.as_ref().unwrap()
    }

    /// The sessions that a node owns, or that any node owns.
    pub(super) async fn sessions_of(&self, number: Option<usize>) -> BTreeSet<String> {
        let mut sql = "SELECT sessions.id FROM sessions JOIN nodes ON incarnation = node \
                       WHERE nodes.state = 'live'"
            .to_owned();
        if let Some(number) = number {
            let port = self.nodes[number].from_nodes.port();
            sql.push_str(&format!(" AND nodes.url LIKE '%:{port}'"));
        }
        let database = self.database.clone();
        let found = blocking(move || postgres_tool(&["select", &database, &sql])).await;
        found.lines().map(str::to_owned).collect()
    }

    /// Time until a node's lease ends, if it does not renew it.
    pub(super) async fn lease_left(&self, number: usize) -> Duration {
        let port = self.nodes[number].from_nodes.port();
        let sql = format!(
            "SELECT greatest(0, extract(epoch FROM lease_until - clock_timestamp())) FROM nodes \
             WHERE url LIKE '%:{port}' ORDER BY incarnation DESC LIMIT 1"
        );
        let database = self.database.clone();
        let left = blocking(move || postgres_tool(&["select", &database, &sql])).await;
        Duration::from_secs_f64(left.parse().unwrap())
    }

    /// Does a fault to a node, or to all. Returns when it was done.
    pub(super) async fn begin(&mut self, fault: Fault, victim: usize) {
        let node = &mut self.nodes[victim];
        match fault {
            Fault::Kill | Fault::KillAndRestart => node.live.as_mut().unwrap().kill().await,
            Fault::Pause => node.live.as_ref().unwrap().send_signal("STOP"),
            Fault::Terminate => node.live.as_ref().unwrap().signal(),
            Fault::DatabaseRestart => self.database_tool("kill").await,
            Fault::DatabaseCut => node.to_database.cut(),
            Fault::DatabaseAway => node.to_database.close(),
            Fault::NodesCut => self.nodes.iter().for_each(|node| node.from_nodes.close()),
        }
    }

    /// Goes on behind a fault, whether the sessions answer or not. Gives the URL of a node that is
    /// back.
    pub(super) async fn go_on(&mut self, fault: Fault, victim: usize) -> Option<String> {
        match fault {
            Fault::KillAndRestart => Some(self.start_node(victim).await),
            Fault::Terminate => {
                let status = self.nodes[victim].live.as_mut().unwrap().end().await;
                assert_eq!(status.code(), Some(0), "a planned stop");
                Some(self.start_node(victim).await)
            }
            // Others have its sessions by then, or will soon.
            Fault::Pause | Fault::DatabaseAway => {
                sleep(LONGER_THAN_LEASE).await;
                None
            }
            Fault::DatabaseRestart => {
                self.database_tool("restart").await;
                None
            }
            Fault::NodesCut => {
                sleep(Duration::from_secs(1)).await;
                self.nodes.iter().for_each(|node| node.from_nodes.open());
                None
            }
            Fault::Kill | Fault::DatabaseCut => None,
        }
    }

    /// Ends what lasts until all sessions have answered. Gives the URL of a node that is back.
    pub(super) async fn end(&mut self, fault: Fault, victim: usize) -> Option<String> {
        match fault {
            Fault::Kill => Some(self.start_node(victim).await),
            Fault::Pause => {
                self.live(victim).send_signal("CONT");
                Some(self.live(victim).url.clone())
            }
            Fault::DatabaseAway => {
                self.nodes[victim].to_database.open();
                None
            }
            Fault::KillAndRestart
            | Fault::Terminate
            | Fault::DatabaseRestart
            | Fault::DatabaseCut
            | Fault::NodesCut => None,
        }
    }

    async fn database_tool(&self, action: &'static str) {
        let data = self.dir.path().join("postgres");
        blocking(move || postgres_tool(&[action, data.to_str().unwrap()])).await;
    }

    /// Waits until all nodes serve clients and hold their leases.
    pub(super) async fn until_ready(&self) {
        // A second installation is refused and changes nothing.
        drop(rustls::crypto::ring::default_provider().install_default());
        for number in 0..NODES {
            let ready = format!("{}/readyz", self.live(number).url);
            while !reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200) {
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Drop for ChaosCluster {
    fn drop(&mut self) {
        self.nodes.clear();
        postgres_tool(&["end", self.dir.path().join("postgres").to_str().unwrap()]);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
