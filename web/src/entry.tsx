import { diffLines } from "diff";
import { memo } from "preact/compat";
import { useEffect, useErrorBoundary, useState } from "preact/hooks";
import type { Usage } from "thoughtwire";

import { Markdown } from "./markdown";
import { laidOut, laidOutText, Plain } from "./plain";
import { attempt, type Place } from "./store";
import type { Call, End, Entry, Input } from "./transcript";
import { visible, visibleName } from "./visible";

/**
 * One entry. It is drawn again only when it is another: the fold makes a new object for each
 * change.
 */
export const EntryView = memo(
  function EntryView({
    entry,
    place,
    unfolded,
  }: {
    entry: Entry;
    place: Place;
    unfolded: boolean;
  }) {
    const [broken] = useErrorBoundary();
    if (broken)
      return (
        <article class="entry">
          <p class="trouble">This could not be shown.</p>
        </article>
      );
    if (entry.kind === "end" && entry.outcome === "completed" && !entry.usage && !entry.silent)
      return null;
    return (
      <article
        class={`entry ${entry.kind}`}
        data-key={entry.key}
        data-seq={entry.seq}
        data-state={"state" in entry ? entry.state : undefined}
        tabIndex={-1}
      >
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
          <Plain name="said" text={visible(entry.text)} />
          {entry.attachments.length > 0 && (
            <p class="quiet">attached: {visible(entry.attachments.join(", "))}</p>
          )}
          <HowSaid input={entry} place={place} />
        </>
      );
    case "thought":
      return (
        <details open={unfolded}>
          <summary>Thought{entry.state === "cut" ? " (cut off)" : ""}</summary>
          <Plain
            name="said"
            text={visible(entry.text)}
            from={entry.state === "open" ? "end" : "start"}
          />
        </details>
      );
    case "message":
      return (
        <>
          <Markdown text={entry.text} open={entry.state === "open"} drawn={place.redraw} />
          {entry.state !== "open" && entry.text.trim() === "" && (
            <p class="quiet">(an empty message)</p>
          )}
          {entry.state === "cut" && <p class="quiet cut">… cut off here</p>}
        </>
      );
    case "call":
      return <CallCard call={entry} place={place} />;
    case "edit":
      return (
        <details open>
          <summary>
            Memory, {visibleName(entry.block)}
            {entry.by === "agent" ? "" : ` (by the ${visibleName(entry.by)})`}
          </summary>
          <Change before={entry.before} after={entry.after} />
        </details>
      );
    case "note":
      return <Plain name="quiet" text={visible(entry.text)} />;
    case "end":
      return (
        <p class={entry.outcome === "failed" ? "trouble" : "quiet"}>
          {[ending(entry), entry.usage && spent(entry.usage)].filter(Boolean).join(" · ")}
        </p>
      );
  }
}

/** What became of an input that did not simply begin a turn. */
function HowSaid({ input, place }: { input: Input; place: Place }) {
  if (input.state === "withdrawn") return <p class="quiet">taken back</p>;
  if (input.state === "waits" && !place.transcript.turn) return null;
  if (input.state === "waits") {
    return (
      <p class="quiet">
        queued, waits for its turn{" "}
        <button
          type="button"
          class="plain small"
          onClick={() => attempt(() => place.room.withdraw(input.key))}
        >
          Take back
        </button>
      </p>
    );
  }
  if (input.how === "steered") return <p class="quiet">steered: said into the running turn</p>;
  return input.how === "queued" ? <p class="quiet">was queued while the agent worked</p> : null;
}

/** How a turn ended, if not well, or without a word. */
function ending({ outcome, reason, silent }: End): string {
  if (outcome === "completed") return silent ? "The agent ended its turn without a message" : "";
  return visible(reason.includes(outcome) ? reason : [outcome, reason].filter(Boolean).join(": "));
}

function spent({ input_tokens, output_tokens, cached_tokens }: Usage): string {
  const cached = cached_tokens ? ` (${cached_tokens.toLocaleString("en")} from cache)` : "";
  return `${input_tokens.toLocaleString("en")} tokens read${cached}, ${output_tokens.toLocaleString("en")} written`;
}

