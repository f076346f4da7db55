//! The statement of a flush: one that saves batches and checkpoints of many sessions.

use std::collections::{HashMap, HashSet};

use thoughtwire_proto::{Id, Record, Role, SessionId};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::lineage::TIMELINE;
use super::sql::{Argument, Text, args, get_i64, get_u64, rows, to_i64};
use crate::logs::{kind_name, returned_call};
use crate::{Batch, BlockEdit, OpenItem, StoreError};

/// A node's fence in its next flush.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fence {
    /// The node's incarnation.
    pub(super) node: i64,
    /// Number of the flush: one more than the last.
    pub(super) number: i64,
}

/// Sessions whose head moved, by their place in the flush from 1.
pub(super) struct Moved(pub(super) HashSet<i64>);

/// Why a batch does not fit its session's log.
pub(super) async fn head_moved(sql: &Client, batch: &Batch) -> Result<StoreError, StoreError> {
    let found = rows(
        sql,
        "SELECT head, node FROM sessions WHERE id = $1",
        args![Text(batch.session().as_str())],
    )
    .await?;
    Ok(match found.first() {
        Some(row) => {
            let found = get_u64(row, 0)?;
            if found == batch.after().0 {
                StoreError::Elsewhere { session: batch.session().clone(), url: None }
            } else {
                StoreError::HeadMoved { found, expected: batch.after().0 }
            }
        }
        None => StoreError::missing_session(batch.session()),
    })
}

/// Appends batches of different sessions as part of a transaction, whose fence is checked by the
/// transaction.
pub(super) async fn append(sql: &Client, node: i64, batches: &[Batch]) -> Result<(), StoreError> {
    if batches.is_empty() {
        return Ok(());
    }
    let mut statement = FlushStatement::within_transaction(node);
    statement.add_sessions(batches.iter().map(std::slice::from_ref))?;
    statement.add_records(batches.iter())?;
    let moved = statement.run(sql).await?.map(|Moved(places)| places).unwrap_or_default();
    match (1_i64..).zip(batches).find(|(at, _)| !moved.contains(at)) {
        None => Ok(()),
        Some((_, batch)) => Err(head_moved(sql, batch).await?),
    }
}

/// The statement of a flush, while it is put together.
pub(super) struct FlushStatement<'a> {
    parts: Vec<String>,
    arguments: Vec<(Box<dyn ToSql + Sync + Send + 'a>, Type)>,
    node: i64,
    is_fenced: bool,
}

