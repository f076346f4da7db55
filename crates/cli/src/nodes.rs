//! `thoughtwire nodes`.

use thoughtwire_proto::rest::NodeInfo;

use crate::cli::{OutputFlags, TargetFlags};
use crate::out::TextStyle;
use crate::visible::visible;
use crate::{CommandStatus, out};

pub(crate) async fn run(target: TargetFlags, output: OutputFlags) -> anyhow::Result<CommandStatus> {
    let listed = target.rest().await?.nodes().await?;
    if output.json {
        out::json(&listed)?;
    } else if listed.shared {
        out::table(
            ["NODE", "INCARNATION", "STATE", "URL", "VERSION", "LEASE", "SESSIONS"],
            &listed.nodes.iter().map(row).collect::<Vec<_>>(),
        )?;
    } else {
        let only =
            "This is a single node: its data is in a directory, which no other server shares.";
        out::remark(TextStyle::Dim, only);
    }
    Ok(CommandStatus::Done)
}

fn row(node: &NodeInfo) -> [String; 7] {
    let lease = if node.lease_seconds > 0.0 {
        format!("{:.1} s", node.lease_seconds)
    } else {
        "ended".into()
    };
    [
        visible(&node.id).into_owned(),
        node.incarnation.to_string(),
        visible(&node.state).into_owned(),
        visible(node.url.as_deref().unwrap_or_default()).into_owned(),
        visible(&node.version).into_owned(),
        lease,
        node.sessions.to_string(),
    ]
}
