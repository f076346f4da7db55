//! `thoughtwire agents`.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use thoughtwire_proto::rest::{AgentDetails, AgentPatch, MemoryCounts, ToolListing, ToolSource};
use thoughtwire_proto::{
    AgentProfile, AgentSettings, AgentSpec, OnCrash, Permission, Replay, Style,
};

use crate::cli::{AgentsCommand, SettingFlags, TargetFlags};
use crate::out::TextStyle;
use crate::render::{clean, one_line};
use crate::{CommandStatus, UsageError, out};

pub(crate) async fn run(
    target: TargetFlags,
    command: AgentsCommand,
) -> anyhow::Result<CommandStatus> {
    match command {
        AgentsCommand::List { output } => {
            let agents = target.rest().await?.agents().await?;
            if output.json {
                out::json(&json!({"agents": agents}))?;
            } else if agents.is_empty() {
                out::remark(
                    TextStyle::Dim,
                    "there are no agents; create one with `thoughtwire agents create NAME`",
                );
            } else {
                out::table(
                    ["NAME", "ID", "MODEL", "STYLE", "MAIN SESSION"],
                    &agents.iter().map(row).collect::<Vec<_>>(),
                )?;
            }
        }
        AgentsCommand::Show { agent, output } => {
            let page = target.rest().await?.agent(&agent).await?;
            if output.json { out::json(&page)? } else { show(&page)? }
        }
        AgentsCommand::Create {
            name,
            persona,
            persona_file,
            human,
            human_file,
            settings,
            output,
        } => {
            thoughtwire_proto::new_name(&name)
                .map_err(|bad| UsageError(format!("{name:?} is not a valid name: {bad}")))?;
            let persona = text_or_file(persona, persona_file.as_deref())?;
            let human = text_or_file(human, human_file.as_deref())?;
            let (model, style) = (settings.model.clone(), settings.style.map(Style::from));
            let spec = AgentSpec {
                name,
                persona,
                human,
                model,
                style,
                settings: settings.into_settings(),
                ..AgentSpec::default()
            };
            let agent = target.rest().await?.create_agent(&spec).await?;
            if output.json {
                out::json(&json!({"agent": agent}))?;
            } else {
                out::line(&format!(
                    "created {} ({}); talk to it with `thoughtwire chat --agent {0}`",
                    clean(&agent.spec.name),
                    agent.id
                ))?;
            }
        }
        AgentsCommand::Edit { agent, name, settings, unset, output } => {
            let changes = changes(name, settings, unset)?;
            let agent = target.rest().await?.edit_agent(&agent, &changes).await?;
            if output.json {
                out::json(&json!({"agent": agent}))?;
            } else {
                out::line(&format!(
                    "changed {}; the next turn uses the new settings",
                    clean(&agent.spec.name)
                ))?;
            }
        }
        AgentsCommand::Delete { agent, yes, output } => {
            let place = target.rest().await?;
            let page = place.agent(&agent).await?;
            if !yes && !confirmed(&page)? {
                out::remark(TextStyle::Dim, "nothing was deleted");
                return Ok(CommandStatus::Failed);
            }
            place.delete_agent(page.agent.id.as_str()).await?;
            if output.json {
                out::json(&json!({"deleted": page.agent.id}))?;
            } else {
                out::line(&format!("deleted {}", clean(&page.agent.spec.name)))?;
            }
        }
        AgentsCommand::Export { agent, history, output } => {
            let mut file = target.rest().await?.export_agent(&agent, history).await?;
            file.push(b'\n');
            write_new(output.as_deref(), &file)?;
        }
        AgentsCommand::Import { file, name, output } => {
            let bytes = read_all(&file)?;
            let agent = target.rest().await?.import_agent(bytes, name.as_deref()).await?;
            if output.json {
                out::json(&json!({"agent": agent}))?;
            } else {
                out::line(&format!(
                    "created {} ({}) from {}",
                    clean(&agent.spec.name),
                    agent.id,
                    file.display()
                ))?;
            }
        }
        AgentsCommand::Presets { output } => {
            let named = |(name, text): &(&str, &str)| json!({"name": name, "text": text});
            let (personas, humans) = (&thoughtwire_server::PERSONAS, &thoughtwire_server::HUMANS);
            if output.json {
                out::json(&json!({
                    "personas": personas.iter().map(named).collect::<Vec<_>>(),
                    "humans": humans.iter().map(named).collect::<Vec<_>>(),
                }))?;
            } else {
                let rows = |kind: &str, presets: &[(&str, &str)]| {
                    presets
                        .iter()
                        .map(|(name, text)| [kind.to_owned(), (*name).to_owned(), one_line(text)])
                        .collect::<Vec<_>>()
                };
                let rows: Vec<_> =
                    rows("persona", personas).into_iter().chain(rows("human", humans)).collect();
                out::table(["FOR", "NAME", "TEXT"], &rows)?;
            }
        }
    }
    Ok(CommandStatus::Done)
}

impl SettingFlags {
    fn permissions(&self) -> impl Iterator<Item = (String, Permission)> {
        let named = [
            (&self.allow, Permission::Allow),
            (&self.ask, Permission::Ask),
            (&self.deny, Permission::Deny),
        ];
        named.into_iter().flat_map(|(tools, permission)| {
            tools.iter().map(move |tool| (tool.clone(), permission))
        })
    }

    fn into_settings(self) -> AgentSettings {
        let permissions = self.permissions().collect();
        let Self {
            fallbacks,
            context_window,
            max_output_tokens,
            max_steps,
            token_budget,
            keep_days,
            keep_events,
            on_crash,
            ..
        } = self;
        AgentSettings {
            fallbacks,
            context_window,
            max_output_tokens,
            max_steps,
            token_budget,
            keep_days,
            keep_events,
            on_crash: on_crash.map(OnCrash::from),
            permissions,
        }
    }
}

