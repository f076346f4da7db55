//! `thoughtwire sessions`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use thoughtwire_proto::rest::{DecisionRequest, SessionDetails, SessionPatch};
use thoughtwire_proto::transcript::Transcript;
use thoughtwire_proto::{Attached, Emission, Record, Seq, SessionId, SessionListing, Timestamp};

use crate::cli::{ExportFormat, SessionsCommand, TargetFlags};
use crate::out::{ColourMode, TextStyle};
use crate::render::{self, clean};
use crate::rest::{CallFilter, RestClient};
use crate::{CommandStatus, calls, out};

/// Events per request.
const PAGE: u64 = 1000;

pub(crate) async fn run(
    target: TargetFlags,
    command: SessionsCommand,
) -> anyhow::Result<CommandStatus> {
    match command {
        SessionsCommand::List { agent, limit, output } => {
            let sessions = target.rest().await?.sessions(agent.as_deref(), limit).await?;
            if output.json {
                out::json(&json!({"sessions": sessions}))?;
            } else if sessions.is_empty() {
                out::remark(
                    TextStyle::Dim,
                    "there are no sessions; `thoughtwire agents create NAME` makes an agent with \
                    a main session",
                );
            } else {
                let rows: Vec<_> = sessions.iter().map(row).collect();
                out::table(["ID", "AGENT", "TITLE", "EVENTS", "STATE", "LAST ACTIVE"], &rows)?;
            }
        }
        SessionsCommand::Show { session, last, output } => {
            let place = target.rest().await?;
            let page = place.session(&session).await?;
            let before_first = page.first.0.saturating_sub(1);
            let after = Seq(page.session.head.0.saturating_sub(last).max(before_first));
            let events = place.events(&session, after, last).await?;
            if output.json {
                out::json(&SessionWithEvents { page: &page, events: &events })?;
            } else {
                show(&page, after, &events)?;
            }
        }
        SessionsCommand::Calls { session, unknown, output } => {
            let filter = if unknown { CallFilter::Unknown } else { CallFilter::All };
            calls::list(&target.rest().await?, &session, filter, output.json).await?;
        }
        SessionsCommand::Decide { session, call, decision, result, output } => {
            let request = DecisionRequest { decision: decision.into(), result };
            calls::decide(&target, &session, &call, request, output.json).await?;
        }
        SessionsCommand::Export { session, format, output, json: _ } => {
            let place = target.rest().await?;
            export(&place, &session, format, output.as_deref()).await?;
        }
        SessionsCommand::Keep { session, days, events, output } => {
            let keep = SessionPatch {
                keep_days: Some(days),
                keep_events: Some(events),
                ..SessionPatch::default()
            };
            target.rest().await?.edit_session(&session, &keep).await?;
            if output.json {
                out::json(&json!({"session": session, "keep_days": days, "keep_events": events}))?;
            } else {
                out::line(&kept(days, events))?;
            }
        }
        SessionsCommand::Delete { sessions, yes, output } => {
            let place = target.rest().await?;
            if !yes && !confirmed(&sessions)? {
                out::remark(TextStyle::Dim, "nothing was deleted");
                return Ok(CommandStatus::Failed);
            }
            for session in &sessions {
                place
                    .delete_session(session)
                    .await
                    .with_context(|| format!("{session} was not deleted"))?;
                if output.json {
                    out::json(&json!({"deleted": session}))?;
                } else {
                    out::line(&format!("deleted {session}"))?;
                }
            }
        }
    }
    Ok(CommandStatus::Done)
}

/// Describes how much of a log is kept.
fn kept(days: Option<u32>, events: Option<u64>) -> String {
    match (days, events) {
        (None, None) => "by its agent's settings".to_owned(),
        (Some(days), None) => format!("the last {days} days"),
        (None, Some(events)) => format!("the newest {events} events"),
        (Some(days), Some(events)) => {
            format!("the last {days} days, at most {events} events")
        }
    }
}

/// A session and its newest events.
#[derive(Serialize)]
struct SessionWithEvents<'a> {
    #[serde(flatten)]
    page: &'a SessionDetails,
    events: &'a [Record],
}

fn row(session: &SessionListing) -> [String; 6] {
    let title = session.title.as_deref().unwrap_or(if session.main { "(main)" } else { "" });
    let state = match (session.running, session.queued) {
        _ if session.needs_you => "needs you".to_owned(),
        (false, 0) => "idle".to_owned(),
        (true, 0) => "running".to_owned(),
        (true, queued) => format!("running, {queued} queued"),
        (false, queued) => format!("{queued} queued"),
    };
    [
        session.id.to_string(),
        clean(&session.agent_name).into_owned(),
        clean(title).into_owned(),
        session.head.to_string(),
        state,
        local_time(session.updated_at),
    ]
}

