//! Clients of one node that follow a session of another.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use thoughtwire_hub::{HubOptions, Presence, now};
use thoughtwire_proto::{
    CommandReply, Cursor, Event, Refusal, RefusalCode, Seq, SessionReply, Start, TurnEvent,
};
use thoughtwire_store::{NodeIdentity, RamDisk};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::simulation::nodes::net::{Net, SimConnector};
use crate::support::{Puppet, Room, event};

/// Two nodes on one store. The first one has the session.
struct TwoNodes {
    disk: RamDisk,
    net: Arc<Net>,
    owner: Room,
    other: Room,
}

impl TwoNodes {
    async fn open() -> Self {
        let (disk, net) = (RamDisk::new(), Net::new(Rng::with_seed(1)));
        let owner = node(&disk, &net, 0).await;
        let other = node(&disk, &net, 1).await;
        Self { disk, net, owner, other }
    }
}

async fn node(disk: &RamDisk, net: &Arc<Net>, slot: usize) -> Room {
    let identity = NodeIdentity::new(format!("n{slot}"), Some(Net::url(slot)));
    let connector = SimConnector { net: Arc::clone(net), slot };
    let options = HubOptions { nodes: Some(Arc::new(connector)), ..HubOptions::default() };
    let room = Room::on(disk.open_node(&identity, now()), Arc::new(Puppet), options).await;
    net.add(slot, Handle::current(), room.hub.clone());
    room
}

async fn try_to_attach(room: &Room, start: Start) -> Result<Seq, Refusal> {
    let presence = Presence::Client { tools: Vec::new() };
    let wake = Arc::new(Notify::new());
    let attached = room.hub.attach(&room.user, &room.session, start, wake, presence).await;
    attached.map(|(attached, _)| attached.head)
}

#[tokio::test(start_paused = true)]
async fn who_attaches_on_another_node_gets_what_was_acknowledged_before() {
    let nodes = TwoNodes::open().await;
    // It follows already, over a slow link.
    let _there = nodes.other.attach(Start::Head).await;
    nodes.net.set_delay(3_000);
    let CommandReply::Session(SessionReply::Input { seq, .. }) =
        nodes.owner.send("hang").await.unwrap()
    else {
        panic!("no input")
    };
    for start in [Start::Head, Start::After(Cursor { epoch: None, seq })] {
        let (attached, _listener) = nodes.other.attach(start).await;
        assert!(attached.recovered && attached.head >= seq, "{attached:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_node_that_dies_attaches_at_the_next_owner() {
    let nodes = TwoNodes::open().await;
    let _there = nodes.other.attach(Start::Head).await;
    // Frames of the owner do not arrive any more.
    nodes.net.cut((0, 1));
    nodes.owner.send("hang").await.unwrap();
    let attaching = try_to_attach(&nodes.other, Start::Head);
    let (attached, ()) = tokio::join!(attaching, nodes.owner.hub.store().close());
    assert!(attached.unwrap() >= Seq(3));
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_lease_was_not_renewed_attaches_nobody_from_memory() {
    let nodes = TwoNodes::open().await;
    assert_eq!(try_to_attach(&nodes.owner, Start::Head).await, Ok(Seq(1)));
    nodes.disk.pass(Duration::from_millis(4_100));
    let refused = try_to_attach(&nodes.owner, Start::Head).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::StoreFailed);
}

#[tokio::test(start_paused = true)]
async fn who_follows_stays_attached_while_the_owner_stops_as_planned() {
    let nodes = TwoNodes::open().await;
    let (_, mut listener) = nodes.other.after(1).await;
    nodes.owner.hub.stop(Duration::ZERO).await;
    // The owner refuses everybody, and nobody may have its sessions yet.
    tokio::time::sleep(Duration::from_secs(1)).await;
    nodes.owner.hub.store().close().await;
    nodes.other.send("say").await.unwrap();
    let seen = listener.turn().await;
    let is_end = |event: &Event| matches!(event, Event::Turn(TurnEvent::Ended { .. }));
    assert!(seen.iter().filter_map(event).any(is_end));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_although_somebody_attaches_to_a_session_of_another_node() {
    let nodes = TwoNodes::open().await;
    let stop = nodes.other.hub.stop(Duration::from_secs(1));
    let attaching = async {
        tokio::task::yield_now().await;
        try_to_attach(&nodes.other, Start::Head).await
    };
    let both = async { tokio::join!(stop, attaching).1 };
    let refused = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap().unwrap_err();
    assert_eq!(refused.code, RefusalCode::Stopping);
}
