//! The data that every history begins with: an agent and two sessions.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_hub::{Hub, HubOptions, now};
use thoughtwire_proto::{
    AgentSpec, Command, CommandReply, DirectoryCommand, DirectoryReply, OFFERED, Request,
    SessionId, UserId,
};
use thoughtwire_store::RamDisk;

use super::worker::OFFERED_AGENT;
use crate::support::Puppet;

pub(crate) struct Template {
    pub(crate) user: UserId,
    /// The main session of an agent, another one of it, and that of an offered agent.
    pub(crate) sessions: Vec<SessionId>,
    pub(crate) disk: RamDisk,
}

impl Template {
    /// `has_workers`: workers run the turns of one agent.
    pub(crate) fn make(has_workers: bool) -> Self {
        let disk = RamDisk::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (user, sessions) = runtime.block_on(async {
            let hub = Hub::new(Arc::new(disk.open(now())), Arc::new(Puppet), HubOptions::default())
                .await
                .unwrap();
            let user: UserId = "local".parse().unwrap();
            let ask = async |command| {
                let request = Request { id: None, command };
                crate::support::carry_out(&hub, &user, None, request).await.await
            };
            let spec = AgentSpec { name: "ada".into(), ..AgentSpec::default() };
            let CommandReply::Directory(DirectoryReply::Agent { profile: agent, .. }) =
                ask(Command::Directory(DirectoryCommand::CreateAgent(Box::new(spec))))
                    .await
                    .unwrap()
            else {
                panic!("no agent")
            };
            let second = Command::Directory(DirectoryCommand::CreateSession {
                agent: "ada".into(),
                title: None,
                instructions: None,
                history: Vec::new(),
            });
            let CommandReply::Directory(DirectoryReply::Session { session: second, .. }) =
                ask(second).await.unwrap()
            else {
                panic!("no session")
            };
            let model = has_workers.then_some(OFFERED);
            let spec = serde_json::json!({
                "name": OFFERED_AGENT, "model": model, "permissions": { "risky": "ask" },
            });
            let offered = serde_json::from_value(spec).unwrap();
            let CommandReply::Directory(DirectoryReply::Agent { profile: offered, .. }) =
                ask(Command::Directory(DirectoryCommand::CreateAgent(offered))).await.unwrap()
            else {
                panic!("no agent")
            };
            let sessions = vec![agent.main_session, second, offered.main_session];
            hub.stop(Duration::ZERO).await;
            hub.store().close().await;
            (user, sessions)
        });
        Self { user, sessions, disk }
    }
}
