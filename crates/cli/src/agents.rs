//! `thoughtwire agents`.

use serde_json::json;
use thoughtwire_proto::{AgentProfile, AgentSpec, Style};

use crate::cli::{AgentsCommand, Reach};
use crate::out::Look;
use crate::place::Place;
use crate::rest::AgentPage;
use crate::story::{clean, short};
use crate::{Outcome, Usage, out};

pub(crate) async fn run(reach: Reach, command: AgentsCommand) -> anyhow::Result<Outcome> {
    match command {
        AgentsCommand::List { form } => {
            let agents = match reach.place().await? {
                Place::Server(rest) => rest.agents().await?,
                Place::Directory(local) => local.agents()?,
            };
            if form.json {
                out::json(&json!({"agents": agents}))?;
            } else if agents.is_empty() {
                out::remark(Look::Dim, "there are no agents yet; make one with `thoughtwire agents create NAME`");
            } else {
                out::table(["NAME", "ID", "MODEL", "STYLE", "MAIN SESSION"], &agents.iter().map(row).collect::<Vec<_>>())?;
            }
        }
        AgentsCommand::Show { agent, form } => {
            let page = match reach.place().await? {
                Place::Server(rest) => rest.agent(&agent).await?,
                Place::Directory(local) => local.agent(&agent)?,
            };
            if form.json { out::json(&page)? } else { show(&page)? }
        }
        AgentsCommand::Create { name, persona, human, model, style, form } => {
            thoughtwire_proto::check_name(&name).map_err(|bad| Usage(format!("{name:?} is no name: {bad}")))?;
            let style = style.map(Style::from);
            let spec = AgentSpec { name, persona, human, model, style, ..AgentSpec::default() };
            let agent = match reach.place().await? {
                Place::Server(rest) => rest.create_agent(&spec).await?,
                Place::Directory(local) => local.create_agent(spec).await?,
            };
            if form.json {
                out::json(&json!({"agent": agent}))?;
            } else {
                out::line(&format!("made {} ({}); talk to it with `thoughtwire chat --agent {0}`", clean(&agent.spec.name), agent.id))?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn row(agent: &AgentProfile) -> [String; 5] {
    let AgentProfile { id, spec, main_session } = agent;
    let model = spec.model.clone().unwrap_or_else(|| "(the server's)".to_owned());
    [clean(&spec.name).into_owned(), id.to_string(), clean(&model).into_owned(), style(spec.style).to_owned(), main_session.to_string()]
}

fn show(page: &AgentPage) -> std::io::Result<()> {
    let [name, id, model, style, session] = row(&page.agent);
    out::table(
        ["AGENT", ""],
        &[
            ["name".to_owned(), name],
            ["id".to_owned(), id],
            ["model".to_owned(), model],
            ["style".to_owned(), style],
            ["main session".to_owned(), session],
        ],
    )?;
    for block in &page.blocks {
        let description = if block.description.is_empty() { String::new() } else { format!(" — {}", short(&block.description)) };
        let used = block.text.chars().count();
        out::line(&format!("\n{} ({used} of {} characters){description}", clean(&block.label), block.limit))?;
        out::line(clean(&block.text).trim_end())?;
    }
    Ok(())
}

fn style(style: Option<Style>) -> &'static str {
    match style.unwrap_or_default() {
        Style::Native => "native",
        Style::Memgpt => "memgpt",
    }
}
