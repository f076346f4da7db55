import { diffLines } from "diff";
import { memo } from "preact/compat";
import { useEffect, useErrorBoundary, useState } from "preact/hooks";
import type { Usage } from "thoughtwire";

import { Markdown } from "./markdown";
import { attempt, type Place } from "./store";
import type { Call, Entry } from "./transcript";

/** One entry. It is drawn again only when it is another: the fold makes a new object for each change. */
export const EntryView = memo(
  function EntryView({ entry, place, unfolded }: { entry: Entry; place: Place; unfolded: boolean }) {
    const [broken] = useErrorBoundary();
    if (broken) return <article class="entry"><p class="trouble">This could not be shown.</p></article>;
    if (entry.kind === "end" && entry.outcome === "completed" && !entry.usage) return null;
    return (
      <article class={`entry ${entry.kind}`} data-key={entry.key} data-seq={entry.seq} data-state={"state" in entry ? entry.state : undefined} tabIndex={-1}>
        <Body entry={entry} place={place} unfolded={unfolded} />
        {entry.seq !== undefined && <Link session={place.session} seq={entry.seq} />}
      </article>
    );
  },
  (before, now) => before.entry === now.entry && before.unfolded === now.unfolded,
);

function Body({ entry, place, unfolded }: { entry: Entry; place: Place; unfolded: boolean }) {
  switch (entry.kind) {
    case "input":
      return (
        <>
          <p class="said">{entry.text}</p>
          {entry.attachments.length > 0 && <p class="quiet">attached: {entry.attachments.join(", ")}</p>}
          {entry.state === "waits" && place.transcript.turn && (
            <p class="quiet">
              waits for its turn{" "}
              <button type="button" class="plain small" onClick={() => attempt(() => place.room.withdraw(entry.key))}>
                Take back
              </button>
            </p>
          )}
          {entry.state === "withdrawn" && <p class="quiet">taken back</p>}
        </>
      );
    case "thought":
      return (
        <details open={unfolded}>
          <summary>Thought{entry.state === "cut" ? " (cut off)" : ""}</summary>
          <p class="said">{entry.text}</p>
        </details>
      );
    case "message":
      return (
        <>
          <Markdown text={entry.text} open={entry.state === "open"} />
          {entry.state === "cut" && <p class="quiet cut">… cut off here</p>}
        </>
      );
    case "call":
      return <CallCard call={entry} place={place} />;
    case "edit":
      return (
        <details open>
          <summary>
            Memory, {entry.block}
            {entry.by === "agent" ? "" : ` (by the ${entry.by})`}
          </summary>
          <Change before={entry.before} after={entry.after} />
        </details>
      );
    case "note":
      return <p class="quiet">{entry.text}</p>;
    case "end":
      return (
        <p class={entry.outcome === "failed" ? "trouble" : "quiet"}>
          {[ending(entry), entry.usage && spent(entry.usage)].filter(Boolean).join(" · ")}
        </p>
      );
  }
}

/** How a turn ended, if not well. */
function ending({ outcome, reason }: Extract<Entry, { kind: "end" }>): string {
  if (outcome === "completed") return "";
  return reason.includes(outcome) ? reason : [outcome, reason].filter(Boolean).join(": ");
}

function spent({ input_tokens, output_tokens, cached_tokens }: Usage): string {
  const cached = cached_tokens ? ` (${cached_tokens.toLocaleString("en")} from cache)` : "";
  return `${input_tokens.toLocaleString("en")} tokens read${cached}, ${output_tokens.toLocaleString("en")} written`;
}

function CallCard({ call, place }: { call: Call; place: Place }) {
  const { approval, returned } = call;
  const state = returned ? (returned.ok ? "ok" : "error") : approval && !approval.decision ? "asks" : "running";
  const took = returned && call.began ? `${((Date.parse(returned.at) - Date.parse(call.began)) / 1000).toFixed(1)} s` : "";
  const decide = async (decision: "approved" | "denied") => {
    // The buttons go: who pressed one is in the message field again.
    if (await attempt(() => place.room.decide(call.key, decision))) document.getElementById("composer")?.focus();
  };
  const words = { ok: "done", error: "failed", asks: "waits for you", running: "running" }[state];
  return (
    <div class="card" data-state={state}>
      <p class="title">
        <strong>{call.name ?? "…"}</strong> <span class="quiet">{words}{took && `, ${took}`}</span>
      </p>
      <Arguments call={call} asked={state === "asks"} />
      {state === "asks" && (
        <div class="row" role="group" aria-label={`May ${call.name} run?`}>
          <button type="button" onClick={() => decide("approved")}>Approve</button>
          <button type="button" class="second" onClick={() => decide("denied")}>Deny</button>
          <Left until={approval!.until} />
        </div>
      )}
      {approval?.decision && <p class="quiet">{approval.decision} <Link session={place.session} seq={approval.seq} /></p>}
      {returned && (
        <details open={!returned.ok}>
          <summary>Result</summary>
          <pre tabIndex={0}>{laidOut(returned.text)}</pre>
          {returned.content !== undefined && <pre tabIndex={0}>{JSON.stringify(returned.content, null, 2)}</pre>}
          <Link session={place.session} seq={returned.seq} />
        </details>
      )}
    </div>
  );
}

/** Few and short ones as a list, which most are; else laid out, and folded unless somebody has to decide on them. */
function Arguments({ call, asked }: { call: Call; asked: boolean }) {
  const pairs = call.name === undefined ? undefined : short(call.args);
  if (pairs?.length === 0 || call.args === "") return null;
  if (pairs) {
    return (
      <dl class="arguments">
        {pairs.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt> <dd>{value}</dd>
          </div>
        ))}
      </dl>
    );
  }
  return (
    <details open={asked || call.name === undefined}>
      <summary>Arguments</summary>
      <pre tabIndex={0}>{call.args}</pre>
    </details>
  );
}

function short(args: string): [string, string][] | undefined {
  const pairs = Object.entries(JSON.parse(args) as Record<string, unknown>).map(([name, value]): [string, string] => [name, typeof value === "string" ? value : JSON.stringify(value)]);
  return pairs.length <= 4 && pairs.every(([, value]) => value.length <= 120 && !value.includes("\n")) ? pairs : undefined;
}

/** The time that a question has left. */
function Left({ until }: { until: string }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.max(0, Math.round((Date.parse(until) - now) / 1000));
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  return <span class="quiet">{clock} left</span>;
}

/** JSON on lines of its own; any other text as it is. */
function laidOut(text: string): string {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** What changed between two texts, line by line. */
function Change({ before, after }: { before: string; after: string }) {
  return (
    <p class="change">
      {diffLines(before && `${before}\n`, after && `${after}\n`).map(({ added, removed, value }, n) =>
        added ? <ins key={n}>{value.trimEnd()}</ins> : removed ? <del key={n}>{value.trimEnd()}</del> : null,
      )}
    </p>
  );
}

/** A link to an event by its position. */
function Link({ session, seq }: { session: string; seq: number }) {
  const [copied, setCopied] = useState(false);
  return (
    <button
      type="button"
      class="plain small link"
      aria-label={`Copy a link to event ${seq}`}
      onClick={async () => {
        await navigator.clipboard.writeText(`${location.origin}${location.pathname}#${session}:${seq}`);
        setCopied(true);
        setTimeout(() => setCopied(false), 1_500);
      }}
    >
      {copied ? "copied" : `#${seq}`}
    </button>
  );
}