impl<'a> FlushStatement<'a> {
    pub(super) fn fenced(fence: Fence) -> Self {
        let mut statement =
            Self { parts: Vec::new(), arguments: Vec::new(), node: fence.node, is_fenced: true };
        let (node, number) = (statement.argument(fence.node), statement.argument(fence.number));
        statement.parts.push(format!(
            "fence AS (UPDATE fences SET number = {number} WHERE incarnation = {node}
             AND number = {number} - 1 AND NOT closed AND timeline = {TIMELINE}
             RETURNING incarnation)"
        ));
        statement
    }

    fn within_transaction(node: i64) -> Self {
        Self {
            parts: vec!["fence AS (SELECT 1)".to_owned()],
            arguments: Vec::new(),
            node,
            is_fenced: false,
        }
    }

    /// Adds an argument. Gives its place in the statement.
    fn argument<T: Argument + Send + 'a>(&mut self, value: T) -> String {
        self.arguments.push((Box::new(value), T::TYPE));
        format!("${}", self.arguments.len())
    }

    /// Moves the heads of sessions, each with its batches.
    pub(super) fn add_sessions(
        &mut self,
        sessions: impl Iterator<Item = &'a [Batch]>,
    ) -> Result<(), StoreError> {
        let (mut ids, mut after, mut heads, mut states) = (vec![], vec![], vec![], vec![]);
        let (mut running, mut queued, mut titles, mut times) = (vec![], vec![], vec![], vec![]);
        let mut said = vec![];
        for batches in sessions {
            let (Some(first), Some(last)) = (batches.first(), batches.last()) else { continue };
            let state = last.state();
            ids.push(Text(first.session().as_str()));
            after.push(to_i64(first.after().0));
            heads.push(to_i64(state.head().0));
            states.push(OwnedText(serde_json::to_string(state)?));
            running.push(state.turn().is_some());
            queued.push(i64::try_from(state.queue().len()).unwrap_or(i64::MAX));
            titles.push(state.title().map(Text));
            let records = || batches.iter().flat_map(Batch::records);
            times.push(records().map(|record| record.at.as_millis()).max().unwrap_or(0));
            let count = records().filter(|record| record.event.said().is_some()).count();
            said.push(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if ids.is_empty() {
            return Ok(());
        }
        let node = self.argument(self.node);
        let columns = [
            self.argument(ids) + "::text[]",
            self.argument(after) + "::bigint[]",
            self.argument(heads) + "::bigint[]",
            self.argument(states) + "::text[]",
            self.argument(running) + "::boolean[]",
            self.argument(queued) + "::bigint[]",
            self.argument(titles) + "::text[]",
            self.argument(times) + "::bigint[]",
            self.argument(said) + "::bigint[]",
        ];
        self.parts.push(format!(
            "moved AS (
                UPDATE sessions SET head = batch.head, state = batch.state, running = batch.running,
                    queued = batch.queued, title = batch.title, said = sessions.said + batch.said,
                    updated_at = greatest(sessions.updated_at, batch.time)
                FROM unnest({}) WITH ORDINALITY
                    AS batch (id, after, head, state, running, queued, title, time, said, at), fence
                WHERE sessions.id = batch.id AND sessions.head = batch.after
                    AND (sessions.node IS NULL OR sessions.node = {node})
                RETURNING sessions.num, sessions.agent, batch.at)",
            columns.join(", ")
        ));
        Ok(())
    }

    /// Adds the records of batches, and everything that is saved with them.
    pub(super) fn add_records(
        &mut self,
        batches: impl Iterator<Item = &'a Batch>,
    ) -> Result<(), StoreError> {
        let mut places: HashMap<&SessionId, i64> = HashMap::new();
        let (mut events, mut said) = (EventColumns::default(), SaidColumns::default());
        let mut extras = ExtraColumns::default();
        for batch in batches {
            let next = i64::try_from(places.len()).unwrap_or(i64::MAX) + 1;
            let at = *places.entry(batch.session()).or_insert(next);
            for record in batch.records() {
                events.push(at, record)?;
                said.push(at, record);
            }
            extras.push(at, batch);
        }
        events.add_to(self);
        said.add_to(self);
        extras.add_to(self);
        Ok(())
    }

    /// Saves the texts so far of open items.
    pub(super) fn add_checkpoints(
        &mut self,
        items: impl Iterator<Item = (&'a SessionId, &'a OpenItem)>,
    ) {
        let (mut sessions, mut ids, mut turns) = (vec![], vec![], vec![]);
        let (mut kinds, mut texts, mut continued) = (vec![], vec![], vec![]);
        for (session, item) in items {
            sessions.push(Text(session.as_str()));
            ids.push(Text(item.item.as_str()));
            turns.push(Text(item.turn.as_str()));
            kinds.push(Text(kind_name(item.kind)));
            texts.push(Text(&item.text));
            continued.push(item.continues.as_ref().map(|item| Text(item.as_str())));
        }
        if sessions.is_empty() {
            return;
        }
        let columns = [sessions, ids, turns, kinds, texts];
        let columns = columns.map(|column| self.argument(column) + "::text[]").join(", ");
        let continued = self.argument(continued);
        let node = self.argument(self.node);
        self.parts.push(format!(
            "checkpoints AS (
                INSERT INTO open_items (session, item, turn, kind, text, continues)
                SELECT num, item.id, item.turn, item.kind, item.text, item.continues
                FROM unnest({columns}, {continued}::text[])
                    AS item (session, id, turn, kind, text, continues)
                JOIN sessions ON sessions.id = item.session
                    AND (sessions.node IS NULL OR sessions.node = {node}), fence
                ON CONFLICT (session, item) DO UPDATE SET text = excluded.text)"
        ));
    }

    /// Runs it. `None` when its fence does not hold.
    pub(super) async fn run(self, sql: &Client) -> Result<Option<Moved>, StoreError> {
        let has_sessions = self.parts.iter().any(|part| part.starts_with("moved "));
        let moved =
            if has_sessions { "(SELECT array_agg(at) FROM moved)" } else { "NULL::bigint[]" };
        let statement =
            format!("WITH {} SELECT (SELECT count(*) FROM fence), {moved}", self.parts.join(",\n"));
        let arguments: Vec<(&(dyn ToSql + Sync), Type)> = self
            .arguments
            .iter()
            .map(|(value, ty)| (value.as_ref() as &(dyn ToSql + Sync), ty.clone()))
            .collect();
        let found = rows(sql, &statement, &arguments).await?;
        let Some(row) = found.first() else { return Ok(None) };
        if self.is_fenced && get_i64(row, 0)? == 0 {
            return Ok(None);
        }
        let moved: Option<Vec<i64>> = row.try_get(1)?;
        Ok(Some(Moved(moved.unwrap_or_default().into_iter().collect())))
    }
}

