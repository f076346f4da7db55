//! `thoughtwire sessions`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use thoughtwire_proto::rest::{SessionDetails, SessionPatch};
use thoughtwire_proto::transcript::Transcript;
use thoughtwire_proto::{Attached, Emission, Record, Seq, SessionId, SessionListing, Timestamp};

use crate::cli::{ExportFormat, Reach, SessionsCommand};
use crate::out::{Look, Paint};
use crate::rest::RestClient;
use crate::story::{self, clean};
use crate::{Outcome, out};

/// Events asked for at a time.
const PAGE: u64 = 1000;

pub(crate) async fn run(reach: Reach, command: SessionsCommand) -> anyhow::Result<Outcome> {
    match command {
        SessionsCommand::List { agent, limit, form } => {
            let sessions = reach.place().await?.sessions(agent.as_deref(), limit).await?;
            if form.json {
                out::json(&json!({"sessions": sessions}))?;
            } else if sessions.is_empty() {
                out::remark(
                    Look::Dim,
                    "there are no sessions; every agent has one: `thoughtwire agents create NAME`",
                );
            } else {
                let rows: Vec<_> = sessions.iter().map(row).collect();
                out::table(["ID", "AGENT", "TITLE", "EVENTS", "STATE", "LAST ACTIVE"], &rows)?;
            }
        }
        SessionsCommand::Show { session, last, form } => {
            let place = reach.place().await?;
            let page = place.session(&session).await?;
            let before_first = page.first.0.saturating_sub(1);
            let after = Seq(page.session.head.0.saturating_sub(last).max(before_first));
            let events = place.events(&session, after, last).await?;
            if form.json {
                out::json(&Shown { page: &page, events: &events })?;
            } else {
                show(&page, after, &events)?;
            }
        }
        SessionsCommand::Export { session, format, output, json: _ } => {
            let place = reach.place().await?;
            export(&place, &session, format, output.as_deref()).await?;
        }
        SessionsCommand::Keep { session, days, events, form } => {
            let keep = SessionPatch {
                keep_days: Some(days),
                keep_events: Some(events),
                ..SessionPatch::default()
            };
            reach.place().await?.edit_session(&session, &keep).await?;
            if form.json {
                out::json(&json!({"session": session, "keep_days": days, "keep_events": events}))?;
            } else {
                out::line(&kept(days, events))?;
            }
        }
        SessionsCommand::Delete { sessions, yes, form } => {
            let place = reach.place().await?;
            if !yes && !confirmed(&sessions)? {
                out::remark(Look::Dim, "nothing was deleted");
                return Ok(Outcome::Failed);
            }
            for session in &sessions {
                place
                    .delete_session(session)
                    .await
                    .with_context(|| format!("{session} was not deleted"))?;
                if form.json {
                    out::json(&json!({"deleted": session}))?;
                } else {
                    out::line(&format!("deleted {session}"))?;
                }
            }
        }
    }
    Ok(Outcome::Done)
}

/// What is kept of a log, in words.
fn kept(days: Option<u32>, events: Option<u64>) -> String {
    match (days, events) {
        (None, None) => "as its agent's settings have it".to_owned(),
        (Some(days), None) => format!("what was said in the last {days} days"),
        (None, Some(events)) => format!("the newest {events} events"),
        (Some(days), Some(events)) => {
            format!("what was said in the last {days} days, at most {events} events")
        }
    }
}

/// A session and its newest events.
#[derive(Serialize)]
struct Shown<'a> {
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
        (true, queued) => format!("running, {queued} wait"),
        (false, queued) => format!("{queued} wait"),
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
                page.instructions.as_deref().map(story::short).unwrap_or_default(),
            ],
        ],
    )?;
    if after.next() > page.first {
        out::line(&Paint::of_stdout().show(
            Look::Dim,
            &format!("\n… the newest {} of {} events", events.len(), page.session.head),
        ))?;
    } else {
        out::line("")?;
    }
    for entry in transcript(page, after, events).entries() {
        if let Some((look, told)) = story::entry(entry) {
            out::line(&Paint::of_stdout().show(look, &told))?;
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
    });
    for record in events {
        // Pages follow each other without a gap, so every record is taken.
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
        let Some((look, told)) = story::entry(entry) else { continue };
        match look {
            Look::Plain => writeln!(out, "\n{told}")?,
            Look::Bold => writeln!(out, "\n**{}**", told.replace('\n', "**\n**"))?,
            Look::Dim | Look::Bad => writeln!(out, "\n> {}", told.replace('\n', "\n> "))?,
        }
    }
    Ok(())
}

/// Asks a person; a script has made up its mind.
fn confirmed(sessions: &[SessionId]) -> std::io::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    let what = match sessions {
        [one] => format!("the session {one}"),
        many => format!("{} sessions", many.len()),
    };
    out::remark_piece(
        Look::Bold,
        &format!("delete {what} and all that was said in it, for good? [y/N] "),
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
