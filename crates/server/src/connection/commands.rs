//! The commands of a connection's client: carried out here, by a session, or by the directory.

use std::sync::Arc;

use thoughtwire_hub::{Hub, Presence, Replying, SharedSink, TailEntry};
use thoughtwire_proto::connection::Tag;
use thoughtwire_proto::{
    Command, CommandId, CommandReply, ConnectionCommand, ConnectionReply, DirectoryCommand,
    DirectoryReply, PeerRef, Refusal, RefusalCode, Request, SessionCommand, SessionId,
    SessionReply, Start, ToolDeclaration, UserId,
};
use thoughtwire_store::{Proven, Scope};
use tokio::io::{AsyncRead, AsyncWrite};

use super::attached_sessions::AttachedSession;
use super::{ClientConnection, ConnectionContext};
use crate::access::{Entrant, Identity, create_agent, too_many};
use crate::connection_sink::ConnectionSink;
use crate::listing;

impl<S: AsyncRead + AsyncWrite + Unpin> ClientConnection<S> {
    /// Takes a client's credentials.
    pub(super) fn authenticate(
        &mut self,
        token: Option<&str>,
        client: Option<String>,
        space: Option<&str>,
    ) -> Result<(), Refusal> {
        let identity = self.context.access.enter(&self.context.entrant, token)?;
        let is_in_use =
            self.workers.is_some() || self.watching.is_some() || !self.attached.is_empty();
        if identity.user != self.context.entrant.identity.user && is_in_use {
            let reason = "this connection acts for another user already; open another one";
            return Err(Refusal::new(RefusalCode::BadRequest, reason));
        }
        if !self.takes_permit(&identity) {
            return Err(too_many());
        }
        self.ended = identity.ended();
        self.context.space = self.context.access.space(&identity, token, space);
        self.context.entrant = Entrant { identity, trusted: true };
        if let Some(client) = client {
            self.context.from = client;
        }
        Ok(())
    }

    /// Takes a permit of the user that this connection is now known to act for. The result is false
    /// when that user has no more.
    fn takes_permit(&mut self, identity: &Identity) -> bool {
        if self.context.permit.as_ref().is_some_and(|permit| *permit.of() == identity.user) {
            return true;
        }
        self.context.permit = self.context.access.users.take(identity.user.clone());
        self.context.permit.is_some()
    }

    /// Begins to carry out a request. Its reply goes to the machine, now or later.
    pub(super) async fn request(&mut self, tag: Tag, Request { id, command }: Request) {
        // A worker says as much as the turn takes.
        let is_said = matches!(command, Command::Connection(ConnectionCommand::Say { .. }));
        if !is_said && !self.context.pace.allows() {
            let refusal = Refusal::new(
                RefusalCode::TooFast,
                "this connection asks for more in a second than it may; send slower",
            );
            self.machine.answer(tag, Err(refusal));
            return;
        }
        if let Err(refusal) = self.context.entrant.identity.demand_for(&command) {
            self.machine.answer(tag, Err(refusal));
            return;
        }
        let reply = match command {
            Command::Connection(command) => match self.own_command(tag, id, command).await {
                Some(reply) => reply,
                None => return,
            },
            Command::Session { session, command } => {
                let (hub, user, from) = self.sender();
                into_reply(hub.submit(&user, from, id, session, command).await)
            }
            Command::Directory(command) => self.directory_command(id, command),
        };
        // Unconstrained, so that tokio never puts off a reply that is ready: see `show`.
        self.replies
            .push(Box::pin(async move { (tag, tokio::task::coop::unconstrained(reply).await) }));
    }

    /// The hub, and the user and client in whose name it is asked.
    fn sender(&self) -> (Hub, UserId, Option<String>) {
        let ConnectionContext { hub, entrant, from, .. } = &self.context;
        (hub.clone(), entrant.identity.user.clone(), Some(from.clone()))
    }

    /// Carries out a command of the connection. The result is the reply where it has to be awaited.
    async fn own_command(
        &mut self,
        tag: Tag,
        id: Option<CommandId>,
        command: ConnectionCommand,
    ) -> Option<Replying<CommandReply>> {
        let (hub, user, from) = self.sender();
        match command {
            ConnectionCommand::Attach { session, start, tools } => {
                let outcome = self.attach(session, start, tools).await;
                self.machine.answer(tag, outcome.map(CommandReply::Connection));
                None
            }
            ConnectionCommand::Detach { session } => {
                let outcome = self.detach(&session).await;
                self.machine.answer(tag, outcome.map(CommandReply::Connection));
                None
            }
            ConnectionCommand::Watch => {
                self.watching = Some(hub.watch(&user));
                self.machine.answer(tag, Ok(ConnectionReply::Done.into()));
                for entry in listing::all(&hub, &user).await.unwrap_or_default() {
                    self.machine.listed(&entry);
                }
                None
            }
            ConnectionCommand::Offer(offer) => {
                let may_make = self.context.entrant.identity.has(Scope::Agents);
                let workers = self.workers.get_or_insert_with(|| hub.worker_connection(&user));
                let outcome = workers.offer(*offer, may_make).await;
                self.machine.answer(tag, outcome.map(CommandReply::Connection));
                None
            }
            ConnectionCommand::Say { turn, verb } => {
                let workers = self.workers.get_or_insert_with(|| hub.worker_connection(&user));
                Some(into_reply(workers.say(&turn, id, verb).await))
            }
            ConnectionCommand::InAttached(command) => {
                let sessions = self.attached.ids();
                Some(into_reply(Box::pin(in_attached(hub, user, from, id, command, sessions))))
            }
            ConnectionCommand::DecideOldest { session, decision, result } => {
                Some(into_reply(Box::pin(async move {
                    let call = hub.oldest_approval(&user, &session, decision).await?;
                    let command = SessionCommand::Decide { call, decision, result };
                    hub.execute(&user, from, id, session, command).await
                })))
            }
        }
    }

