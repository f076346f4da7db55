import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Policy } from "thoughtwire";

import { drafts, setDraft } from "./drafts";
import { post } from "./outbox";
import { attempt, connectionState, current, drawer } from "./store";

const policy = signal<Policy>("queue");

export function Composer() {
  const here = current.value;
  here?.version.value;
  const field = useRef<HTMLTextAreaElement>(null);
  const turn = here?.transcript.turn;
  const session = here?.session ?? "";
  const text = drafts.value[session] ?? "";

  useLayoutEffect(() => {
    const element = field.current!;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, 240)}px`;
  }, [text]);

  const send = () => {
    if (text.trim() === "") return;
    setDraft(session, "");
    post(text.trim(), turn ? policy.value : undefined);
  };
  // Cancels only the turn that is shown: while offline, another one may have started.
  const cancel = () => here && turn && attempt(() => here.room.cancel({ turn }));
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        id="composer"
        ref={field}
        aria-label="Message"
        rows={1}
        autofocus
        value={text}
        placeholder={
          connectionState.value === "offline"
            ? "Offline: your message is sent when the connection is back"
            : "Message"
        }
        onInput={(event) => setDraft(session, event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            send();
          } else if (event.key === "Escape" && drawer.value === "none") {
            void cancel();
          }
        }}
      />
      {turn && (
        <select
          aria-label="While the agent works"
          title="Queue: after this turn. Steer: add to this turn. Interrupt: stop this turn first."
          value={policy.value}
          onChange={(event) => (policy.value = event.currentTarget.value as Policy)}
        >
          <option value="queue">Queue</option>
          <option value="steer">Steer</option>
          <option value="interrupt">Interrupt</option>
        </select>
      )}
      <button type="submit">Send</button>
      {turn && (
        <button type="button" class="stop" onClick={() => void cancel()}>
          Cancel
        </button>
      )}
    </form>
  );
}
