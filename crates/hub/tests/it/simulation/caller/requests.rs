//! Requests of a connection of an older wire.

use super::*;

impl Line {
    pub(super) async fn request(&mut self, tag: Tag, request: Request) {
        match request.command {
            Command::Connection(ConnectionCommand::Attach { session, start, .. }) => {
                let outcome = self.attach(session, start).await;
                self.machine.answer(tag, outcome);
            }
            Command::Connection(ConnectionCommand::Detach { session }) => {
                let outcome = self.detach(&session).await;
                self.machine.answer(tag, outcome);
            }
            Command::Connection(ConnectionCommand::DecideOldest { session, decision, result }) => {
                let (hub, user) = (self.hub.clone(), self.user.clone());
                let (ledger, caller) = (Arc::clone(&self.ledger), self.caller);
                self.answers.push(Box::pin(async move {
                    let outcome = match hub.oldest_approval(&user, &session, decision).await {
                        Ok(call) => {
                            let from = Some("caller".to_owned());
                            let command = SessionCommand::Decide { call, decision, result };
                            hub.execute(&user, from, None, session, command).await
                        }
                        Err(refusal) => Err(refusal),
                    };
                    let outcome = outcome.map(CommandReply::Session);
                    ledger.lock().unwrap().called(caller, &outcome);
                    (tag, outcome)
                }));
            }
            _ => {
                let question = self.question(&request.command);
                let answering =
                    carry_out(&self.hub, &self.user, Some("caller".to_owned()), request).await;
                let (ledger, caller, number) = (Arc::clone(&self.ledger), self.caller, self.number);
                self.answers.push(Box::pin(async move {
                    let outcome = tokio::task::coop::unconstrained(answering).await;
                    match question {
                        Some(question) => {
                            if let Ok(CommandReply::Session(SessionReply::Input {
                                input, ..
                            })) = &outcome
                            {
                                ledger.lock().unwrap().callers[caller].said(number, input.clone());
                            }
                            question.answered(outcome.clone());
                        }
                        None => ledger.lock().unwrap().called(caller, &outcome),
                    }
                    (tag, outcome)
                }));
            }
        }
    }

    /// A command of the client is asked like everybody's.
    fn question(&self, command: &Command) -> Option<Question> {
        let Command::Session { session, command: SessionCommand::Send { text, .. } } = command
        else {
            return None;
        };
        let number = {
            let mut ledger = self.ledger.lock().unwrap();
            let room = ledger.room_of(session);
            let tag = text.split(' ').next().unwrap_or_default().to_owned();
            ledger.asks(None, room, tag, command.clone())
        };
        Some(Question::new(&self.ledger, number))
    }

    async fn attach(&mut self, session: SessionId, start: Start) -> Result<CommandReply, Refusal> {
        let (peer, is_proven) = (self.machine.peer().cloned(), matches!(start, Start::Proven(_)));
        self.attached.remove(&session);
        let before = self.ledger.lock().unwrap().view(&session);
        let wake = Arc::clone(&self.wake);
        let attached = self
            .hub
            .attach(&self.user, &session, start, wake, Presence::Client { tools: Vec::new() })
            .await;
        let (attached, subscription) = match attached {
            Ok(attached) => attached,
            Err(refusal) => {
                self.ledger.lock().unwrap().not_joined(self.caller, &session, &refusal);
                return Err(refusal);
            }
        };
        let now = self.clock.now().as_millis();
        let whose = (self.caller, self.number);
        let certainty =
            self.ledger.lock().unwrap().joined(whose, &session, &before, &attached, is_proven, now);
        self.write(Item::Joined { session: session.clone(), after: attached.after, certainty });
        let encoding = self.machine.encoding(&session);
        let (proven, kept) = (attached.after, peer.is_some());
        self.attached.insert(session, Attachment { subscription, encoding, peer, proven });
        if kept {
            let rows = self.proof_rows();
            self.keep(rows, None).await;
        }
        Ok(CommandReply::Connection(ConnectionReply::Attached(attached)))
    }

    async fn detach(&mut self, session: &SessionId) -> Result<CommandReply, Refusal> {
        let rows: Vec<Proven> =
            self.proof_rows().into_iter().filter(|row| row.session == *session).collect();
        if self.attached.remove(session).is_none() {
            return Err(Refusal::new(RefusalCode::NotAttached, "not attached"));
        }
        let now = self.clock.now();
        self.ledger.lock().unwrap().detached(self.caller, self.number, session, now.as_millis());
        self.write(Item::Left(session.clone()));
        self.keep(rows, Some(now)).await;
        Ok(CommandReply::Connection(ConnectionReply::Done))
    }
}
