//! The network between nodes: links that are delayed and cut, and that lose what is under way.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use thoughtwire_hub::{Hub, NodeConnector, NodeLink};
use thoughtwire_proto::{Refusal, RefusalCode};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::owner;

/// Frames that wait at one end of a link.
const FRAMES: usize = 256;
/// Frames that are under way in one direction.
const FLYING: usize = 64;
/// Maximum time in which nothing comes, as of real connections.
const SILENCE_LIMIT: Duration = Duration::from_secs(6);

/// The network of one history.
#[derive(Default)]
pub(crate) struct Net(Mutex<NetState>);

#[derive(Default)]
struct NetState {
    dice: Rng,
    /// By slot: the runtime and the hub of the node that runs there.
    nodes: HashMap<usize, (Handle, Hub)>,
    /// Pairs of slots without a connection.
    cut: Vec<(usize, usize)>,
    links: Vec<(usize, usize, watch::Sender<bool>)>,
    /// Milliseconds that a frame may take.
    delay: u64,
    opened: u64,
    lost: u64,
}

/// Where a link ends.
struct Target {
    runtime: Handle,
    hub: Hub,
    cut: watch::Receiver<bool>,
}

impl Net {
    pub(crate) fn new(dice: Rng) -> Arc<Self> {
        let state = NetState { dice, delay: 5, ..NetState::default() };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Address of the node in a slot.
    pub(crate) fn url(slot: usize) -> String {
        format!("sim://{slot}")
    }

    /// A node runs in a slot.
    pub(crate) fn add(&self, slot: usize, runtime: Handle, hub: Hub) {
        self.0.lock().nodes.insert(slot, (runtime, hub));
    }

    /// The node in a slot is gone.
    pub(crate) fn remove(&self, slot: usize) {
        let mut state = self.0.lock();
        state.nodes.remove(&slot);
        state.links.retain(|(from, to, _)| *from != slot && *to != slot);
    }

    /// Cuts two slots off each other. What is under way between them is lost.
    pub(crate) fn cut(&self, pair: (usize, usize)) {
        let mut state = self.0.lock();
        state.cut.push(pair);
        let (links, lost): (Vec<_>, Vec<_>) = std::mem::take(&mut state.links)
            .into_iter()
            .partition(|(from, to, _)| !is_between((*from, *to), pair));
        state.lost += lost.len() as u64;
        state.links = links;
        for (.., cut) in lost {
            cut.send_replace(true);
        }
    }

    /// Lets two slots connect again.
    pub(crate) fn connect_again(&self, pair: (usize, usize)) {
        let mut state = self.0.lock();
        if let Some(at) = state.cut.iter().position(|cut| *cut == pair) {
            state.cut.remove(at);
        }
    }

    /// Sets the milliseconds that a frame may take.
    pub(crate) fn set_delay(&self, delay: u64) {
        self.0.lock().delay = delay.max(1);
    }

    /// Numbers of links that were opened, and of those that were cut.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.opened, state.lost)
    }

    fn delay(&self) -> Duration {
        let mut state = self.0.lock();
        let most = state.delay;
        Duration::from_millis(state.dice.u64(0..=most))
    }

    /// Time after a cut until one end notices it.
    fn notice(&self) -> Duration {
        Duration::from_millis(self.0.lock().dice.u64(0..6_000))
    }

    fn reach(&self, from: usize, url: &str) -> Option<Target> {
        let mut state = self.0.lock();
        let slot: usize = url.strip_prefix("sim://")?.parse().ok()?;
        if state.cut.iter().any(|pair| is_between((from, slot), *pair)) {
            return None;
        }
        let (runtime, hub) = state.nodes.get(&slot).cloned()?;
        let (sender, cut) = watch::channel(false);
        state.links.push((from, slot, sender));
        state.opened += 1;
        Some(Target { runtime, hub, cut })
    }
}

fn is_between((from, to): (usize, usize), (one, other): (usize, usize)) -> bool {
    (from, to) == (one, other) || (from, to) == (other, one)
}

