// Drives a server with npm's `openai`, as client.py does with PyPI's.
// Its text is given to Node.js where `openai` is installed; arguments: URL SCENARIO [ARGUMENT…]

import assert from "node:assert/strict";
import OpenAI from "openai";

const [url, scenario, ...args] = process.argv.slice(1);
const client = new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: "none" });
const SUM = 'use calculator {"expression": "6*7"}';
const user = (content) => ({ role: "user", content });

async function approve(session, call) {
  const answer = await fetch(`${url}/v1/sessions/${session}/calls/${call}/decision`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ decision: "approved" }),
  });
  assert.equal(answer.status, 200);
}

const scenarios = {
  // Reasoning, a tool that needs approval, and the reply, over chat completions.
  async chat() {
    const stream = await client.chat.completions.create({
      model: "ada",
      messages: [user(SUM)],
      stream: true,
      stream_options: { include_usage: true },
    });
    let [content, reasoning, session, usage, asked] = ["", "", undefined, undefined, false];
    for await (const chunk of stream) {
      session ??= chunk.metadata?.session;
      usage ??= chunk.usage;
      content += chunk.choices[0]?.delta.content ?? "";
      reasoning += chunk.choices[0]?.delta.reasoning_content ?? "";
      const call = reasoning.match(/Waits for approval of calculator \(call (\w+)\)/)?.[1];
      if (call && !asked) {
        asked = true;
        await approve(session, call);
      }
    }
    assert.ok(asked && reasoning.startsWith("I am to use calculator."), reasoning);
    assert.equal(content, "calculator says: 42");
    assert.ok(usage.total_tokens > 0);
  },

  // The same over responses, which a second reader follows from a position.
  async responses() {
    const stream = await client.responses.create({ model: "ada", input: SUM, stream: true });
    const seen = [];
    for await (const event of stream) {
      assert.equal(event.sequence_number, seen.length);
      seen.push(event);
      if (event.type === "response.output_item.done" && event.item.type === "mcp_approval_request") {
        await approve(seen[0].response.metadata.session, event.item.id.split("_").at(-1));
      }
    }
    const last = seen.at(-1);
    assert.equal(last.type, "response.completed");
    const { id } = last.response;
    const again = await client.responses.retrieve(id, { stream: true, starting_after: 4 });
    const rest = [];
    for await (const event of again) rest.push(event);
    assert.deepEqual(rest, seen.slice(5));
    const whole = await client.responses.retrieve(id);
    assert.equal(whole.output_text, "calculator says: 42");
    const next = await client.responses.create({
      model: "ada",
      input: "remember that tea is hot",
      previous_response_id: id,
    });
    assert.equal(next.status, "completed");
    assert.equal(next.conversation.id, whole.conversation.id);
  },

  // A function of the client, over both APIs.
  async tools() {
    const parameters = { type: "object", properties: { side: { type: "string" } } };
    const open = { name: "open_door", description: "Opens the door.", parameters };
    const tools = [{ type: "function", function: open }];
    const messages = [user('use open_door {"side": "left"}')];
    const asked = await client.chat.completions.create({ model: "ada", messages, tools });
    assert.equal(asked.choices[0].finish_reason, "tool_calls");
    const [call] = asked.choices[0].message.tool_calls;
    assert.deepEqual(JSON.parse(call.function.arguments), { side: "left" });
    messages.push(asked.choices[0].message);
    messages.push({ role: "tool", tool_call_id: call.id, content: "it is open" });
    const reply = await client.chat.completions.create({ model: "ada", messages, tools });
    assert.equal(reply.choices[0].message.content, "open_door says: it is open");
    assert.equal(reply.metadata.session, asked.metadata.session);

    const offered = { model: "ada", tools: [{ type: "function", strict: false, ...open }] };
    const first = await client.responses.create({ ...offered, input: messages[0].content });
    const { call_id } = first.output.find((item) => item.type === "function_call");
    const output = { type: "function_call_output", call_id, output: "it is open" };
    const second = await client.responses.create({
      ...offered,
      input: [output],
      previous_response_id: first.id,
    });
    assert.equal(second.output_text, "open_door says: it is open");
    const items = [];
    for await (const item of client.responses.inputItems.list(second.id)) items.push(item.type);
    assert.deepEqual(items, ["function_call_output", "message"]);
  },

  // A branch, and the deletion of a response that is alone in its session.
  async branch() {
    const ask = (input, previous_response_id) =>
      client.responses.create({ model: "ada", input, previous_response_id });
    const first = await ask("remember that tea is hot");
    const second = await ask("remember that ice is cold", first.id);
    assert.equal(second.conversation.id, first.conversation.id);
    const branch = await ask("remember that snow is white", first.id);
    assert.notEqual(branch.conversation.id, first.conversation.id);
    await client.responses.delete(branch.id);
    await assert.rejects(client.responses.retrieve(branch.id), OpenAI.NotFoundError);
    await assert.rejects(client.responses.delete(second.id), OpenAI.ConflictError);
  },

  // How turns end. The worker ends them as their inputs say.
  async ends() {
    const model = "bob";
    const ask = (text) => client.chat.completions.create({ model, messages: [user(text)] });
    for (const [code, reason, detail] of [
      ["model_length", "length", "max_output_tokens"],
      ["model_filtered", "content_filter", "content_filter"],
      ["done", "stop", undefined],
    ]) {
      assert.equal((await ask(code)).choices[0].finish_reason, reason);
      const response = await client.responses.create({ model, input: code });
      assert.equal(response.status, detail ? "incomplete" : "completed");
      assert.equal(response.incomplete_details?.reason, detail);
      assert.equal(response.usage.total_tokens, 128);
    }
    await assert.rejects(ask("out_of_tea"), OpenAI.InternalServerError);
    const failed = await client.responses.create({ model, input: "out_of_tea" });
    assert.deepEqual([failed.status, failed.error.code], ["failed", "out_of_tea"]);
  },

  // Goes on with a response after the server was killed; `begun` is what a reader has of it.
  async resume(response, begun) {
    let { text, last } = JSON.parse(begun);
    const stream = await client.responses.retrieve(response, { stream: true, starting_after: last });
    for await (const event of stream) {
      assert.equal(event.sequence_number, last + 1);
      last = event.sequence_number;
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    assert.equal(text, (await client.responses.retrieve(response)).output_text);
  },

  // Reads the beginning of a slow response and cancels it from beside.
  async cancel() {
    const stream = await client.responses.create({ model: "slow", input: "go", stream: true });
    let id;
    for await (const event of stream) {
      id ??= event.response?.id;
      if (event.type === "response.output_text.delta") break;
    }
    assert.equal((await client.responses.cancel(id)).status, "cancelled");
    await assert.rejects(client.responses.retrieve("resp_1"), OpenAI.NotFoundError);
  },
};

await scenarios[scenario](...args);
console.log("ok");
