import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { EntryView } from "./entry";
import { delays, type Unsent as Letter, outbox, takeOut } from "./outbox";
import { Plain } from "./plain";
import { current, line, type Place, showThoughts, wanted } from "./store";
import { visible, visibleName } from "./visible";

/**
 * Entries that are drawn at first, those that scrolling to an edge adds, and the most at any time.
 */
const WINDOW = 120;
const STEP = 80;
const MOST = 360;
/** So near to an edge, in pixels, is at it. */
const EDGE = 60;
/** Pixels that rounding may cost. */
const SLACK = 4;

export function Conversation() {
  const place = current.value;
  if (place) return <Log key={place.session} place={place} />;
  return (
    <div class="conversation empty">
      <p>
        Say something: the agent answers, remembers, and shows what it thinks and does on the way.
      </p>
      <Unsent session="" />
    </div>
  );
}

/**
 * A window on a session's entries. It follows the newest, until somebody scrolls away: then what is
 * being read stays where it is, whatever comes in above or below.
 */
function Log({ place }: { place: Place }) {
  place.version.value;
  const thoughts = showThoughts.value;
  const { entries } = place.transcript;
  /** The last entry that is drawn; none when that is the newest. */
  const [last, setLast] = useState<string | undefined>(undefined);
  const [drawn, setDrawn] = useState(WINDOW);
  const [away, setAway] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const kept = useRef<{ element: HTMLElement; top: number } | undefined>(undefined);
  const target = useRef<string | undefined>(undefined);
  const was = useRef(0);

  const found = last === undefined ? -1 : entries.findIndex((entry) => entry.key === last);
  const end = found < 0 ? entries.length : found + 1;
  const start = Math.max(0, end - drawn);

  /** Remembers what is being read. */
  const keep = () => {
    const element = box.current!;
    const first = [...element.querySelectorAll<HTMLElement>("article")].find(
      (article) => article.offsetTop + article.offsetHeight > element.scrollTop,
    );
    kept.current = first && { element: first, top: first.offsetTop - element.scrollTop };
  };

  // Who sends something sees it go.
  const unsent = outbox.value.filter((one) => one.session === place.session).length;
  const before = useRef(unsent);
  useLayoutEffect(() => {
    if (unsent > before.current) newest();
    before.current = unsent;
  }, [unsent]);

  // A link to an event: fetch it, draw what is around it, go there.
  const seq = wanted.value;
  useLayoutEffect(() => {
    if (seq === undefined) return;
    void place.reach(seq).then(() => {
      const all = place.transcript.entries;
      // An input stands with its answer, which may be further down than its position says.
      const near = (entry: (typeof all)[number]) =>
        entry.seq !== undefined && entry.seq <= seq ? entry.seq : -1;
      const at = all.reduce(
        (best, entry, at) => (near(entry) >= (best < 0 ? 0 : near(all[best]!)) ? at : best),
        -1,
      );
      if (at < 0) return;
      target.current = all[at]!.key;
      setAway(true);
      setDrawn(WINDOW);
      setLast(all[at + WINDOW / 2]?.key);
    });
  }, [place, seq]);

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
    } else if (kept.current?.element.isConnected) {
      element.scrollTop = kept.current.element.offsetTop - kept.current.top;
    }
    // What was drawn moved this, not a person.
    was.current = element.scrollTop;
    keep();
  });

  // A keyboard that comes up on a phone takes room, and the newest stays in view.
  useLayoutEffect(() => {
    if (away) return;
    const element = box.current!;
    const watch = new ResizeObserver(() => (element.scrollTop = element.scrollHeight));
    watch.observe(element);
    return () => watch.disconnect();
  }, [away]);

  const lowest = entries[end - 1]?.key;
  const up = async () => {
    if (!away) setLast(lowest);
    setAway(true);
    if (start === 0) await place.readOlder();
    const count = Math.min(drawn + STEP, MOST);
    const excess = drawn + STEP - count;
    setDrawn(count);
    if (excess > 0)
      setLast(
        place.transcript.entries.at(
          place.transcript.entries.findIndex((entry) => entry.key === lowest) - excess,
        )?.key,
      );
  };
  const down = () => {
    setLast(entries[end + STEP - 1]?.key);
    setDrawn(Math.min(drawn + STEP, MOST));
  };
  const newest = () => {
    setLast(undefined);
    setDrawn(WINDOW);
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
          // What grows below moves nothing: only a person scrolls up.
          const rose = scrollTop < was.current;
          was.current = scrollTop;
          keep();
          if (rose && below > SLACK) {
            // From here on what is read stays, whatever is added behind it.
            if (!away) setLast(lowest);
            setAway(true);
          } else if (below < EDGE && end < entries.length) down();
          else if (below <= SLACK && away) newest();
          if (scrollTop < EDGE && rose && (start > 0 || place.older.value)) void up();
        }}
      >
        {(start > 0 || place.older.value) && (
          <button type="button" class="plain older" onClick={() => void up()}>
            Older
          </button>
        )}
        {entries.slice(start, end).map((entry) => (
          <EntryView
            key={entry.key}
            entry={entry}
            place={place}
            unfolded={entry.kind !== "thought" || thoughts}
          />
        ))}
        {end === entries.length && <Unsent session={place.session} />}
        <p class="doing">
          {place.transcript.turn ? visibleName(place.status.value) || "Working…" : ""}
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

/** What was said here and is not on the server's disk yet. */
function Unsent({ session }: { session: string }) {
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
            <Fate letter={unsent} />
          </div>
        ))}
    </>
  );
}

/** What became of something that was sent. */
function Fate({ letter }: { letter: Letter }) {
  if (letter.refused !== undefined) {
    return (
      <p class="trouble">
        refused: {visible(letter.refused)}{" "}
        <button type="button" class="plain small" onClick={() => takeOut(letter, "edit")}>
          Edit
        </button>
        <button type="button" class="plain small" onClick={() => takeOut(letter, "discard")}>
          Discard
        </button>
      </p>
    );
  }
  const delay = delays.value[letter.id];
  if (line.value === "offline")
    return <p class="quiet">kept, and sent when the server is there again</p>;
  return (
    <p class="quiet">
      {delay === undefined ? "sending" : `not sent yet, trying again: ${visible(delay)}`}
    </p>
  );
}
