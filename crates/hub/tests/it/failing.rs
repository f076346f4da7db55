//! A disk that fails or stands still. Lost appends are refused; the hub goes on when the disk
//! works again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use thoughtwire_hub::{Agent, AgentError, Hub, HubOptions, Turn, TurnError, now};
use thoughtwire_proto::{
    Command, CommandReply, Event, Policy, Refusal, RefusalCode, SessionCommand, ToolStatus,
    TurnEvent,
};
use thoughtwire_store::{BrokenTable, RamDisk, RamDriver, WriteFault};

use crate::support::{Puppet, Room};

/// A room on a store that commits when it is told to.
struct Stage {
    room: Room,
    driver: RamDriver,
}

impl Stage {
    async fn open(agent: Arc<dyn Agent>) -> Self {
        let disk = RamDisk::new();
        let first = Room::on(disk.open(now()), Arc::new(Puppet), HubOptions::default()).await;
        first.hub.stop(Duration::ZERO).await;
        first.hub.store().close().await;
        let (store, driver) = disk.open_driven(now());
        let hub = Hub::new(Arc::new(store), agent, HubOptions::default()).await.unwrap();
        let mut stage = Self { room: Room { hub, ..first }, driver };
        // The hub's own writes at its start.
        stage.write().await;
        stage
    }

    /// Asks, and hands out the answer's future: nothing is committed yet.
    fn send(
        &self,
        text: &str,
        policy: Policy,
    ) -> tokio::task::JoinHandle<Result<CommandReply, Refusal>> {
        let session = self.room.session.clone();
        self.ask(
            SessionCommand::Send { text: text.into(), attachments: vec![], policy }.on(session),
        )
    }

    fn ask(&self, command: Command) -> tokio::task::JoinHandle<Result<CommandReply, Refusal>> {
        let (hub, user) = (self.room.hub.clone(), self.room.user.clone());
        tokio::spawn(async move {
            let request = thoughtwire_proto::Request { id: None, command };
            crate::support::carry_out(&hub, &user, None, request).await.await
        })
    }