/// Columns of the records of a flush.
#[derive(Default)]
struct EventColumns<'a> {
    at: Vec<i64>,
    seq: Vec<i64>,
    time: Vec<i64>,
    turn: Vec<Option<Text<'a>>>,
    body: Vec<OwnedText>,
    call: Vec<Option<Text<'a>>>,
}

impl<'a> EventColumns<'a> {
    fn push(&mut self, at: i64, record: &'a Record) -> Result<(), StoreError> {
        self.at.push(at);
        self.seq.push(to_i64(record.seq.0));
        self.time.push(record.at.as_millis());
        self.turn.push(record.turn.as_ref().map(|turn| Text(turn.as_str())));
        self.body.push(OwnedText(serde_json::to_string(&record.event)?));
        self.call.push(returned_call(&record.event).map(Id::as_str).map(Text));
        Ok(())
    }

    fn add_to(self, statement: &mut FlushStatement<'a>) {
        if self.at.is_empty() {
            return;
        }
        let columns = [
            statement.argument(self.at) + "::bigint[]",
            statement.argument(self.seq) + "::bigint[]",
            statement.argument(self.time) + "::bigint[]",
            statement.argument(self.turn) + "::text[]",
            statement.argument(self.body) + "::text[]",
            statement.argument(self.call) + "::text[]",
        ];
        statement.parts.push(format!(
            "added AS (
                INSERT INTO events (session, seq, at, turn, body, call)
                SELECT moved.num, event.seq, event.time, event.turn, event.body, event.call
                FROM unnest({}) AS event (at, seq, time, turn, body, call)
                JOIN moved ON moved.at = event.at)",
            columns.join(", ")
        ));
    }
}

/// Columns of the messages of a flush.
#[derive(Default)]
struct SaidColumns<'a> {
    at: Vec<i64>,
    seq: Vec<i64>,
    time: Vec<i64>,
    role: Vec<Text<'a>>,
    text: Vec<Text<'a>>,
}

impl<'a> SaidColumns<'a> {
    fn push(&mut self, at: i64, record: &'a Record) {
        let Some((role, text)) = record.event.said() else { return };
        self.at.push(at);
        self.seq.push(to_i64(record.seq.0));
        self.time.push(record.at.as_millis());
        self.role.push(Text(match role {
            Role::User => "user",
            Role::Assistant => "assistant",
        }));
        self.text.push(Text(text));
    }

    fn add_to(self, statement: &mut FlushStatement<'a>) {
        if self.at.is_empty() {
            return;
        }
        let columns = [
            statement.argument(self.at) + "::bigint[]",
            statement.argument(self.seq) + "::bigint[]",
            statement.argument(self.time) + "::bigint[]",
            statement.argument(self.role) + "::text[]",
            statement.argument(self.text) + "::text[]",
        ];
        statement.parts.push(format!(
            "messages AS (
                INSERT INTO said (session, seq, agent, at, role, text)
                SELECT moved.num, one.seq, moved.agent, one.time, one.role, one.text
                FROM unnest({}) AS one (at, seq, time, role, text)
                JOIN moved ON moved.at = one.at)",
            columns.join(", ")
        ));
    }
}