fn show(page: &SessionDetails, after: Seq, events: &[Record]) -> std::io::Result<()> {
    let [id, agent, title, head, state, active] = row(&page.session);
    out::table(
        ["SESSION", ""],
        &[
            ["id".to_owned(), id],
            ["agent".to_owned(), agent],
            ["title".to_owned(), title],
            ["events".to_owned(), head],
            ["state".to_owned(), state],
            [
                "tokens".to_owned(),
                format!(
                    "{} read, {} written",
                    page.session.usage.input_tokens, page.session.usage.output_tokens
                ),
            ],
            ["opened".to_owned(), local_time(page.session.created_at)],
            ["last active".to_owned(), active],
            ["kept".to_owned(), kept(page.keep_days, page.keep_events)],
            [
                "instructions".to_owned(),
                page.instructions.as_deref().map(render::one_line).unwrap_or_default(),
            ],
        ],
    )?;
    if after.next() > page.first {
        out::line(&ColourMode::for_stdout().apply(
            TextStyle::Dim,
            &format!("\n… the newest {} of {} events", events.len(), page.session.head),
        ))?;
    } else {
        out::line("")?;
    }
    for entry in transcript(page, after, events).entries() {
        if let Some((look, told)) = render::entry(entry) {
            out::line(&ColourMode::for_stdout().apply(look, &told))?;
        }
    }
    Ok(())
}

fn transcript(page: &SessionDetails, after: Seq, events: &[Record]) -> Transcript {
    let mut transcript = Transcript::default();
    let (first, head) = (page.first, page.session.head);
    let (session, agent, epoch) =
        (page.session.id.clone(), page.session.agent.clone(), page.epoch.clone());
    transcript.attach(&Attached {
        session,
        agent,
        epoch,
        first,
        head,
        recovered: true,
        after,
        turn: None,
        unended: Vec::new(),
    });
    for record in events {
        // Pages follow each other without a gap, so the transcript accepts every record.
        let _ = transcript.apply(&Emission::Record(record.clone()));
    }
    transcript
}

async fn export(
    place: &RestClient,
    session: &SessionId,
    format: ExportFormat,
    output: Option<&Path>,
) -> anyhow::Result<()> {
    let page = place.session(session).await?;
    let mut out: Box<dyn Write> = match output {
        Some(path) => {
            let file = File::create_new(path)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let start = Seq(page.first.0.saturating_sub(1));
    let mut after = start;
    let mut kept = Vec::new();
    loop {
        let events = place.events(session, after, PAGE).await?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        match format {
            ExportFormat::Jsonl => {
                for record in &events {
                    serde_json::to_writer(&mut out, record)?;
                    out.write_all(b"\n")?;
                }
            }
            ExportFormat::Markdown => kept.extend(events),
        }
    }
    if format == ExportFormat::Markdown {
        markdown(&mut out, &page, &transcript(&page, start, &kept))?;
    }
    out.flush()?;
    Ok(())
}

fn markdown(
    out: &mut impl Write,
    page: &SessionDetails,
    transcript: &Transcript,
) -> std::io::Result<()> {
    let listing = &page.session;
    let title = listing.title.as_deref().unwrap_or(&listing.agent_name);
    writeln!(
        out,
        "# {}\n\n{} · {} · {}",
        clean(title),
        clean(&listing.agent_name),
        listing.id,
        listing.created_at
    )?;
    for entry in transcript.entries() {
        let Some((look, told)) = render::entry(entry) else { continue };
        match look {
            TextStyle::Plain => writeln!(out, "\n{told}")?,
            TextStyle::Bold => writeln!(out, "\n**{}**", told.replace('\n', "**\n**"))?,
            TextStyle::Dim | TextStyle::Bad => writeln!(out, "\n> {}", told.replace('\n', "\n> "))?,
        }
    }
    Ok(())
}

/// Asks for confirmation at a terminal; a script is not asked.
fn confirmed(sessions: &[SessionId]) -> std::io::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    let what = match sessions {
        [one] => format!("the session {one}"),
        many => format!("{} sessions", many.len()),
    };
    out::remark_piece(
        TextStyle::Bold,
        &format!("delete {what} with its events permanently? [y/N] "),
    );
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

pub(crate) fn local_time(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => at.to_string(),
    }
}