    async fn detach(&mut self, session: &SessionId) -> Result<ConnectionReply, Refusal> {
        let user = &self.context.entrant.identity.user;
        let mut proven = self.attached.proven(user);
        proven.retain(|proven: &Proven| proven.session == *session);
        let outcome = if self.attached.remove(session) {
            Ok(ConnectionReply::Done)
        } else {
            let reason = format!("this connection is not attached to {session}");
            Err(Refusal::new(RefusalCode::NotAttached, reason))
        };
        if !proven.is_empty() {
            // Left open, it would count as a connection of its peer until the next start.
            self.context.hub.prove(proven, Some(thoughtwire_hub::now())).await;
        }
        outcome
    }

    /// Begins to carry out a command of the directory.
    fn directory_command(
        &mut self,
        id: Option<CommandId>,
        command: DirectoryCommand,
    ) -> Replying<CommandReply> {
        let (hub, user, _) = self.sender();
        let identity = &self.context.entrant.identity;
        match command {
            DirectoryCommand::OpenPeer { wire, space: _, name } if self.machine.has_chats() => {
                let name = name.unwrap_or_else(|| thoughtwire_hub::new_id::<()>().to_string());
                let peer = PeerRef { wire, space: self.context.space.clone(), name };
                // Followed before the peer is opened, so that no chat is missed in between.
                self.joined = Some(hub.joined(&user, &peer));
                let PeerRef { wire, space, name } = peer;
                let command = DirectoryCommand::OpenPeer { wire, space, name: Some(name) };
                into_reply(hub.directory().direct(&user, id, command))
            }
            DirectoryCommand::CreateAgent(spec) if !identity.has(Scope::Agents) => {
                let identity = identity.clone();
                Box::pin(async move {
                    let made = create_agent(&hub, &identity, id, *spec).await?;
                    let reply = DirectoryReply::Agent {
                        profile: Box::new(made.thing),
                        duplicate: made.duplicate,
                    };
                    Ok(reply.into())
                })
            }
            command @ (DirectoryCommand::CreateAgent(_)
            | DirectoryCommand::FindAgent { .. }
            | DirectoryCommand::CreateSession { .. }
            | DirectoryCommand::OpenPeer { .. }
            | DirectoryCommand::OpenChat { .. }) => {
                into_reply(hub.directory().direct(&user, id, command))
            }
        }
    }

    async fn attach(
        &mut self,
        session: SessionId,
        start: Start,
        tools: Vec<ToolDeclaration>,
    ) -> Result<ConnectionReply, Refusal> {
        // Also in a chat that another connection of the peer opened.
        let peer = self.machine.peer().cloned();
        // Attaching again starts over at the new position.
        self.attached.remove(&session);
        let user = &self.context.entrant.identity.user;
        let (wake, presence) = (Arc::clone(&self.wake), Presence::Client { tools });
        let (attached, subscription) =
            self.context.hub.attach(user, &session, start, wake, presence).await?;
        let encoding = self.machine.encoding(&session);
        let sink = self.writer.as_ref().map(|writer| -> SharedSink<Arc<TailEntry>> {
            Arc::new(ConnectionSink {
                writer: Arc::clone(writer),
                encoding: encoding.clone(),
                limit: self.context.frame_limit,
                proof: peer.is_some().then(|| Arc::clone(self.attached.proof())),
                wake: Arc::clone(&self.wake),
                metrics: self.context.metrics.clone(),
            })
        });
        let (proven, is_peer) = (attached.after, peer.is_some());
        let attached_session = AttachedSession { subscription, encoding, peer, proven, sink };
        self.attached.insert(session, attached_session);
        if is_peer {
            // From here on even a killed server knows where this connection began.
            self.save_proven(false).await;
        }
        Ok(ConnectionReply::Attached(attached))
    }
}

/// Has each attached session in turn carry out a command, until one has its input or call.
async fn in_attached(
    hub: Hub,
    user: UserId,
    from: Option<String>,
    id: Option<CommandId>,
    command: SessionCommand,
    sessions: Vec<SessionId>,
) -> Result<SessionReply, Refusal> {
    let mut refusal =
        Refusal::new(RefusalCode::BadRequest, "say which session is meant, or attach to it first");
    for session in sessions {
        match hub.execute(&user, from.clone(), id.clone(), session, command.clone()).await {
            Err(no) if matches!(no.code, RefusalCode::UnknownInput | RefusalCode::UnknownCall) => {
                refusal = no;
            }
            outcome => return outcome,
        }
    }
    Err(refusal)
}

fn into_reply<T: Into<CommandReply> + 'static>(reply: Replying<T>) -> Replying<CommandReply> {
    Box::pin(async move { reply.await.map(Into::into) })
}
