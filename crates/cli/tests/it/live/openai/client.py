"""Drives a server with PyPI's `openai`. Each scenario is a function; its name is an argument.

usage: client.py URL SCENARIO [ARGUMENT…]
"""

import json
import sys
import threading
import urllib.request

import openai

URL = sys.argv[1]
SUM = 'use calculator {"expression": "6*7"}'
DOOR = {
    "type": "function",
    "function": {
        "name": "open_door",
        "description": "Opens the door.",
        "parameters": {"type": "object", "properties": {"side": {"type": "string"}}},
    },
}


def client(key="none"):
    return openai.OpenAI(base_url=f"{URL}/openai/v1", api_key=key, timeout=60)


def rest(method, path, body=None):
    request = urllib.request.Request(f"{URL}{path}", method=method)
    data = None
    if body is not None:
        request.add_header("content-type", "application/json")
        data = json.dumps(body).encode()
    with urllib.request.urlopen(request, data, timeout=60) as answer:
        return json.load(answer)


def events(session):
    page = rest("GET", f"/v1/sessions/{session}/events?limit=1000")
    return [record["event"] for record in page["events"]]


def said(session):
    return [event["text"] for event in events(session) if event["kind"] == "user_message"]


def approve(session, call):
    rest("POST", f"/v1/sessions/{session}/calls/{call}/decision", {"decision": "approved"})


def session_of(reply):
    return reply.to_dict().get("metadata", {}).get("session")


def user(text):
    return {"role": "user", "content": text}


def refusal(kind, act):
    """The code and the parameter of an error, which has to come."""
    try:
        act()
    except kind as error:
        assert error.message, error
        return error.code, error.param
    raise AssertionError("it was taken")


class Streamed:
    """A completion's chunks, put together."""

    def __init__(self, chunks, seen=None):
        self.content = self.reasoning = ""
        self.calls, self.usage, self.reason, self.session = {}, None, None, None
        for chunk in chunks:
            self.usage = chunk.usage or self.usage
            self.session = session_of(chunk) or self.session
            for choice in chunk.choices:
                self.take(choice)
            if seen:
                seen(self)

    def take(self, choice):
        self.content += choice.delta.content or ""
        self.reasoning += (choice.delta.model_extra or {}).get("reasoning_content") or ""
        for call in choice.delta.tool_calls or []:
            self.calls[call.index] = call
        self.reason = choice.finish_reason or self.reason


def models():
    listed = client().models.list().data
    assert [model.id for model in listed] == ["ada"], listed
    assert client().models.retrieve("ada").object == "model"


def conversation():
    """A conversation with reasoning and a tool of the agent, whole and streamed."""
    history = [
        {"role": "system", "content": "Be brief."},
        user("Hi"),
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": [{"type": "text", "text": SUM}]},
    ]
    whole = client().chat.completions.create(
        model="ada", messages=history, temperature=0.2, max_tokens=100
    )
    message = whole.choices[0].message
    assert message.content == "calculator says: 42", whole
    assert "I am to use calculator." in message.model_extra["reasoning_content"], whole
    assert "calculator returned: 42" in message.model_extra["reasoning_content"], whole
    assert not message.tool_calls, whole
    assert whole.choices[0].finish_reason == "stop", whole
    assert whole.usage.total_tokens > 0, whole
    session = session_of(whole)
    # Nothing of the messages is said twice.
    assert said(session) == [SUM], events(session)
    opened = events(session)[0]
    assert opened["instructions"] == "Be brief.", opened
    assert [entry["text"] for entry in opened["history"]] == ["Hi", "Hello"], opened
    asked = {"model": "ada", "messages": history, "stream_options": {"include_usage": True}}
    streamed = Streamed(client().chat.completions.create(**asked, stream=True))
    assert streamed.content == message.content, streamed.content
    assert streamed.reasoning == message.model_extra["reasoning_content"], streamed.reasoning
    assert streamed.reason == "stop", streamed.reason
    assert streamed.usage.total_tokens > 0
    # Each request that names no session has its own.
    assert streamed.session != session


