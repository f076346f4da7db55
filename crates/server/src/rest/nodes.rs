//! The servers that share this one's data.

use axum::Json;
use axum::extract::State;
use thoughtwire_proto::rest::{NodeInfo, NodeList};
use thoughtwire_store::StoredNode;

use super::{RestResult, SharedRest};

/// Lists the nodes of the store.
pub(super) async fn nodes(State(rest): SharedRest) -> RestResult<Json<NodeList>> {
    let nodes = rest.hub.store().nodes().await?;
    let shared = nodes.is_some();
    // A command that has opened the database itself is no server.
    let listed = nodes.into_iter().flatten().filter(|node| !(node.is_own && rest.is_at_rest));
    Ok(Json(NodeList { shared, nodes: listed.map(info).collect() }))
}

fn info(node: StoredNode) -> NodeInfo {
    let StoredNode { id, incarnation, state, url, version, lease_seconds, sessions, is_own } = node;
    NodeInfo { id, incarnation, state, url, version, lease_seconds, sessions, answers: is_own }
}
