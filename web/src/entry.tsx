import { diffLines } from "diff";
import { memo } from "preact/compat";
import { useEffect, useErrorBoundary, useState } from "preact/hooks";
import type { Usage, Verdict } from "thoughtwire";

import { Markdown } from "./markdown";
import { formatJson, formatText, Plain } from "./plain";
import { withSeams } from "./seams";
import { attempt, type SessionView } from "./store";
import type { CallEntry, InputEntry, TranscriptEntry, TurnEndEntry } from "./transcript";
import { visible, visibleName } from "./visible";

/** One entry. The fold makes a new object for each change, so it is redrawn only then. */
export const EntryView = memo(
  function EntryView({
    entry,
    view,
    unfolded,
  }: {
    entry: TranscriptEntry;
    view: SessionView;
    unfolded: boolean;
  }) {
    const [broken] = useErrorBoundary();
    if (broken)
      return (
        <article class="entry">
          <p class="error">This entry cannot be displayed.</p>
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
        <Body entry={entry} view={view} unfolded={unfolded} />
        {entry.seq !== undefined && <EventLink session={view.session} seq={entry.seq} />}
      </article>
    );
  },
  (before, now) => before.entry === now.entry && before.unfolded === now.unfolded,
);

function Body({
  entry,
  view,
  unfolded,
}: {
  entry: TranscriptEntry;
  view: SessionView;
  unfolded: boolean;
}) {
  switch (entry.kind) {
    case "input":
      return (
        <>
          <Plain name="said" text={visible(entry.text)} />
          {entry.attachments.length > 0 && (
            <p class="quiet">Attached: {visible(entry.attachments.join(", "))}</p>
          )}
          <InputStatus input={entry} view={view} />
        </>
      );
    case "thought":
      return (
        <details open={unfolded}>
          <summary>Thought{entry.state === "cut" ? " (cut off)" : ""}</summary>
          <Plain
            name="said"
            text={withSeams(entry.text, entry.seams)}
            seams={entry.seams.length > 0}
            from={entry.state === "open" ? "end" : "start"}
          />
        </details>
      );
    case "message":
      return (
        <>
          <Markdown
            text={entry.text}
            seams={entry.seams}
            open={entry.state === "open"}
            drawn={view.redraw}
          />
          {entry.state !== "open" && entry.text.trim() === "" && (
            <p class="quiet">(an empty message)</p>
          )}
          {entry.state === "cut" && <p class="quiet cut">… cut off here</p>}
        </>
      );
    case "call":
      return <CallCard call={entry} view={view} />;
    case "edit":
      return (
        <details open>
          <summary>
            Memory, {visibleName(entry.block)}
            {entry.by === "agent" ? "" : ` (by the ${visibleName(entry.by)})`}
          </summary>
          <BlockDiff before={entry.before} after={entry.after} />
        </details>
      );
    case "note":
      return <Plain name="quiet" text={visible(entry.text)} />;
    case "end":
      return (
        <p class={entry.outcome === "failed" ? "error" : "quiet"}>
          {[ending(entry), entry.usage && spent(entry.usage)].filter(Boolean).join(" · ")}
        </p>
      );
  }
}

/** State of an input that did not start a turn at once. */
function InputStatus({ input, view }: { input: InputEntry; view: SessionView }) {
  if (input.state === "withdrawn") return <p class="quiet">Taken back</p>;
  if (input.state === "waits" && !view.transcript.turn) return null;
  if (input.state === "waits") {
    return (
      <p class="quiet">
        Queued until the current turn ends{" "}
        <button
          type="button"
          class="plain small"
          onClick={() => attempt(() => view.room.withdraw(input.key))}
        >
          Take back
        </button>
      </p>
    );
  }
  if (input.how === "steered") return <p class="quiet">Added to the running turn</p>;
  return input.how === "queued" ? (
    <p class="quiet">Was queued while the agent was working</p>
  ) : null;
}

/** Describes the end of a turn that failed, was cancelled, or had no message. */
function ending({ outcome, reason, silent }: TurnEndEntry): string {
  if (outcome === "completed") return silent ? "The agent ended its turn without a message" : "";
  return visible(reason.includes(outcome) ? reason : [outcome, reason].filter(Boolean).join(": "));
}

/** Describes a token usage. */
export function spent({ input_tokens, output_tokens, cached_tokens }: Usage): string {
  const cached = cached_tokens ? ` (${cached_tokens.toLocaleString("en")} from cache)` : "";
  const [read, written] = [input_tokens, output_tokens].map((n) => n.toLocaleString("en"));
  return `${read} tokens read${cached}, ${written} written`;
}