function CallCard({ call, place }: { call: Call; place: Place }) {
  const { approval, returned } = call;
  const state = stateOf(call);
  const name = visibleName(call.name ?? "…");
  // A person's time to decide is not the tool's.
  const ran =
    returned && call.began
      ? Math.max(0, Date.parse(returned.at) - Date.parse(call.began) - (call.waited ?? 0))
      : undefined;
  const took = ran === undefined || state === "denied" ? "" : `, ${(ran / 1000).toFixed(1)} s`;
  const decide = async (decision: "approved" | "denied") => {
    // The buttons go: who pressed one is in the message field again.
    if (await attempt(() => place.room.decide(call.key, decision)))
      document.getElementById("composer")?.focus();
  };
  const words = {
    ok: "done",
    error: "failed",
    denied: "denied",
    expired: "not approved in time",
    asks: "waits for you",
    running: "running",
  }[state];
  return (
    <div class="card" data-state={state}>
      <p class="title">
        <strong>{name}</strong>{" "}
        <span class="quiet">
          {words}
          {took}
        </span>
      </p>
      <Arguments call={call} asked={state === "asks"} />
      {state === "asks" && (
        // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be a flex row in all browsers.
        <div class="row" role="group" aria-label={`May ${name} run?`}>
          <button type="button" onClick={() => decide("approved")}>
            Approve
          </button>
          <button type="button" class="second" onClick={() => decide("denied")}>
            Deny
          </button>
          <Left until={approval!.until} />
        </div>
      )}
      {approval?.decision && (
        <p class="quiet">
          {approval.decision} <Link session={place.session} seq={approval.seq} />
        </p>
      )}
      {returned && (
        <details open={!returned.ok}>
          <summary>Result</summary>
          <Plain tag="pre" name="" text={visible(laidOutText(returned.text))} />
          {returned.content !== undefined && (
            <Plain tag="pre" name="" text={visible(laidOut(returned.content))} />
          )}
          <Link session={place.session} seq={returned.seq} />
        </details>
      )}
    </div>
  );
}

function stateOf({
  approval,
  returned,
}: Call): "ok" | "error" | "denied" | "expired" | "asks" | "running" {
  if (!returned) return approval && !approval.decision ? "asks" : "running";
  if (returned.ok) return "ok";
  if (approval?.decision === "denied" || approval?.decision === "expired") return approval.decision;
  // What the agent's permissions forbid is not asked about.
  return /^The tool `[^`]*` may not be used here\./.test(returned.text) ? "denied" : "error";
}

/**
 * Few and short ones as a list, which most are; else laid out, and folded unless somebody has to
 * decide on them.
 */
function Arguments({ call, asked }: { call: Call; asked: boolean }) {
  const pairs = call.name === undefined ? undefined : short(call.args);
  if (pairs?.length === 0 || call.args === "") return null;
  if (pairs) {
    return (
      <dl class="arguments">
        {pairs.map(([name, value]) => (
          <div key={name}>
            <dt>{visible(name)}</dt> <dd>{visible(value)}</dd>
          </div>
        ))}
      </dl>
    );
  }
  return (
    <details open={asked || call.name === undefined}>
      <summary>Arguments</summary>
      <Plain
        tag="pre"
        name=""
        text={visible(call.args)}
        from={call.name === undefined ? "end" : "start"}
      />
    </details>
  );
}

function short(args: string): [string, string][] | undefined {
  if (args.length > 1_000 || !args.startsWith("{")) return undefined;
  const pairs = Object.entries(JSON.parse(args) as Record<string, unknown>).map(
    ([name, value]): [string, string] => [
      name,
      typeof value === "string" ? value : JSON.stringify(value),
    ],
  );
  return pairs.length <= 4 &&
    pairs.every(([, value]) => value.length <= 120 && !value.includes("\n"))
    ? pairs
    : undefined;
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

/** How long two texts may be compared, in milliseconds; and how many changes are told apart. */
const COMPARE = { timeout: 50, maxEditLength: 1_000 };

/** What changed between two texts, line by line; all of them where that would take too long. */
function Change({ before, after }: { before: string; after: string }) {
  const changes = diffLines(before && `${before}\n`, after && `${after}\n`, COMPARE) ?? [
    { added: false, removed: true, value: before },
    { added: true, removed: false, value: after },
  ];
  return (
    <p class="change">
      {changes.map(({ added, removed, value }, n) => {
        const text = visible(value.trimEnd());
        return added ? <ins key={n}>{text}</ins> : removed ? <del key={n}>{text}</del> : null;
      })}
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
        await navigator.clipboard.writeText(
          `${location.origin}${location.pathname}#${session}:${seq}`,
        );
        setCopied(true);
        setTimeout(() => setCopied(false), 1_500);
      }}
    >
      {copied ? "copied" : `#${seq}`}
    </button>
  );
}
