import { useEffect, useRef, useState } from "preact/hooks";

import { editKey, setEdit, edits as unsaved } from "./drafts";
import { reasonOf } from "./reason";
import { type AgentDetails, type Block, NetworkError, type Note, rest } from "./rest";
import { attempt, drawer, errorText, sessions } from "./store";
import { visible, visibleName } from "./visible";

/** Maximum length of a tool's description, in characters. */
const MAX_DESCRIPTION = 2_000;

/** Returns the labels of edited blocks that the agent does not have any more. */
function missingBlocks({ agent, blocks }: AgentDetails): string[] {
  const mine = editKey(agent.id, "");
  const labels = Object.keys(unsaved.value)
    .filter((key) => key.startsWith(mine))
    .map((key) => key.slice(mine.length));
  return labels.filter((label) => !blocks.some((block) => block.label === label));
}

/** Panel of an agent: memory to read and edit, model, tools and permissions. */
export function AgentPanel({ agent, edits }: { agent: string; edits: number }) {
  const [page, setPage] = useState<AgentDetails | undefined>(undefined);
  const read = () =>
    rest.agent(agent).then(setPage, (error: unknown) => {
      // The header already shows that the server is unreachable.
      if (!(error instanceof NetworkError)) errorText.value = reasonOf(error);
    });
  // Other sessions of the agent change its memory as well.
  const heads = [...sessions.value.values()]
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
  }, [heads]);
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
          <ModelForm page={page} done={read} />
          <h3>Core memory</h3>
          {page.blocks.map((block) => (
            <BlockView key={block.label} agent={page.agent.id} block={block} done={read} />
          ))}
          {missingBlocks(page).map((label) => (
            <BlockView
              key={label}
              agent={page.agent.id}
              block={{ label, text: "", limit: Infinity, description: "" }}
              done={read}
              isMissing
            />
          ))}
          <ArchivalSearch agent={page.agent.id} total={page.memory.archival} />
          <h3>Tools</h3>
          <ul class="list">
            {page.tools.map((tool) => (
              <li key={tool.name}>
                <div class="row">
                  <strong>{visibleName(tool.name)}</strong>
                  {tool.source === "mcp" && (
                    <span class="quiet">from {visibleName(tool.server)}</span>
                  )}
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
                <span class="quiet">{visible(tool.description.slice(0, MAX_DESCRIPTION))}</span>
              </li>
            ))}
            {page.mcp
              .filter((server) => server.phase !== "ready")
              .map((server) => (
                <li key={`mcp ${server.name}`} class="error">
                  MCP server {visibleName(server.name)}: {server.phase}
                  {server.reason ? `: ${visible(server.reason)}` : ""}
                </li>
              ))}
          </ul>
        </>
      )}
    </aside>
  );
}

function ModelForm({ page, done }: { page: AgentDetails; done: () => Promise<unknown> }) {
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
        <input name="model" defaultValue={page.agent.model ?? ""} placeholder="server default" />
      </label>
      <button type="submit">Save</button>
    </form>
  );
}

interface BlockProps {
  agent: string;
  block: Block;
  done: () => Promise<unknown>;
  /** Whether the agent no longer has the block, and only the edit of it is left. */
  isMissing?: boolean;
}

/**
 * Editor of a memory block. An edit is stored until it is saved or undone, across reloads and
 * changes by the agent.
 */
function BlockView({ agent, block, done, isMissing = false }: BlockProps) {
  const key = editKey(agent, block.label);
  const edit = unsaved.value[key];
  const text = edit?.text ?? block.text;
  const conflict = edit !== undefined && edit.from !== block.text;
  const id = `block-${block.label}`;
  const characters = [...text].length;
  const write = (text: string) =>
    setEdit(
      key,
      text === block.text && !isMissing ? undefined : { text, from: edit?.from ?? block.text },
    );
  const save = async () => {
    if (!edit) return;
    const now =
      (await rest.agent(agent)).blocks.find(({ label }) => label === block.label)?.text ?? "";
    if (now !== block.text) {
      await done();
      throw new Error(
        `${block.label} changed since you began to edit. ` +
          "Compare it with the text below, then save again to replace it.",
      );
    }
    await rest.editBlock(agent, block.label, edit.text);
    // Text typed while the block was being saved is an edit of the saved text.
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
          {Number.isFinite(block.limit)
            ? `${characters} of ${block.limit}`
            : "the agent no longer has this block"}
        </span>
      </label>
      <textarea
        id={id}
        rows={4}
        value={text}
        onInput={(event) => write(event.currentTarget.value)}
      />
      {conflict && !isMissing && (
        <p class="error" role="status">
          Changed since you began to edit. It now says:{" "}
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
          <span class="quiet">Not saved</span>
        </div>
      )}
    </form>
  );
}

function ArchivalSearch({ agent, total }: { agent: string; total: number }) {
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
          {found.length === 0 && <li class="quiet">No notes found.</li>}
        </ul>
      )}
    </>
  );
}