function CallCard({ call, view }: { call: CallEntry; view: SessionView }) {
  const { approval, returned } = call;
  const state = stateOf(call);
  const name = visibleName(call.name ?? "…");
  // The time to decide does not count as running time.
  const ran =
    returned && call.began
      ? Math.max(0, Date.parse(returned.at) - Date.parse(call.began) - (call.waited ?? 0))
      : undefined;
  const took = ran === undefined || state === "denied" ? "" : `, ${(ran / 1000).toFixed(1)} s`;
  const decide = async (decision: Verdict, result?: string) => {
    // The buttons disappear, so the focus returns to the message field.
    if (await attempt(() => view.room.decide(call.key, decision, result ? { result } : {})))
      document.getElementById("composer")?.focus();
  };
  const words = {
    ok: "done",
    error: "failed",
    unknown: "outcome unknown",
    denied: "denied",
    expired: "not approved in time",
    asks: "needs your approval",
    doubt: "interrupted, needs your answer",
    running: "running",
  }[state];
  return (
    <div class="card" data-state={state}>
      <p class="title">
        <strong>{name}</strong>{" "}
        <span class="quiet">
          {words}
          {took}
          {again(call.retries ?? 0)}
        </span>
      </p>
      <Arguments call={call} asked={state === "asks" || state === "doubt"} />
      {state === "asks" && (
        // biome-ignore lint/a11y/useSemanticElements: a fieldset has its own layout.
        <div class="row" role="group" aria-label={`May ${name} run?`}>
          <button type="button" onClick={() => decide("approved")}>
            Approve
          </button>
          <button type="button" class="second" onClick={() => decide("denied")}>
            Deny
          </button>
          <TimeLeft until={approval!.until} />
        </div>
      )}
      {state === "doubt" && <RetryQuestion name={name} until={approval!.until} decide={decide} />}
      {approval?.decision && (
        <p class="quiet">
          {answered(approval)} <EventLink session={view.session} seq={approval.seq} />
        </p>
      )}
      {returned && (
        <details open={returned.status !== "success"}>
          <summary>Result</summary>
          <Plain tag="pre" name="" text={visible(formatText(returned.text))} />
          {returned.content !== undefined && (
            <Plain tag="pre" name="" text={visible(formatJson(returned.content))} />
          )}
          <EventLink session={view.session} seq={returned.seq} />
        </details>
      )}
    </div>
  );
}

type CallState = "ok" | "error" | "unknown" | "denied" | "expired" | "asks" | "doubt" | "running";

function stateOf({ approval, returned }: CallEntry): CallState {
  if (!returned) {
    if (!approval || approval.decision) return "running";
    return approval.about === "retry" ? "doubt" : "asks";
  }
  if (returned.status === "success") return "ok";
  if (returned.status === "unknown") return "unknown";
  if (approval?.about === "run")
    if (approval.decision === "denied" || approval.decision === "expired") return approval.decision;
  // A call that the permissions forbid has no approval.
  return /^The tool `[^`]*` may not be used here\./.test(returned.text) ? "denied" : "error";
}

/** Says how often a call was made again. */
const again = (retries: number): string =>
  retries === 0 ? "" : retries === 1 ? ", run again" : `, run again ${retries} times`;

/** Says how an approval was settled. */
function answered({ about, decision }: NonNullable<CallEntry["approval"]>): string {
  if (about === "run") return decision ?? "";
  const words: Record<string, string> = {
    approved: "The owner had it run again",
    done: "The owner says that it was done",
    denied: "The owner says that it failed",
    expired: "Nobody answered in time",
    void: "The turn ended before anybody answered",
  };
  return words[decision ?? ""] ?? decision ?? "";
}

/** Asks about a call that was interrupted, so that nobody knows whether it took effect. */
function RetryQuestion({
  name,
  until,
  decide,
}: {
  name: string;
  until: string;
  decide: (decision: Verdict, result?: string) => Promise<void>;
}) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset has its own layout.
    <div class="doubt" role="group" aria-label={`Was ${name} done?`}>
      <p>
        This call was interrupted. It may already have taken effect. Running it again may do the
        same thing twice.
      </p>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          const { result } = event.currentTarget.elements as unknown as {
            result: HTMLInputElement;
          };
          void decide("done", result.value.trim());
        }}
      >
        <button type="button" onClick={() => decide("approved")}>
          Run again
        </button>
        <button type="button" class="second" onClick={() => decide("denied")}>
          It failed
        </button>
        <TimeLeft until={until} />
        <span class="result">
          <input
            name="result"
            aria-label="Its result, if you know it"
            placeholder="Its result, if you know it"
          />
          <button type="submit" class="second">
            It was done
          </button>
        </span>
      </form>
    </div>
  );
}

/** Arguments of a call: a list if they are few and short, otherwise formatted JSON. */
function Arguments({ call, asked }: { call: CallEntry; asked: boolean }) {
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

/** Time left to decide. */
function TimeLeft({ until }: { until: string }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.max(0, Math.round((Date.parse(until) - now) / 1000));
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  return <span class="quiet">{clock} left</span>;
}

/** Limits of a comparison: milliseconds, and number of changes. */
const COMPARE = { timeout: 50, maxEditLength: 1_000 };

/** Changed lines between two texts; both texts entirely if the comparison takes too long. */
function BlockDiff({ before, after }: { before: string; after: string }) {
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

/** Button that copies a link to an event. */
function EventLink({ session, seq }: { session: string; seq: number }) {
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