/// Connects the node of one slot to others.
pub(crate) struct SimConnector {
    pub(crate) net: Arc<Net>,
    pub(crate) slot: usize,
}

impl std::fmt::Debug for SimConnector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SimConnector").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl NodeConnector for SimConnector {
    fn connect(&self, url: &str) -> BoxFuture<'static, Result<NodeLink, Refusal>> {
        let (net, slot, url) = (Arc::clone(&self.net), self.slot, url.to_owned());
        Box::pin(async move {
            sleep(net.delay()).await;
            let Some(Target { runtime, hub, cut }) = net.reach(slot, &url) else {
                let reason = "the node cannot be reached";
                return Err(Refusal::new(RefusalCode::Moved, reason));
            };
            let (to, outgoing) = mpsc::unbounded_channel();
            let (incoming, from) = mpsc::channel(FRAMES);
            let (requests, inbox) = mpsc::unbounded_channel();
            let (outbox, answers) = mpsc::channel(FRAMES);
            runtime.spawn(owner::serve(hub, inbox, outbox));
            let fate =
                LinkOutcome { notice: net.notice(), net: Arc::clone(&net), cut: cut.clone() };
            tokio::spawn(fate.carry_requests(outgoing, requests));
            let fate = LinkOutcome { notice: net.notice(), net, cut };
            tokio::spawn(fate.carry_answers(answers, incoming));
            Ok(NodeLink { to, from })
        })
    }
}

/// One direction of a link.
struct LinkOutcome {
    net: Arc<Net>,
    cut: watch::Receiver<bool>,
    notice: Duration,
}

impl LinkOutcome {
    async fn carry_requests(
        mut self,
        mut outgoing: mpsc::UnboundedReceiver<String>,
        requests: mpsc::UnboundedSender<String>,
    ) {
        let mut flying = VecDeque::new();
        let mut is_open = true;
        while is_open || !flying.is_empty() {
            tokio::select! {
                biased;
                () = is_cut(&mut self.cut) => return sleep(self.notice).await,
                frame = landed(&mut flying) => {
                    if requests.send(frame).is_err() {
                        return;
                    }
                }
                frame = outgoing.recv(), if is_open => match frame {
                    Some(frame) => flying.push_back((Instant::now() + self.net.delay(), frame)),
                    None => is_open = false,
                },
            }
        }
    }

    /// Carries frames, and pings, which are `None`.
    async fn carry_answers(
        mut self,
        mut answers: mpsc::Receiver<Option<String>>,
        incoming: mpsc::Sender<String>,
    ) {
        let mut flying = VecDeque::new();
        let (mut is_open, mut silent_until) = (true, Instant::now() + SILENCE_LIMIT);
        while is_open || !flying.is_empty() {
            tokio::select! {
                biased;
                () = is_cut(&mut self.cut) => return sleep(self.notice).await,
                () = incoming.closed() => return,
                frame = landed(&mut flying) => {
                    silent_until = Instant::now() + SILENCE_LIMIT;
                    if let Some(frame) = frame
                        && incoming.send(frame).await.is_err()
                    {
                        return;
                    }
                }
                frame = answers.recv(), if is_open && flying.len() < FLYING => match frame {
                    Some(frame) => flying.push_back((Instant::now() + self.net.delay(), frame)),
                    None => is_open = false,
                },
                () = sleep_until(silent_until) => return,
            }
        }
    }
}

/// Resolves when the link is cut; never if its node is gone, which closes its channels.
async fn is_cut(cut: &mut watch::Receiver<bool>) {
    if cut.wait_for(|is_cut| *is_cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The oldest frame under way, once it has arrived. Safe to drop and call again.
async fn landed<T>(flying: &mut VecDeque<(Instant, T)>) -> T {
    match flying.front() {
        Some((at, _)) => sleep_until(*at).await,
        None => std::future::pending().await,
    }
    match flying.pop_front() {
        Some((_, frame)) => frame,
        None => std::future::pending().await,
    }
}
