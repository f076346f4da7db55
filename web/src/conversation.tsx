import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { EntryView } from "./entry";
import { current, showThoughts, wanted, type Place } from "./store";

/** Entries that are drawn: the newest, and more whenever somebody scrolls up to the oldest of them. */
const WINDOW = 120;

export function Conversation() {
  const place = current.value;
  if (!place) {
    return (
      <div class="conversation empty">
        <p>Say something: the agent answers, remembers, and shows what it thinks and does on the way.</p>
      </div>
    );
  }
  return <Log key={place.session} place={place} />;
}

function Log({ place }: { place: Place }) {
  place.version.value;
  const thoughts = showThoughts.value;
  const [drawn, setDrawn] = useState(WINDOW);
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const height = useRef(0);
  const reached = useRef<number | undefined>(undefined);
  const all = place.transcript.entries.filter((entry) => thoughts || entry.kind !== "thought");
  const entries = all.slice(-drawn);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const seq = wanted();
    const target = seq === undefined || reached.current === seq ? null : element.querySelector(`[data-seq="${seq}"]`);
    if (target) {
      reached.current = seq;
      atEnd.current = false;
      target.scrollIntoView({ block: "center" });
      (target as HTMLElement).focus();
    } else if (atEnd.current) {
      element.scrollTop = element.scrollHeight;
    } else if (element.scrollTop < 40 && element.scrollHeight > height.current && height.current > 0) {
      // What came in above does not move what is being read.
      element.scrollTop += element.scrollHeight - height.current;
    }
    height.current = element.scrollHeight;
  });

  const more = () => {
    if (drawn < all.length) setDrawn(drawn + WINDOW);
    else if (place.older.value) void place.readOlder().then(() => setDrawn((drawn) => drawn + WINDOW));
  };
  return (
    <div
      class="conversation"
      ref={box}
      role="log"
      aria-label="Conversation"
      aria-live="polite"
      tabIndex={0}
      onScroll={(event) => {
        const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
        atEnd.current = scrollHeight - scrollTop - clientHeight < 60;
        if (scrollTop < 40) more();
      }}
    >
      {(drawn < all.length || place.older.value) && (
        <button type="button" class="plain older" onClick={more}>
          Older
        </button>
      )}
      {entries.map((entry) => (
        <EntryView key={entry.key} entry={entry} place={place} />
      ))}
      <p class="doing" aria-live="off">
        {place.transcript.turn ? place.status.value || "Working…" : ""}
      </p>
    </div>
  );
}
