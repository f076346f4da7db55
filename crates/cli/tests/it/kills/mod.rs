//! `kill -9` of the real binary at every fault point of scripted turns, and SIGTERM under load.
//!
//! The model and the MCP server outlive the servers that ask them. A turn without a kill counts
//! how often it passes each kind of fault point ([`round::FaultPoint`]). Each further turn is
//! killed at one of them, or at several one after another.

mod checks;
mod crowd;
mod fakes;
mod loops;
mod model;
mod play;
mod receiver;
mod round;
mod script;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Pid;
use thoughtwire_proto::Style;

use crate::live::FaultyMachine;
use fakes::Fakes;
use play::{OwnerAnswer, play};
use round::{FaultPoint, KillAt, KillRound};
use server::KillSite;

/// Number of kills of each style's turns, unless `THOUGHTWIRE_KILLS` says more.
const KILLS: usize = 25;
/// Number of servers that are killed beside each other: most of the time each waits for its disk
/// or its start.
const SITES: usize = 3;
/// More saves than a turn has.
const MANY_SAVES: usize = 10_000;

/// The fault points of a turn, from one without a kill.
async fn fault_points(
    site: &mut KillSite,
    server: Pid,
    style: Style,
    fakes: &Fakes,
) -> Vec<KillAt> {
    let mut points = Vec::new();
    // The library counts the saves while it waits for one that does not come.
    let kills: Vec<KillAt> = if site.can_kill_in_saves() {
        vec![KillAt(FaultPoint::SaveSynced, MANY_SAVES)]
    } else {
        Vec::new()
    };
    let round = Arc::new(KillRound::new(0, style, site.data(), &kills));
    round.set_server(server);
    fakes.add(&round);
    let turn = play(site, &round, OwnerAnswer::Again, &script::history(&round.name)).await;
    let saves = turn.saves_left.map_or(0, |left| MANY_SAVES - left);
    checks::check(site, &round, &turn).await;
    for point in FaultPoint::SAVES {
        points.extend((1..=saves).map(|n| KillAt(point, n)));
    }
    let counts = round.counts();
    points.extend(counts.iter().flat_map(|(point, count)| (1..=*count).map(|n| KillAt(*point, n))));
    points
}

/// The kills of a round. Some turns are killed again in their continuation, or in the start before
/// it.
fn kills_of(number: usize, points: &[KillAt], rounds: usize) -> Vec<KillAt> {
    // Spread over all points, or all of them one after another.
    let at = |number: usize| match rounds < points.len() {
        true => points[number * points.len() / rounds % points.len()],
        false => points[number % points.len()],
    };
    let mut kills = vec![at(number)];
    if number.is_multiple_of(12) {
        let saves = FaultPoint::SAVES;
        kills.push(KillAt(saves[number / 12 % saves.len()], 1 + number / 12 % 6));
    }
    if number % 60 == 30 {
        kills.extend([KillAt(FaultPoint::EventRead, 2), KillAt(FaultPoint::ModelAsked, 1)]);
    }
    kills
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_turn_killed_anywhere_completes_once_with_each_effect_accounted_for() {
    kill_everywhere(Style::Native).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_turn_in_memgpt_style_killed_anywhere_completes_once_as_well() {
    kill_everywhere(Style::Memgpt).await;
}

/// Kills turns of agents of a style at all their fault points, or at as many as are wanted.
async fn kill_everywhere(style: Style) {
    let wanted = std::env::var("THOUGHTWIRE_KILLS").ok().and_then(|kills| kills.parse().ok());
    let wanted = wanted.unwrap_or(KILLS);
    let machine = FaultyMachine::make();
    let fakes = Arc::new(Fakes::start(None).await);
    let mut sites = Vec::new();
    for _ in 0..SITES {
        let mut site = KillSite::new(&fakes.host, machine.as_ref());
        let server = site.start().await.expect("it starts");
        sites.push((site, server));
    }
    let (first, server) = &mut sites[0];
    let points = Arc::new(fault_points(first, *server, style, &fakes).await);
    let next = Arc::new(AtomicUsize::new(1));
    let mut played = tokio::task::JoinSet::new();
    for (mut site, mut server) in sites {
        let (fakes, points, next) = (Arc::clone(&fakes), Arc::clone(&points), Arc::clone(&next));
        played.spawn(async move {
            let mut kills = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number > wanted {
                    return kills;
                }
                let planned = kills_of(number, &points, wanted);
                let round = Arc::new(KillRound::new(number, style, site.data(), &planned));
                round.set_server(server);
                fakes.add(&round);
                let answer = OwnerAnswer::ALL[number % OwnerAnswer::ALL.len()];
                let history = script::history(&round.name);
                let turn = play(&mut site, &round, answer, &history).await;
                server = round.server().expect("a server runs");
                checks::check(&site, &round, &turn).await;
                kills.extend(turn.kills);
            }
        });
    }
    let mut tally: BTreeMap<FaultPoint, usize> = BTreeMap::new();
    while let Some(kills) = played.join_next().await {
        for KillAt(point, _) in kills.unwrap() {
            *tally.entry(point).or_default() += 1;
        }
    }
    let total: usize = tally.values().sum();
    eprintln!("{total} kills of {style:?} turns with {} fault points: {tally:?}", points.len());
    // A turn may pass a few moments less often than the first one: deltas are merged, saves shared.
    assert!(total * 10 >= wanted * 8, "{total} of {wanted} turns were killed");
}
