//! Calls of a session, as its log accounts for them.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use thoughtwire_proto::rest::{CallListing, CallPage, CallState};
use thoughtwire_proto::{CallLedger, Seq};

use crate::access::Identity;

use super::{PathParams, QueryParams, RestResult, SharedRest, session_id};

/// Most calls of one page.
const PAGE: usize = 1000;

/// Records of one read of the log.
const RECORDS: usize = 256;

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(super) struct CallsQuery {
    /// Position behind which calls are listed: the `seq` of the last call of the page before.
    after: Option<u64>,
    /// Most calls of a page.
    #[cfg_attr(test, schemars(range(min = 1, max = 1000), extend("default" = 100)))]
    limit: Option<usize>,
    /// Only calls whose outcome is unknown.
    #[serde(default)]
    unknown: bool,
}

/// Lists the calls that were made behind a position, with their states at the log's head.
pub(super) async fn calls(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(session): PathParams<String>,
    QueryParams(query): QueryParams<CallsQuery>,
) -> RestResult<Json<CallPage>> {
    let user = caller.user;
    let session = session_id(session)?;
    let stored = rest.own(&user, &session).await?;
    let limit = query.limit.unwrap_or(100).clamp(1, PAGE);
    let head = stored.state.head();
    let store = rest.hub.store().for_user(user.as_str());
    let mut ledger = CallLedger::default();
    // Trimmed events may still be in the file.
    let mut read = Seq(query.after.unwrap_or(0)).max(stored.first.previous());
    while read < head && !is_settled(ledger.calls(), limit) {
        let records = store.logs().records_after(&session, read, RECORDS).await?;
        let Some(last) = records.last() else { break };
        read = last.seq;
        records.iter().filter(|record| record.seq <= head).for_each(|record| ledger.apply(record));
        if query.unknown {
            ledger.drop_known();
        }
    }
    if rest.is_at_rest {
        ledger.interrupt();
    }
    let mut calls = ledger.into_calls();
    if query.unknown {
        calls.retain(|call| call.state == CallState::Unknown);
    }
    calls.truncate(limit);
    let (epoch, first) = (stored.epoch, stored.first);
    Ok(Json(CallPage { session, epoch, first, head, calls }))
}

/// Whether a page is full and no later record changes it.
fn is_settled(calls: &[CallListing], limit: usize) -> bool {
    calls.get(..limit).is_some_and(|page| page.iter().all(CallListing::has_returned))
}