    /// Everybody does what there is to do; the time passes when nobody has anything left.
    async fn pass(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn write(&mut self) {
        for _ in 0..20 {
            self.pass().await;
            if let Some(committed) = self.driver.commit(1024) {
                committed.tell();
            }
        }
        self.pass().await;
    }

    fn fail(&self) {
        self.driver.set_write_fault(Some(NOTHING_IS_SAVED));
    }

    fn heal(&self) {
        self.driver.set_write_fault(None);
    }

    /// Until the turn that could not be ended has been.
    async fn recover(&mut self) {
        self.write().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.write().await;
    }
}

const NOTHING_IS_SAVED: WriteFault = WriteFault::Transactions { every: 1 };

#[tokio::test(start_paused = true)]
async fn an_input_whose_turn_could_not_be_saved_keeps_its_words() {
    let mut stage = Stage::open(Arc::new(Puppet)).await;
    let running = stage.send("hang", Policy::Queue);
    let queued = stage.send("say", Policy::Queue);
    stage.write().await;
    assert!(running.await.unwrap().is_ok() && queued.await.unwrap().is_ok());
    stage.fail();
    // Its append ends the one turn and starts the other.
    let cancel = stage.ask(SessionCommand::Cancel { turn: None }.on(stage.room.session.clone()));
    stage.write().await;
    assert_eq!(cancel.await.unwrap().unwrap_err().code, RefusalCode::StoreFailed);
    stage.heal();
    stage.recover().await;
    let log = stage.room.log().await;
    assert!(
        log.iter().any(
            |event| matches!(event, Event::Turn(TurnEvent::Message { text, .. }) if text == "said")
        ),
        "{log:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_said_in_a_turn_that_was_not_saved_is_in_no_other() {
    let mut stage = Stage::open(Arc::new(Puppet)).await;
    let first = stage.send("hang", Policy::Queue);
    stage.write().await;
    assert!(first.await.unwrap().is_ok());
    stage.fail();
    let second = stage.send("begin hang", Policy::Interrupt);
    stage.write().await;
    assert_eq!(second.await.unwrap().unwrap_err().code, RefusalCode::StoreFailed);
    stage.heal();
    stage.recover().await;
    let log = stage.room.log().await;
    assert_eq!(
        crate::support::kinds(&log),
        ["session_opened", "user_message", "turn_started", "turn_ended"]
    );
}

#[tokio::test(start_paused = true)]
async fn behind_words_that_were_not_saved_come_no_others() {
    let mut stage = Stage::open(Arc::new(Puppet)).await;
    let answer = stage.send("tool 400", Policy::Queue);
    // The turn's start, and its call.
    for _ in 0..2 {
        stage.pass().await;
        stage.driver.commit(1).unwrap().tell();
    }
    assert!(answer.await.unwrap().is_ok());
    stage.pass().await;
    assert_eq!(stage.driver.waiting(), 256, "more words wait behind those that wait for the disk");
    stage.fail();
    stage.driver.commit(1024).unwrap().tell();
    stage.heal();
    stage.recover().await;
    let log = stage.room.log().await;
    let kinds = "session_opened user_message turn_started tool_called tool_returned turn_ended";
    assert_eq!(crate::support::kinds(&log).join(" "), kinds);
    assert!(matches!(
        &log[4],
        Event::Turn(TurnEvent::ToolReturned { status: ToolStatus::Unknown, .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_disk_that_neither_takes_nor_gives() {
    let mut stage = Stage::open(Arc::new(Puppet)).await;
    let first = stage.send("hang", Policy::Queue);
    stage.write().await;
    assert!(first.await.unwrap().is_ok());
    stage.driver.set_broken(Some(BrokenTable::Sessions));
    let second = stage.send("say", Policy::Queue);
    stage.write().await;
    assert_eq!(second.await.unwrap().unwrap_err().code, RefusalCode::StoreFailed);
    let hub = stage.room.hub.clone();
    let stop = tokio::spawn(async move { hub.stop(Duration::from_secs(5)).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    stage.write().await;
    assert!(stop.is_finished());
}

/// Says as much as it is let.
struct Flood {
    said: Arc<AtomicUsize>,
    streamed: bool,
}

impl Agent for Flood {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        let (said, streamed) = (Arc::clone(&self.said), self.streamed);
        Box::pin(async move {
            let mut message = turn.interface.open_message();
            loop {
                match streamed {
                    true => message.write("on and on ").await?,
                    false => turn.interface.status("on and on").await?,
                }
                said.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_floods_is_held_up_by_a_disk_that_stands_still() {
    for streamed in [true, false] {
        let said = Arc::new(AtomicUsize::new(0));
        let stage = Stage::open(Arc::new(Flood { said: Arc::clone(&said), streamed })).await;
        let _answer = stage.send("go", Policy::Queue);
        // Nothing is written: its turn's own start waits for the disk.
        let mut before = usize::MAX;
        while before != said.load(Ordering::Relaxed) && said.load(Ordering::Relaxed) < 100_000 {
            before = said.load(Ordering::Relaxed);
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
        }
        let said = said.load(Ordering::Relaxed);
        assert!(said > 0 && said < 10_000, "{said} words wait for the disk");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_saved_although_nobody_knew_reaches_those_who_are_attached() {
    let mut stage = Stage::open(Arc::new(Puppet)).await;
    let (_, mut listener) = stage.room.after(0).await;
    stage.driver.set_write_fault(Some(WriteFault::UnknownSaved));
    let answer = stage.send("hang", Policy::Queue);
    stage.write().await;
    assert_eq!(answer.await.unwrap().unwrap_err().code, RefusalCode::StoreUnknown);
    stage.heal();
    stage.recover().await;
    let seen = listener.turn().await;
    assert_eq!(
        crate::support::kinds(&crate::support::events(&seen)),
        ["session_opened", "user_message", "turn_started", "turn_ended"]
    );
    assert_eq!(stage.room.log().await, crate::support::events(&seen));
}

#[tokio::test(start_paused = true)]
async fn who_begins_behind_a_record_whose_session_was_not_told_yet_goes_on_there() {
    let mut stage = Stage::open(Arc::new(Puppet)).await;
    let _answer = stage.send("hang", Policy::Queue);
    stage.pass().await;
    let committed = stage.driver.commit(1024).unwrap();
    assert_eq!(stage.room.log().await.len(), 3, "the store shows it already");
    let attaching = stage.room.after(3);
    let telling = async {
        stage.pass().await;
        committed.tell();
    };
    let ((attached, _), ()) = tokio::join!(attaching, telling);
    assert!(attached.recovered && attached.after.0 == 3, "{attached:?}");
}

/// Streams for as long as it runs.
struct Drip;

impl Agent for Drip {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move {
            let mut message = turn.interface.open_message();
            loop {
                message.write("drip ").await?;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn copies_of_an_open_sentence_do_not_pile_up_in_front_of_a_disk_that_stands_still() {
    let mut stage = Stage::open(Arc::new(Drip)).await;
    let answer = stage.send("go", Policy::Queue);
    stage.write().await;
    assert!(answer.await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(stage.driver.waiting(), 1);
    // It goes on with what there is by then.
    stage.write().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.driver.waiting(), 1);
}

/// Makes a call and keeps the error that it gets.
struct Caught(Arc<parking_lot::Mutex<Option<TurnError>>>);

impl Agent for Caught {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        let caught = Arc::clone(&self.0);
        Box::pin(async move {
            let called = turn.interface.tools().called("lookup", Default::default()).await;
            *caught.lock() = called.err();
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_told_why_its_call_could_not_be_saved() {
    for (fault, code) in [
        (WriteFault::Full, RefusalCode::StoreFull),
        (WriteFault::UnknownUnsaved, RefusalCode::StoreUnknown),
        (WriteFault::UnknownSaved, RefusalCode::StoreUnknown),
        (NOTHING_IS_SAVED, RefusalCode::StoreFailed),
    ] {
        let caught = Arc::default();
        let mut stage = Stage::open(Arc::new(Caught(Arc::clone(&caught)))).await;
        let answer = stage.send("go", Policy::Queue);
        stage.pass().await;
        stage.driver.commit(1).unwrap().tell();
        assert!(answer.await.unwrap().is_ok());
        stage.pass().await;
        stage.driver.set_write_fault(Some(fault));
        stage.write().await;
        let Some(TurnError::Unsaved(refusal)) = caught.lock().clone() else {
            panic!("{fault:?}: {:?}", caught.lock())
        };
        assert_eq!(refusal.code, code, "{fault:?}");
    }
}
