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
    streamed = Streamed(
        client().chat.completions.create(
            model="ada", messages=history, stream=True, stream_options={"include_usage": True}
        )
    )
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

    threads = [
        threading.Thread(target=ask, args=(f"what is 6*{factor}?",)) for factor in (7, 8)
    ]
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
    try:
        ask("something else")
        raise AssertionError("a key stands for one request")
    except openai.UnprocessableEntityError as error:
        assert error.code == "id_reused", error


def hostile(key, foreign_session):
    """Wrong requests are refused in the API's own form."""
    ada = client(key)

    def refused(kind, code, param=None, **more):
        request = {"model": "ada", "messages": [user("hi")], **more}
        try:
            ada.chat.completions.create(**request)
        except kind as error:
            assert error.code == code, error
            assert error.param == param, error
            assert error.message, error
        else:
            raise AssertionError(f"{more} was taken")

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
    try:
        client("wrong").models.list()
        raise AssertionError("a wrong key opens nothing")
    except openai.AuthenticationError as error:
        assert error.code == "invalid_api_key", error


globals()[sys.argv[2]](*sys.argv[3:])
print("ok")