def client_tools():
    """A tool of the client: the reply ends, and goes on with the tool's result."""
    asked = [user('use open_door {"side": "left"}')]
    for stream in (False, True):
        if stream:
            first = Streamed(
                client().chat.completions.create(
                    model="ada", messages=asked, tools=[DOOR], stream=True
                )
            )
            call, reason, session = first.calls[0], first.reason, first.session
        else:
            first = client().chat.completions.create(model="ada", messages=asked, tools=[DOOR])
            call = first.choices[0].message.tool_calls[0]
            reason = first.choices[0].finish_reason
            session = session_of(first)
        assert reason == "tool_calls", first
        assert call.function.name == "open_door", call
        assert json.loads(call.function.arguments) == {"side": "left"}, call
        messages = [
            *asked,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {
                            "name": call.function.name,
                            "arguments": call.function.arguments,
                        },
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.id, "content": "it is open"},
        ]
        # The same result sent again has no second effect.
        replies = [
            client().chat.completions.create(model="ada", messages=messages, tools=[DOOR])
            for _ in range(2)
        ]
        for reply in replies:
            assert reply.choices[0].message.content == "open_door says: it is open", reply
            assert session_of(reply) == session
        kinds = [event["kind"] for event in events(session)]
        assert kinds.count("tool_returned") == 1 and kinds.count("turn_ended") == 1, kinds
    # Another server's call: its result is told in words.
    foreign = json.loads(json.dumps(messages).replace(call.id, "call_of_another_server"))
    reply = client().chat.completions.create(model="ada", messages=foreign, tools=[DOOR])
    told = said(session_of(reply))
    assert told == ["open_door returned: it is open"], told


def approval():
    """A tool that needs approval, which comes over REST from beside."""
    approved = []

    def look(so_far):
        if "Waits for approval" in so_far.reasoning and not approved:
            call = so_far.reasoning.rsplit("(call ", 1)[1].split(")")[0]
            approved.append(call)
            approve(so_far.session, call)

    asked = client().chat.completions.create(model="ada", messages=[user(SUM)], stream=True)
    streamed = Streamed(asked, look)
    assert approved and streamed.content == "calculator says: 42", streamed.content


def together(session):
    """Two clients at once on one session. Prints the replies."""
    replies = {}

    def ask(text):
        reply = client().chat.completions.create(
            model="ada", messages=[user(text)], metadata={"session": session}
        )
        assert session_of(reply) == session
        replies[text] = reply.choices[0].message.content

    texts = [f"what is 6*{factor}?" for factor in (7, 8)]
    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 2, replies
    print(json.dumps(replies))


def names():
    """`user` and `metadata.session` name a session, in which only new messages are said."""
    messages = [{"role": "system", "content": "Be brief."}, user("remember that tea is hot")]
    sessions = set()
    for named in ({"user": "bo"}, {"metadata": {"session": "bo"}}, {"user": "bo"}):
        reply = client().chat.completions.create(model="ada", messages=messages, **named)
        sessions.add(session_of(reply))
        messages += [
            {"role": "assistant", "content": reply.choices[0].message.content},
            user(f"what is {len(messages)}+1?"),
        ]
    (session,) = sessions
    assert said(session) == ["remember that tea is hot", "what is 2+1?", "what is 4+1?"]
    assert [event["kind"] for event in events(session)].count("instructions_changed") == 0
    other = client().chat.completions.create(model="ada", messages=[user("hi")], user="cy")
    assert session_of(other) != session


def once():
    """A request that is sent again with its key has no second effect."""
    key = {"Idempotency-Key": "k" * 100}
    ask = lambda text, **more: client().chat.completions.create(  # noqa: E731
        model="ada", messages=[user(text)], extra_headers=key, **more
    )
    first, again = ask(SUM), ask(SUM)
    assert first.to_dict() == again.to_dict(), (first, again)
    assert said(session_of(first)) == [SUM]
    streamed = Streamed(ask(SUM, stream=True))
    assert streamed.content == first.choices[0].message.content
    other = refusal(openai.UnprocessableEntityError, lambda: ask("something else"))
    assert other == ("id_reused", None), other


def hostile(key, foreign_session):
    """Wrong requests are refused in the API's own form."""
    ada = client(key)

    def refused(kind, code, param=None, **more):
        request = {"model": "ada", "messages": [user("hi")], **more}
        found = refusal(kind, lambda: ada.chat.completions.create(**request))
        assert found == (code, param), (more, found)

    bad, missing = openai.BadRequestError, openai.NotFoundError
    refused(missing, "model_not_found", "model", model="eve")
    refused(missing, "unknown_session", metadata={"session": foreign_session})
    refused(bad, "unsupported_parameter", "n", n=2)
    refused(bad, "unsupported_parameter", "logprobs", logprobs=True)
    refused(bad, "unsupported_parameter", "stop", stop=["x"])
    json_object = {"type": "json_object"}
    refused(bad, "unsupported_parameter", "response_format", response_format=json_object)
    refused(bad, "bad_request", "messages", messages=[])
    refused(bad, "empty_text", messages=[user(" ")])
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    at = "messages[0].content[0]"
    refused(bad, "unsupported_parameter", at, messages=[user([picture])])
    refused(bad, "bad_request", messages=[{"role": "wizard", "content": "hi"}])
    refused(bad, "bad_request", messages="hi")
    refused(bad, "bad_request", "metadata.session", metadata={"session": 7})
    refused(bad, "bad_request", tools=[{"type": "function", "function": {"name": "no spaces"}}])
    refused(bad, "unsupported_parameter", "tools", tools=[{"type": "web_search"}])
    assert ada.models.list().data[0].id == "ada"
    wrong = refusal(openai.AuthenticationError, client("wrong").models.list)
    assert wrong == ("invalid_api_key", None), wrong


