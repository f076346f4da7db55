import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Policy } from "thoughtwire";

import { post } from "./outbox";
import { attempt, current, line } from "./store";

const policy = signal<Policy>("queue");

const draftOf = (session: string | undefined) => `draft:${session ?? ""}`;

export function Composer() {
  const here = current.value;
  here?.version.value;
  const field = useRef<HTMLTextAreaElement>(null);
  const running = here?.transcript.turn !== undefined;
  const session = here?.session;

  // Drafts survive a reload, each in its session.
  useEffect(() => {
    if (!field.current) return;
    field.current.value = localStorage.getItem(draftOf(session)) ?? "";
    grow(field.current);
  }, [session]);

  const send = async () => {
    const element = field.current;
    const text = element?.value.trim() ?? "";
    if (!element || !text) return;
    element.value = "";
    grow(element);
    localStorage.removeItem(draftOf(session));
    const sent = await post(text, running ? policy.value : undefined);
    // What was refused is not lost: it stands in the field again, unless something else does by now.
    if (!sent && element.value === "") {
      element.value = text;
      grow(element);
    }
  };
  const cancel = () => here && running && attempt(() => here.room.cancel());
  return (
    <form class="composer" onSubmit={(event) => { event.preventDefault(); void send(); }}>
      <textarea
        id="composer"
        ref={field}
        aria-label="Message"
        rows={1}
        autofocus
        placeholder={line.value === "offline" ? "Offline: what you send is kept, and sent once" : "Message"}
        onInput={(event) => {
          grow(event.currentTarget);
          localStorage.setItem(draftOf(session), event.currentTarget.value);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            void send();
          } else if (event.key === "Escape") {
            void cancel();
          }
        }}
      />
      {running && (
        <select aria-label="While it works" value={policy.value} onChange={(event) => (policy.value = event.currentTarget.value as Policy)}>
          <option value="queue">Queue</option>
          <option value="steer">Steer</option>
          <option value="interrupt">Interrupt</option>
        </select>
      )}
      <button type="submit">Send</button>
      {running && (
        <button type="button" class="stop" onClick={() => void cancel()}>
          Cancel
        </button>
      )}
    </form>
  );
}

function grow(field: HTMLTextAreaElement): void {
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, 240)}px`;
}
