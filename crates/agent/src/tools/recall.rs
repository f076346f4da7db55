//! The tools that search conversations and notes.

use thoughtwire_proto::{AgentId, CallId, Timestamp};
use thoughtwire_store::{MemoryHit, MemoryQuery, Page, Recalled};

use crate::archive::Archive;

use super::{ToolContext, ToolFault, Toolbox, unread};
use crate::time;

/// Number of results per page, as in MemGPT.
const PAGE: usize = 5;
/// Maximum number of characters of a message that surrounds a result.
const NEAR_CHARS: usize = 200;
/// Highest page number.
const LAST_PAGE: u64 = 10_000;

impl Toolbox {
    pub(super) async fn conversation_search(
        &self,
        query: &str,
        page: Option<u64>,
        context: &ToolContext<'_>,
    ) -> Result<String, ToolFault> {
        let (agent, query) = (&context.turn.agent.id, checked(query)?);
        let span = PageSpan::of(page, 1)?;
        let query = MemoryQuery { text: query, limit: span.end, ..MemoryQuery::default() };
        let found = self.archive.recall(agent, query).await.map_err(unread)?;
        Ok(recalled(found, span, context))
    }

    pub(super) async fn conversation_search_date(
        &self,
        start: &str,
        end: &str,
        page: Option<u64>,
        context: &ToolContext<'_>,
    ) -> Result<String, ToolFault> {
        let agent = &context.turn.agent.id;
        let (start, end) = (checked_day("start_date", start)?, checked_day("end_date", end)?);
        if end < start {
            return Err(ToolFault::Complaint(format!(
                "`end_date` {end} is before `start_date` {start}."
            )));
        }
        let bounds = time::begin(start).zip(end.tomorrow().ok().and_then(time::begin));
        let (from, until) = bounds
            .ok_or_else(|| ToolFault::Complaint("These days are out of range.".to_owned()))?;
        let span = PageSpan::of(page, 0)?;
        // The store's bounds are both inclusive. The question itself is not a result.
        let last = Timestamp::from_millis(until.as_millis().saturating_sub(1));
        let question = context.turn_input.map(|seq| (context.turn.session.clone(), seq));
        self.catch_up().await?;
        let memory = self.memory_for(agent);
        let found = memory.recall_by_date(agent, (from, last), question, span.start, PAGE).await;
        let found = found.map_err(unread)?;
        let lines: Vec<String> = found.items.iter().map(said).collect();
        Ok(listed(&lines, span, found.total))
    }

    /// Indexes all messages that are not indexed yet.
    async fn catch_up(&self) -> Result<(), ToolFault> {
        while self.store.memory().index_recall().await.map_err(unread)? {}
        Ok(())
    }

    pub(super) async fn archival_memory_insert(
        &self,
        agent: AgentId,
        content: &str,
        call: &CallId,
    ) -> Result<String, ToolFault> {
        if content.trim().is_empty() {
            return Err(ToolFault::Complaint(
                "`content` is empty; there is nothing to note.".to_owned(),
            ));
        }
        // Made again after a crash, the call finds its note by this source and adds none.
        let source = Some(format!("call:{call}"));
        let note = Archive::note(content, (self.clock)(), source);
        let saved = self.archive.add(&agent, vec![note]).await;
        saved.map_err(|error| ToolFault::Complaint(format!("The note was not saved: {error}.")))?;
        Ok("The note is in archival memory.".to_owned())
    }

    pub(super) async fn archival_memory_search(
        &self,
        agent: AgentId,
        query: &str,
        page: Option<u64>,
    ) -> Result<String, ToolFault> {
        let (query, span) = (checked(query)?, PageSpan::of(page, 0)?);
        let (offset, limit) = (span.start, PAGE);
        let query = MemoryQuery { text: query, offset, limit, ..MemoryQuery::default() };
        let found = self.archive.search(&agent, query).await.map_err(unread)?;
        let lines = found.items.iter().map(|MemoryHit { item, .. }| {
            format!("- [{}] {}", time::short(item.at), one_line(&item.text))
        });
        Ok(listed(&lines.collect::<Vec<_>>(), span, found.total))
    }
}

/// The results on a page.
#[derive(Clone, Copy)]
struct PageSpan {
    page: usize,
    start: usize,
    /// Index behind the last result to read.
    end: usize,
}

impl PageSpan {
    fn of(page: Option<u64>, spare: usize) -> Result<Self, ToolFault> {
        let page = page.unwrap_or(0);
        match usize::try_from(page) {
            Ok(number) if page <= LAST_PAGE => {
                Ok(Self { page: number, start: number * PAGE, end: (number + 1) * PAGE + spare })
            }
            Ok(_) | Err(_) => Err(ToolFault::Complaint(format!("There is no page {page}."))),
        }
    }
}

/// Lists results without the question that is being answered, because it contains the words by
/// nature.
fn recalled(found: Page<MemoryHit<Recalled>>, span: PageSpan, context: &ToolContext<'_>) -> String {
    let total = found.total;
    let own = |item: &Recalled| {
        item.session == context.turn.session && context.turn_input == Some(item.seq)
    };
    let shown = found.items.len();
    let others: Vec<_> = found.items.into_iter().filter(|hit| !own(&hit.item)).collect();
    let total = total.saturating_sub(shown - others.len());
    let page: Vec<_> = others.iter().skip(span.start).take(PAGE).collect();
    let is_listed = |near: &Recalled| own(near) || page.iter().any(|hit| hit.item.id == near.id);
    let mut lines = Vec::new();
    for MemoryHit { item, before, after, .. } in &page {
        let near = |near: &Option<Recalled>| {
            let near = near.as_ref().filter(|near| !is_listed(near))?;
            Some(format!("\n    {}: {}", near.role, shortened(&one_line(&near.text))))
        };
        let line = said(item);
        let before = near(before).map(|near| format!("{near} (before)")).unwrap_or_default();
        let after = near(after).map(|near| format!("{near} (after)")).unwrap_or_default();
        lines.push(format!("{line}{before}{after}"));
    }
    listed(&lines, span, total)
}

fn said(item: &Recalled) -> String {
    format!("- [{}] {}: {}", time::short(item.at), item.role, one_line(&item.text))
}

/// The beginning of a message that only surrounds a result.
fn shortened(text: &str) -> String {
    if text.chars().count() <= NEAR_CHARS {
        return text.to_owned();
    }
    text.chars().take(NEAR_CHARS).chain(std::iter::once('…')).collect()
}

fn listed(lines: &[String], span: PageSpan, total: usize) -> String {
    if lines.is_empty() && span.page == 0 {
        return "No results.".to_owned();
    }
    let shown = span.start + lines.len();
    let more = if total > shown && !lines.is_empty() {
        format!("\n{} more: ask for page {}.", total - shown, span.page + 1)
    } else {
        String::new()
    };
    format!(
        "Showing {} of {total} results (page {}):\n{}{more}",
        lines.len(),
        span.page,
        lines.join("\n")
    )
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn checked(query: &str) -> Result<String, ToolFault> {
    if query.trim().is_empty() {
        return Err(ToolFault::Complaint("`query` is empty; name a word to look for.".to_owned()));
    }
    Ok(query.to_owned())
}

fn checked_day(name: &str, text: &str) -> Result<jiff::civil::Date, ToolFault> {
    time::day(text).ok_or_else(|| {
        ToolFault::Complaint(format!(
            "`{name}` is a day as in 2026-01-31, not `{}`.",
            text.escape_debug()
        ))
    })
}