FUNCTION = {"type": "function", "strict": False, **DOOR["function"]}


def responses(**request):
    return client().responses.create(**{"model": "ada", **request})


def numbered(events):
    """Events as a list; their numbers count without a gap."""
    seen = []
    for event in events:
        assert not seen or event.sequence_number == seen[-1].sequence_number + 1, event
        seen.append(event)
    return seen


def kinds_of(items):
    return [item.type for item in items]


def response_conversation():
    """A conversation with reasoning and a tool of the agent, whole and streamed."""
    first = responses(input=SUM, instructions="Be brief.", temperature=0.3)
    assert first.status == "completed" and first.output_text == "calculator says: 42", first
    assert kinds_of(first.output) == ["reasoning", "mcp_call", "reasoning", "message"], first
    assert first.output[0].summary[0].text == "I am to use calculator.", first
    call = first.output[1]
    assert (call.name, call.output, call.error) == ("calculator", "42", None), call
    assert first.usage.total_tokens > 0, first
    second = responses(
        input=[{"role": "user", "content": [{"type": "input_text", "text": "what is 2+3?"}]}],
        previous_response_id=first.id,
    )
    assert "5" in second.output_text, second
    assert second.conversation.id == first.conversation.id == session_of(first)
    assert said(first.conversation.id) == [SUM, "what is 2+3?"]
    assert client().responses.retrieve(first.id).output == first.output
    with client().responses.stream(model="ada", input=SUM) as stream:
        events = numbered(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert kinds[-1] == "response.completed" and events[0].sequence_number == 0
    for kind in ("response.mcp_call.in_progress", "response.mcp_call.completed"):
        assert kinds.count(kind) == 1, kinds
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text == first.output_text
    # From any position on, the rest is the same.
    replayed = list(client().responses.retrieve(final.id, stream=True))
    plain = [event.to_dict() for event in replayed]
    assert [event["type"] for event in plain] == kinds
    for after in (0, 7, len(plain) - 2, len(plain) - 1, len(plain) + 5):
        rest = client().responses.retrieve(final.id, stream=True, starting_after=after)
        assert [event.to_dict() for event in rest] == plain[after + 1 :], after


def response_tools():
    """A function of the client: the response ends, and the next one goes on with its output."""
    first = responses(input='use open_door {"side": "left"}', tools=[FUNCTION])
    assert kinds_of(first.output) == ["reasoning", "function_call"], first
    call = first.output[1]
    assert (call.name, json.loads(call.arguments)) == ("open_door", {"side": "left"}), call
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "it is open"}
    answer = {"previous_response_id": first.id, "input": [output], "tools": [FUNCTION]}
    seconds = [responses(**answer) for _ in range(2)]
    for second in seconds:
        assert second.output_text == "open_door says: it is open", second
    assert seconds[0].id == seconds[1].id
    kinds = [event["kind"] for event in events(session_of(first))]
    assert kinds.count("tool_returned") == 1 and kinds.count("turn_ended") == 1, kinds
    # The first one is read again as it was, though the turn has gone on.
    again = client().responses.retrieve(first.id)
    assert again.output == first.output and again.status == "completed", again
    # A result behind the conversation of a client that keeps it itself.
    stateless = [user("open it"), call.to_dict(), {**output, "call_id": "call_elsewhere"}]
    reply = responses(input=stateless, store=False)
    assert said(session_of(reply)) == ["The tool returned: it is open"], said(session_of(reply))


def response_approval():
    """A tool that needs approval: over REST from beside, and in the API's own words."""
    for answer in ("rest", "approved", "denied"):
        stream = responses(input=SUM, stream=True)
        asked, text, session = None, "", None
        for event in stream:
            if event.type == "response.created":
                session, first = session_of(event.response), event.response.id
            elif event.type == "response.output_text.done":
                text = event.text
            elif (
                event.type == "response.output_item.done"
                and event.item.type == "mcp_approval_request"
            ):
                asked = event.item
                assert asked.name == "calculator" and "6*7" in asked.arguments, asked
                if answer == "rest":
                    approve(session, asked.id.rsplit("_", 1)[1])
                    continue
                said_so = {
                    "type": "mcp_approval_response",
                    "approval_request_id": asked.id,
                    "approve": answer == "approved",
                }
                rest = responses(previous_response_id=first, input=[said_so])
                assert rest.status == "completed", rest
        assert asked
        wanted = "The owner denied" if answer == "denied" else "calculator says: 42"
        assert wanted in text, text
        assert answer == "rest" or rest.output_text == text, (rest, text)


