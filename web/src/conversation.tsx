import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { EntryView } from "./entry";
import { delays, type OutboxEntry, outbox, takeBack } from "./outbox";
import { Plain } from "./plain";
import { connectionState, current, type SessionView, showThoughts, wanted } from "./store";
import { visible, visibleName } from "./visible";

/** Entries that are drawn at first, that scrolling to an edge adds, and the maximum. */
const INITIAL_ENTRIES = 120;
const ENTRIES_PER_STEP = 80;
const MAX_ENTRIES = 360;
/** Distance from an edge that counts as being there, in pixels. */
const EDGE_PX = 60;
/** Tolerance for rounding, in pixels. */
const ROUNDING_PX = 4;

export function Conversation() {
  const view = current.value;
  if (view) return <ConversationLog key={view.session} view={view} />;
  return (
    <div class="conversation empty">
      <p>
        Write a message to start. You see what the agent thinks and does while it works, then its
        answer.
      </p>
      <UnsentMessages session="" />
    </div>
  );
}

/**
 * Window on a session's entries. It follows the newest one until the user scrolls away; then the
 * text being read stays in place.
 */
function ConversationLog({ view }: { view: SessionView }) {
  view.version.value;
  const thoughts = showThoughts.value;
  const { entries } = view.transcript;
  /** Key of the last entry that is drawn; `undefined` for the newest. */
  const [last, setLast] = useState<string | undefined>(undefined);
  const [drawn, setDrawn] = useState(INITIAL_ENTRIES);
  const [away, setAway] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const anchor = useRef<{ element: HTMLElement; top: number } | undefined>(undefined);
  const target = useRef<string | undefined>(undefined);
  const lastScrollTop = useRef(0);

  const found = last === undefined ? -1 : entries.findIndex((entry) => entry.key === last);
  const end = found < 0 ? entries.length : found + 1;
  const start = Math.max(0, end - drawn);

  /** Remembers the entry being read and its position. */
  const rememberAnchor = () => {
    const element = box.current!;
    const first = [...element.querySelectorAll<HTMLElement>("article")].find(
      (article) => article.offsetTop + article.offsetHeight > element.scrollTop,
    );
    anchor.current = first && { element: first, top: first.offsetTop - element.scrollTop };
  };

  // After sending, the user sees the message.
  const unsent = outbox.value.filter((one) => one.session === view.session).length;
  const before = useRef(unsent);
  useLayoutEffect(() => {
    if (unsent > before.current) newest();
    before.current = unsent;
  }, [unsent]);

  // A link to an event: load it, draw the entries around it, and scroll there.
  const seq = wanted.value;
  useLayoutEffect(() => {
    if (seq === undefined) return;
    void view.reach(seq).then(() => {
      const all = view.transcript.entries;
      // A queued input is shown with its answer, which may be further down than its position.
      const near = (entry: (typeof all)[number]) =>
        entry.seq !== undefined && entry.seq <= seq ? entry.seq : -1;
      const at = all.reduce(
        (best, entry, at) => (near(entry) >= (best < 0 ? 0 : near(all[best]!)) ? at : best),
        -1,
      );
      if (at < 0) return;
      target.current = all[at]!.key;
      setAway(true);
      setDrawn(INITIAL_ENTRIES);
      setLast(all[at + INITIAL_ENTRIES / 2]?.key);
    });
  }, [view, seq]);

  useLayoutEffect(() => {
    const element = box.current!;
    const goal =
      target.current &&
      element.querySelector<HTMLElement>(`[data-key="${CSS.escape(target.current)}"]`);
    if (goal) {
      target.current = undefined;
      wanted.value = undefined;
      goal.scrollIntoView({ block: "center" });
      goal.focus();
    } else if (!away) {
      element.scrollTop = element.scrollHeight;
    } else if (anchor.current?.element.isConnected) {
      element.scrollTop = anchor.current.element.offsetTop - anchor.current.top;
    }
    // This scroll was caused by drawing, not by the user.
    lastScrollTop.current = element.scrollTop;
    rememberAnchor();
  });

  // A phone's keyboard takes space; the newest entry stays visible.
  useLayoutEffect(() => {
    if (away) return;
    const element = box.current!;
    const observer = new ResizeObserver(() => (element.scrollTop = element.scrollHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, [away]);

  const lowest = entries[end - 1]?.key;
  const up = async () => {
    if (!away) setLast(lowest);
    setAway(true);
    if (start === 0) await view.readOlder();
    const count = Math.min(drawn + ENTRIES_PER_STEP, MAX_ENTRIES);
    const excess = drawn + ENTRIES_PER_STEP - count;
    setDrawn(count);
    if (excess > 0)
      setLast(
        view.transcript.entries.at(
          view.transcript.entries.findIndex((entry) => entry.key === lowest) - excess,
        )?.key,
      );
  };
  const down = () => {
    setLast(entries[end + ENTRIES_PER_STEP - 1]?.key);
    setDrawn(Math.min(drawn + ENTRIES_PER_STEP, MAX_ENTRIES));
  };
  const newest = () => {
    setLast(undefined);
    setDrawn(INITIAL_ENTRIES);
    setAway(false);
  };
  return (
    <div class="log">
      <div
        class="conversation"
        ref={box}
        role="log"
        aria-label="Conversation"
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it.
        tabIndex={0}
        onScroll={(event) => {
          const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
          const below = scrollHeight - scrollTop - clientHeight;
          // Growing content never scrolls up: only the user does.
          const scrolledUp = scrollTop < lastScrollTop.current;
          lastScrollTop.current = scrollTop;
          rememberAnchor();
          if (scrolledUp && below > ROUNDING_PX) {
            // From here on, the text being read stays in place.
            if (!away) setLast(lowest);
            setAway(true);
          } else if (below < EDGE_PX && end < entries.length) down();
          else if (below <= ROUNDING_PX && away) newest();
          if (scrollTop < EDGE_PX && scrolledUp && (start > 0 || view.older.value)) void up();
        }}
      >
        {(start > 0 || view.older.value) && (
          <button type="button" class="plain older" onClick={() => void up()}>
            Older
          </button>
        )}
        {entries.slice(start, end).map((entry) => (
          <EntryView
            key={entry.key}
            entry={entry}
            view={view}
            unfolded={entry.kind !== "thought" || thoughts}
          />
        ))}
        {end === entries.length && <UnsentMessages session={view.session} />}
        <p class="doing">
          {view.transcript.turn ? visibleName(view.status.value) || "Working…" : ""}
        </p>
      </div>
      {away && (
        <button type="button" class="newest" onClick={newest}>
          Newest
        </button>
      )}
    </div>
  );
}

/** Messages that are not stored on the server yet. */
function UnsentMessages({ session }: { session: string }) {
  return (
    <>
      {outbox.value
        .filter((unsent) => unsent.session === session)
        .map((unsent) => (
          <div
            key={unsent.id}
            class={unsent.refused === undefined ? "entry input unsent" : "entry input refused"}
          >
            <Plain name="said" text={visible(unsent.text)} />
            <UnsentStatus entry={unsent} />
          </div>
        ))}
    </>
  );
}

/** Delivery state of an unsent message. */
function UnsentStatus({ entry }: { entry: OutboxEntry }) {
  if (entry.refused !== undefined) {
    return (
      <p class="error">
        Not sent: {visible(entry.refused)}{" "}
        <button type="button" class="plain small" onClick={() => takeBack(entry, "edit")}>
          Edit
        </button>
        <button type="button" class="plain small" onClick={() => takeBack(entry, "discard")}>
          Discard
        </button>
      </p>
    );
  }
  const delay = delays.value[entry.id];
  if (connectionState.value === "offline")
    return <p class="quiet">Not sent yet. It is sent when the connection is back.</p>;
  return (
    <p class="quiet">
      {delay === undefined ? "Sending…" : `Not sent yet, trying again: ${visible(delay)}`}
    </p>
  );
}
