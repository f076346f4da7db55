import { useEffect, useRef, useState } from "preact/hooks";

import { reasonOf } from "./reason";
import { type AgentPage, type Block, type Note, rest } from "./rest";
import { attempt, drawer, sessions, trouble } from "./store";

/** An agent: what it remembers, to read and edit; what it may use. */
export function AgentPanel({ agent, edits }: { agent: string; edits: number }) {
  const [page, setPage] = useState<AgentPage | undefined>(undefined);
  const read = () =>
    rest.agent(agent).then(setPage, (error: unknown) => {
      trouble.value = reasonOf(error);
    });
  // Other sessions of the agent change its memory as well.
  const news = [...sessions.value.values()].filter((entry) => entry.agent === agent).reduce((sum, entry) => sum + entry.head, 0);
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
        <h2 ref={heading} tabIndex={-1}>{page?.agent.name ?? "Agent"}</h2>
        <button type="button" class="plain" onClick={() => (drawer.value = "none")}>Close</button>
      </div>
      {page && (
        <>
          <Model page={page} done={read} />
          <h3>Core memory</h3>
          {page.blocks.map((block) => <BlockView key={block.label} agent={page.agent.id} block={block} />)}
          <Archival agent={page.agent.id} total={page.memory.archival} />
          <h3>Tools</h3>
          <ul class="list">
            {page.tools.map((tool) => (
              <li key={tool.name}>
                <div class="row">
                  <strong>{tool.name}</strong>
                  {tool.server && <span class="quiet">from {tool.server}</span>}
                  <select
                    aria-label={`May ${tool.name} run?`}
                    value={tool.permission}
                    onChange={async (event) => {
                      const permission = event.currentTarget.value;
                      await attempt(() => rest.editAgent(page.agent.id, { permissions: { [tool.name]: permission } }));
                      await read();
                    }}
                  >
                    <option value="allow">allow</option>
                    <option value="ask">ask me</option>
                    <option value="deny">deny</option>
                  </select>
                </div>
                <span class="quiet">{tool.description}</span>
              </li>
            ))}
            {page.mcp.filter((server) => server.phase !== "ready").map((server) => (
              <li key={`mcp ${server.name}`} class="trouble">
                {server.name} is {server.phase}{server.reason ? `: ${server.reason}` : ""}
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

function BlockView({ agent, block }: { agent: string; block: Block }) {
  const [text, setText] = useState(block.text);
  const [saved, setSaved] = useState(block.text);
  // The agent edits as well: what somebody is writing stays, and Undo leads to the newest.
  useEffect(() => {
    if (text === saved) setText(block.text);
    setSaved(block.text);
  }, [block.text]);
  const id = `block-${block.label}`;
  const characters = [...text].length;
  return (
    <form
      onSubmit={async (event) => {
        event.preventDefault();
        await attempt(async () => {
          const now = (await rest.agent(agent)).blocks.find(({ label }) => label === block.label)?.text ?? "";
          if (now !== saved) {
            setSaved(now);
            throw new Error(`${block.label} was changed meanwhile, to: “${now}”. Save again to replace that, or undo to see it.`);
          }
          setSaved((await rest.editBlock(agent, block.label, text)).text);
        });
      }}
    >
      <label for={id}>
        {block.label} <span class="quiet">{characters} of {block.limit}</span>
      </label>
      <textarea id={id} rows={4} value={text} onInput={(event) => setText(event.currentTarget.value)} />
      {text !== saved && (
        <div class="row">
          <button type="submit" disabled={characters > block.limit}>Save</button>
          <button type="button" class="plain" onClick={() => setText(saved)}>Undo</button>
        </div>
      )}
    </form>
  );
}

function Archival({ agent, total }: { agent: string; total: number }) {
  const [found, setFound] = useState<Note[] | undefined>(undefined);
  return (
    <>
      <h3>Archival memory <span class="quiet">{total} notes</span></h3>
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
          {found.map((note) => <li key={note.id}>{note.text}</li>)}
          {found.length === 0 && <li class="quiet">Nothing was found.</li>}
        </ul>
      )}
    </>
  );
}