def response_background():
    """A response in the background, which is polled, and one that is cancelled."""
    begun = responses(model="slow", input="go", background=True)
    assert begun.status in ("queued", "in_progress"), begun
    events = client().responses.retrieve(begun.id, stream=True)
    first = next(event for event in events if event.type == "response.output_text.delta")
    assert first.delta.startswith("1 x"), first
    cancelled = client().responses.cancel(begun.id)
    assert cancelled.status == "cancelled", cancelled
    assert [event.type for event in events][-1] == "response.incomplete"
    assert client().responses.cancel(begun.id).to_dict() == cancelled.to_dict()
    # An input that waits behind another turn is withdrawn.
    session = session_of(begun)
    running = responses(model="slow", input="go", background=True, conversation=session)
    waiting = responses(model="slow", input="and", background=True, conversation=session)
    assert waiting.status == "queued", waiting
    assert client().responses.cancel(waiting.id).status == "cancelled"
    assert client().responses.cancel(running.id).status == "cancelled"
    key = {"Idempotency-Key": "one"}
    once = [responses(input="what is 1+1?", extra_headers=key).id for _ in range(2)]
    assert once[0] == once[1]


def begin_slowly():
    """Reads the beginning of a slow response. Prints its id, then what it has."""
    stream = responses(model="slow", input="go", stream=True)
    text, last = "", None
    for event in stream:
        last = event.sequence_number
        if event.type == "response.created":
            print(event.response.id, flush=True)
        elif event.type == "response.output_text.delta":
            text += event.delta
            if text.count("x ") == 3:
                break
    print(json.dumps({"text": text, "last": last}), flush=True)


def go_on(response, begun):
    """Goes on with that response after the server was killed."""
    begun = json.loads(begun)
    after = begun["last"]
    events = list(client().responses.retrieve(response, stream=True, starting_after=after))
    assert events[0].sequence_number == begun["last"] + 1, events[0]
    numbered(events)
    text = begun["text"]
    for event in events:
        if event.type == "response.output_text.delta":
            text += event.delta
    assert events[-1].type == "response.completed", events[-1]
    whole = client().responses.retrieve(response)
    assert text == events[-1].response.output_text == whole.output_text, (text, whole)
    assert kinds_of(whole.output) == ["message"], whole
    # The second attempt of the model goes on in the same item.
    everything = numbered(client().responses.retrieve(response, stream=True))
    assert [e.to_dict() for e in everything[begun["last"] + 1 :]] == [e.to_dict() for e in events]


def hostile_responses(key, foreign):
    """Wrong requests and other users' ids are refused in the API's own form."""
    ada = client(key).responses

    def refused(kind, code, param=None, **more):
        found = refusal(kind, lambda: ada.create(**{"model": "ada", "input": "hi", **more}))
        assert found == (code, param), (more, found)

    bad, missing = openai.BadRequestError, openai.NotFoundError
    made = foreign
    for act in (ada.retrieve, ada.cancel):
        for unknown in (made, "resp_1", "resp_" + "0" * 32 + "_1_1", "..%2f", made + "_t"):
            refusal(missing, lambda act=act, unknown=unknown: act(unknown))
    at = "previous_response_id"
    refused(missing, "response_not_found", at, previous_response_id=made)
    refused(missing, "unknown_session", conversation=made.split("_")[1])
    refused(missing, "unknown_session", metadata={"session": made.split("_")[1]})
    refused(bad, "bad_request", "input", input=[])
    refused(bad, "bad_request", "input", input=7)
    refused(bad, "bad_request", "input[0].role", input=[{"role": "wizard", "content": "hi"}])
    file = {"type": "input_file", "file_id": "f"}
    refused(bad, "unsupported_parameter", "input[0].content[0]", input=[user([file])])
    refused(bad, "unsupported_parameter", "input[0]", input=[{"type": "item_reference", "id": "i"}])
    refused(bad, "unsupported_parameter", "tools", tools=[{"type": "web_search"}])
    schema = {"format": {"type": "json_schema", "name": "x", "schema": {}}}
    refused(bad, "unsupported_parameter", "text.format", text=schema)
    refused(bad, "unsupported_parameter", "background", background=True, store=False)
    refused(bad, "unsupported_parameter", "top_logprobs", top_logprobs=2)
    approval = {
        "type": "mcp_approval_response",
        "approval_request_id": "mcpr_" + made.split("_")[1] + "_1_c",
        "approve": True,
    }
    refused(missing, "unknown_call", "input", input=[approval])


def foreign_response(key):
    """Prints the id of a response of another user."""
    print(client(key).responses.create(model="eve", input="hi").id)


globals()[sys.argv[2]](*sys.argv[3:])
print("ok")
