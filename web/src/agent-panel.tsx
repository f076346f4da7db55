import { useEffect, useRef, useState } from "preact/hooks";

import { editKey, setEdit, edits as unsaved } from "./drafts";
import { reasonOf } from "./reason";
import { type AgentPage, type Block, type Note, rest, Unreached } from "./rest";
import { attempt, drawer, sessions, trouble } from "./store";
import { visible, visibleName } from "./visible";

/** The most characters of a tool's description that are shown. */
const DESCRIBED = 2_000;

/** The labels of edited blocks that the agent does not have any more. */
function gone({ agent, blocks }: AgentPage): string[] {
  const mine = editKey(agent.id, "");
  const labels = Object.keys(unsaved.value)
    .filter((key) => key.startsWith(mine))
    .map((key) => key.slice(mine.length));
  return labels.filter((label) => !blocks.some((block) => block.label === label));
}

/** An agent: what it remembers, to read and edit; what it may use. */
export function AgentPanel({ agent, edits }: { agent: string; edits: number }) {
  const [page, setPage] = useState<AgentPage | undefined>(undefined);
  const read = () =>
    rest.agent(agent).then(setPage, (error: unknown) => {
      // That the server is away stands above.
      if (!(error instanceof Unreached)) trouble.value = reasonOf(error);
    });
  // Other sessions of the agent change its memory as well.
  const news = [...sessions.value.values()]
    .filter((entry) => entry.agent === agent)
    .reduce((sum, entry) => sum + entry.head, 0);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  useEffect(() => {
    void read();
  }, [agent, edits]);
  useEffect(() => {
    const timer = setTimeout(() => void read(), 500);
    return () => clearTimeout(timer);
  }, [news]);
  return (
    <aside class="panel" aria-label="Agent">
      <div class="row">
        <h2 ref={heading} tabIndex={-1}>
          {page ? visibleName(page.agent.name) : "Agent"}
        </h2>
        <button type="button" class="plain" onClick={() => (drawer.value = "none")}>
          Close
        </button>
      </div>
      {page && (
        <>
          <Model page={page} done={read} />
          <h3>Core memory</h3>
          {page.blocks.map((block) => (
            <BlockView key={block.label} agent={page.agent.id} block={block} done={read} />
          ))}
          {gone(page).map((label) => (
            <BlockView
              key={label}
              agent={page.agent.id}
              block={{ label, text: "", limit: Infinity, description: "" }}
              done={read}
              isGone
            />
          ))}
          <Archival agent={page.agent.id} total={page.memory.archival} />
          <h3>Tools</h3>
          <ul class="list">
            {page.tools.map((tool) => (
              <li key={tool.name}>
                <div class="row">
                  <strong>{visibleName(tool.name)}</strong>
                  {tool.server && <span class="quiet">from {visibleName(tool.server)}</span>}
                  <select
                    aria-label={`May ${visibleName(tool.name)} run?`}
                    value={tool.permission}
                    onChange={async (event) => {
                      const permission = event.currentTarget.value;
                      await attempt(() =>
                        rest.editAgent(page.agent.id, { permissions: { [tool.name]: permission } }),
                      );
                      await read();
                    }}
                  >
                    <option value="allow">allow</option>
                    <option value="ask">ask me</option>
                    <option value="deny">deny</option>
                  </select>
                </div>
                <span class="quiet">{visible(tool.description.slice(0, DESCRIBED))}</span>
              </li>
            ))}
            {page.mcp
              .filter((server) => server.phase !== "ready")
              .map((server) => (
                <li key={`mcp ${server.name}`} class="trouble">
                  {visibleName(server.name)} is {server.phase}
                  {server.reason ? `: ${visible(server.reason)}` : ""}
                </li>
              ))}
          </ul>
        </>
      )}
    </aside>
  );
}

function Model({ page, done }: { page: AgentPage; done: () => Promise<unknown> }) {
  return (
    <form
      class="row"
      onSubmit={async (event) => {
        event.preventDefault();
        const model = new FormData(event.currentTarget).get("model")?.toString().trim() || null;
        if (await attempt(() => rest.editAgent(page.agent.id, { model }))) await done();
      }}
    >
      <label>
        Model
        <input name="model" defaultValue={page.agent.model ?? ""} placeholder="the server's" />
      </label>
      <button type="submit">Save</button>
    </form>
  );
}

interface BlockProps {
  agent: string;
  block: Block;
  done: () => Promise<unknown>;
  /** The agent has no such block any more, only the edit of it is left. */
  isGone?: boolean;
}

/**
 * A block, to read and to edit. What somebody is writing is kept until it is saved or undone: when
 * the panel or the session is left, the page is loaded anew, and when the agent writes meanwhile.
 */
function BlockView({ agent, block, done, isGone = false }: BlockProps) {
  const key = editKey(agent, block.label);
  const edit = unsaved.value[key];
  const text = edit?.text ?? block.text;
  const conflict = edit !== undefined && edit.from !== block.text;
  const id = `block-${block.label}`;
  const characters = [...text].length;
  const write = (text: string) =>
    setEdit(
      key,
      text === block.text && !isGone ? undefined : { text, from: edit?.from ?? block.text },
    );
  const save = async () => {
    if (!edit) return;
    const now =
      (await rest.agent(agent)).blocks.find(({ label }) => label === block.label)?.text ?? "";
    if (now !== block.text) {
      await done();
      throw new Error(
        `${block.label} was changed meanwhile. Look at what it says now, then save again to replace that.`,
      );
    }
    await rest.editBlock(agent, block.label, edit.text);
    // What was typed while it was being saved is an edit of what was saved.
    const later = unsaved.value[key]?.text;
    setEdit(
      key,
      later === undefined || later === edit.text ? undefined : { text: later, from: edit.text },
    );
    await done();
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void attempt(save);
      }}
    >
      <label for={id}>
        {visibleName(block.label)}{" "}
        <span class="quiet">
          {Number.isFinite(block.limit) ? `${characters} of ${block.limit}` : "this block is gone"}
        </span>
      </label>
      <textarea
        id={id}
        rows={4}
        value={text}
        onInput={(event) => write(event.currentTarget.value)}
      />
      {conflict && !isGone && (
        <p class="trouble" role="status">
          Changed meanwhile, it now says:{" "}
          <span class="said">{block.text === "" ? "(nothing)" : `“${visible(block.text)}”`}</span>
        </p>
      )}
      {edit && (
        <div class="row">
          <button type="submit" disabled={characters > block.limit}>
            {conflict ? "Replace" : "Save"}
          </button>
          <button type="button" class="plain" onClick={() => setEdit(key, undefined)}>
            Undo
          </button>
          <span class="quiet">not saved</span>
        </div>
      )}
    </form>
  );
}

function Archival({ agent, total }: { agent: string; total: number }) {
  const [found, setFound] = useState<Note[] | undefined>(undefined);
  return (
    <>
      <h3>
        Archival memory <span class="quiet">{total} notes</span>
      </h3>
      <form
        class="row"
        onSubmit={async (event) => {
          event.preventDefault();
          const query = new FormData(event.currentTarget).get("query")?.toString() ?? "";
          await attempt(async () => setFound((await rest.notes(agent, query)).notes));
        }}
      >
        <input type="search" name="query" aria-label="Search archival memory" />
        <button type="submit">Search</button>
      </form>
      {found && (
        <ul class="list">
          {found.map((note) => (
            <li key={note.id}>{visible(note.text)}</li>
          ))}
          {found.length === 0 && <li class="quiet">Nothing was found.</li>}
        </ul>
      )}
    </>
  );
}