/// The changes of an edit as a JSON merge patch.
fn changes(
    name: Option<String>,
    settings: SettingFlags,
    unset: Vec<String>,
) -> anyhow::Result<AgentPatch> {
    let style = settings.style.map(Style::from);
    let spec = AgentSpec {
        name: name.unwrap_or_default(),
        model: settings.model.clone(),
        style,
        ..AgentSpec::default()
    };
    let spec = AgentSpec { settings: settings.into_settings(), ..spec };
    let Value::Object(mut changes) = serde_json::to_value(spec)? else {
        return Ok(AgentPatch::default());
    };
    if changes.get("name").is_some_and(|name| name == "") {
        changes.remove("name");
    }
    // A setting is named as in JSON, or as its flag.
    let unset = unset.into_iter().map(|setting| (setting.replace('-', "_"), Value::Null));
    changes.extend(unset);
    if changes.is_empty() {
        return Err(UsageError(
            "no change was given; `thoughtwire agents edit --help` lists the settings".to_owned(),
        )
        .into());
    }
    Ok(AgentPatch(changes))
}

fn text_or_file(text: Option<String>, file: Option<&Path>) -> anyhow::Result<Option<String>> {
    match file {
        Some(file) => Ok(Some(
            std::fs::read_to_string(file)
                .with_context(|| format!("{} cannot be read", file.display()))?,
        )),
        None => Ok(text),
    }
}

/// Reads a file; `-` is standard input.
pub(crate) fn read_all(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("standard input cannot be read")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// Writes to a new file, or to standard output.
pub(crate) fn write_new(output: Option<&Path>, bytes: &[u8]) -> anyhow::Result<()> {
    match output {
        Some(path) => {
            let mut file = std::fs::File::create_new(path)
                .with_context(|| format!("{} cannot be created", path.display()))?;
            file.write_all(bytes).with_context(|| format!("{} cannot be written", path.display()))
        }
        None => Ok(out::bytes(bytes)?),
    }
}

fn confirmed(page: &AgentDetails) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(UsageError(
            "standard input is not a terminal; add --yes to delete without confirmation".to_owned(),
        )
        .into());
    }
    let remembers = format!("{} notes and {} messages", page.memory.archival, page.memory.recall);
    out::remark_piece(
        TextStyle::Plain,
        &format!("Delete {} with {remembers}, for good? [y/N] ", clean(&page.agent.spec.name)),
    );
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// The sizes of an agent's memories, and how much of them is not embedded yet.
fn memory(MemoryCounts { archival, recall, unembedded }: MemoryCounts) -> String {
    let waiting = match unembedded {
        Some(0) | None => String::new(),
        Some(texts) => format!(", {texts} of them not searched by meaning yet"),
    };
    format!("{recall} messages, {archival} notes{waiting}")
}

fn row(agent: &AgentProfile) -> [String; 5] {
    let AgentProfile { id, spec, main_session } = agent;
    let model = spec.model.clone().unwrap_or_else(|| "(the server's)".to_owned());
    [
        clean(&spec.name).into_owned(),
        id.to_string(),
        clean(&model).into_owned(),
        style(spec.style).to_owned(),
        main_session.to_string(),
    ]
}

fn show(page: &AgentDetails) -> std::io::Result<()> {
    let [name, id, model, style, session] = row(&page.agent);
    out::table(
        ["AGENT", ""],
        &[
            ["name".to_owned(), name],
            ["id".to_owned(), id],
            ["model".to_owned(), model],
            ["style".to_owned(), style],
            ["main session".to_owned(), session],
            ["memory".to_owned(), memory(page.memory)],
        ],
    )?;
    let settings = serde_json::to_value(&page.agent.spec.settings).unwrap_or_default();
    for (name, value) in settings.as_object().into_iter().flatten() {
        out::line(&format!("{name}: {}", clean(&value.to_string())))?;
    }
    for block in &page.blocks {
        let description = if block.description.is_empty() {
            String::new()
        } else {
            format!(" — {}", one_line(&block.description))
        };
        let used = block.text.chars().count();
        out::line(&format!(
            "\n{} ({used} of {} characters){description}",
            clean(&block.label),
            block.limit
        ))?;
        out::line(clean(&block.text).trim_end())?;
    }
    out::line("")?;
    let tool = |tool: &ToolListing| {
        let permission = match tool.permission {
            Permission::Allow => "allow",
            Permission::Ask => "ask",
            Permission::Deny => "deny",
        };
        let replay = match tool.replay {
            Replay::Safe => "safe",
            Replay::Ask => "ask",
            Replay::Never => "never",
        };
        let source = match &tool.source {
            ToolSource::BuiltIn => "built in".to_owned(),
            ToolSource::Offered => "worker".to_owned(),
            ToolSource::Mcp { server } => format!("MCP {server}"),
        };
        [
            clean(&tool.name).into_owned(),
            permission.to_owned(),
            replay.to_owned(),
            source,
            one_line(&tool.description),
        ]
    };
    out::table(
        ["TOOL", "PERMISSION", "REPLAY", "FROM", "WHAT IT DOES"],
        &page.tools.iter().map(tool).collect::<Vec<_>>(),
    )?;
    for server in &page.mcp {
        let reason = server
            .reason
            .as_deref()
            .map(|reason| format!(": {}", clean(reason)))
            .unwrap_or_default();
        out::line(&format!(
            "MCP server {} is {}{reason}",
            clean(&server.name),
            server.phase.as_str()
        ))?;
    }
    Ok(())
}

fn style(style: Option<Style>) -> &'static str {
    match style.unwrap_or_default() {
        Style::Native => "native",
        Style::Memgpt => "memgpt",
    }
}