/// Columns of what is saved together with the records of a flush.
#[derive(Default)]
struct ExtraColumns<'a> {
    receipts: (Vec<i64>, [Vec<Text<'a>>; 4]),
    closed: (Vec<i64>, Vec<Text<'a>>),
    outputs: (Vec<i64>, [Vec<Text<'a>>; 2]),
    replies: (Vec<i64>, Vec<i64>, Vec<Text<'a>>),
    blocks: Vec<(i64, &'a BlockEdit)>,
}

impl<'a> ExtraColumns<'a> {
    fn push(&mut self, at: i64, batch: &'a Batch) {
        let extras = batch.extras();
        if let Some(receipt) = &extras.receipt {
            let (places, [owners, ids, digests, answers]) = &mut self.receipts;
            places.push(at);
            owners.push(Text(receipt.user.as_str()));
            ids.push(Text(receipt.id.as_str()));
            digests.push(Text(&receipt.digest));
            answers.push(Text(&receipt.answer));
        }
        for item in &extras.closed_items {
            self.closed.0.push(at);
            self.closed.1.push(Text(item.as_str()));
        }
        if let Some((call, text)) = &extras.output {
            let (places, [calls, texts]) = &mut self.outputs;
            places.push(at);
            calls.push(Text(call.as_str()));
            texts.push(Text(text));
        }
        if let (Some(reply), Some(first)) = (&extras.provider_reply, batch.records().first()) {
            let (places, seqs, bodies) = &mut self.replies;
            places.push(at);
            seqs.push(to_i64(first.seq.0));
            bodies.push(Text(reply));
        }
        self.blocks.extend(extras.block.as_ref().map(|edit| (at, edit)));
    }

    fn add_to(self, statement: &mut FlushStatement<'a>) {
        let (places, texts) = self.receipts;
        if !places.is_empty() {
            let places = statement.argument(places);
            let columns = texts.map(|column| statement.argument(column) + "::text[]").join(", ");
            statement.parts.push(format!(
                "receipts_added AS (
                    INSERT INTO receipts (session, owner, id, digest, answer)
                    SELECT moved.num, one.owner, one.id, one.digest, one.answer
                    FROM unnest({places}::bigint[], {columns})
                        AS one (at, owner, id, digest, answer)
                    JOIN moved ON moved.at = one.at)"
            ));
        }
        let (places, items) = self.closed;
        if !places.is_empty() {
            let (places, items) = (statement.argument(places), statement.argument(items));
            statement.parts.push(format!(
                "closed AS (
                    DELETE FROM open_items
                    USING unnest({places}::bigint[], {items}::text[]) AS one (at, item), moved
                    WHERE moved.at = one.at AND open_items.session = moved.num
                        AND open_items.item = one.item)"
            ));
        }
        let (places, texts) = self.outputs;
        if !places.is_empty() {
            let places = statement.argument(places);
            let columns = texts.map(|column| statement.argument(column) + "::text[]").join(", ");
            statement.parts.push(format!(
                "outputs_added AS (
                    INSERT INTO outputs (session, call, text)
                    SELECT moved.num, one.call, one.text
                    FROM unnest({places}::bigint[], {columns}) AS one (at, call, text)
                    JOIN moved ON moved.at = one.at
                    ON CONFLICT (session, call) DO UPDATE SET text = excluded.text)"
            ));
        }
        let (places, seqs, bodies) = self.replies;
        if !places.is_empty() {
            let (places, seqs) = (statement.argument(places), statement.argument(seqs));
            let bodies = statement.argument(bodies);
            statement.parts.push(format!(
                "replies AS (
                    INSERT INTO kept_replies (session, seq, body)
                    SELECT moved.num, one.seq, one.body
                    FROM unnest({places}::bigint[], {seqs}::bigint[], {bodies}::text[])
                        AS one (at, seq, body)
                    JOIN moved ON moved.at = one.at)"
            ));
        }
        for (number, (at, edit)) in self.blocks.into_iter().enumerate() {
            add_block(statement, number, at, edit);
        }
    }
}

/// Changes or deletes a block together with its batch.
fn add_block<'a>(statement: &mut FlushStatement<'a>, number: usize, at: i64, edit: &'a BlockEdit) {
    let at = statement.argument(at);
    let agent = statement.argument(Text(edit.agent.as_str()));
    let label = statement.argument(Text(&edit.label));
    let part = match &edit.to {
        Some(block) => {
            let text = statement.argument(Text(&block.text));
            let most = statement.argument(i64::try_from(block.limit).unwrap_or(i64::MAX));
            let description = statement.argument(Text(&block.description));
            format!(
                "INSERT INTO blocks (agent, label, text, most, description)
                 SELECT {agent}, {label}, {text}, {most}, {description} FROM moved
                 WHERE moved.at = {at}
                 ON CONFLICT (agent, label) DO UPDATE SET text = excluded.text,
                    most = excluded.most, description = excluded.description"
            )
        }
        None => format!(
            "DELETE FROM blocks USING moved
             WHERE moved.at = {at} AND blocks.agent = {agent} AND label = {label}"
        ),
    };
    statement.parts.push(format!("block_{number} AS ({part})"));
}

/// Text that a statement owns, as an argument: see [`Text`].
#[derive(Debug)]
struct OwnedText(String);

impl ToSql for OwnedText {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Text(&self.0).to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <Text<'_> as ToSql>::accepts(ty)
    }

    tokio_postgres::types::to_sql_checked!();
}

impl Argument for Vec<OwnedText> {
    const TYPE: Type = Type::TEXT_ARRAY;
}
