"""Ends of turns, workers' texts, and input that is wrong in ways that a client cannot be."""

import json
import urllib.error
import urllib.request

import openai
from common import (
    DOOR,
    FUNCTION,
    URL,
    Streamed,
    client,
    numbered,
    refusal,
    responses,
    rest,
    user,
)


def ends():
    """Every end of a turn, as both APIs tell it. The worker ends turns as their inputs say."""
    completions = client().chat.completions
    ask = lambda text, **more: completions.create(  # noqa: E731
        model="bob", messages=[user(text)], **more
    )
    for code, reason, detail in (
        ("model_length", "length", "max_output_tokens"),
        ("model_filtered", "content_filter", "content_filter"),
        ("model_refused", "stop", None),
        ("done", "stop", None),
    ):
        whole = ask(code)
        assert whole.choices[0].finish_reason == reason, (code, whole)
        assert whole.choices[0].message.content == f"so far: {code}", (code, whole)
        assert whole.usage.total_tokens == 128, whole
        assert Streamed(ask(code, stream=True)).reason == reason, code
        response = responses(model="bob", input=code)
        assert response.status == ("incomplete" if detail else "completed"), (code, response)
        found = response.incomplete_details
        assert (found.reason if found else None) == detail, (code, response)
        assert response.usage.total_tokens == 128, response
        last = list(responses(model="bob", input=code, stream=True))[-1]
        assert last.type == f"response.{response.status}", (code, last)
    found = refusal(openai.InternalServerError, lambda: ask("out_of_tea"))
    assert found == ("out_of_tea", None), found
    found = refusal(openai.APIError, lambda: Streamed(ask("out_of_tea", stream=True)))
    assert found[0] == "out_of_tea", found
    response = responses(model="bob", input="out_of_tea")
    assert (response.status, response.error.code) == ("failed", "out_of_tea"), response
    assert response.error.message == "no more", response
    assert response.output_text == "so far: out_of_tea", response


def cancelled_completion():
    """A turn that is cancelled from beside ends a completion with an error."""
    stream = client().chat.completions.create(model="slow", messages=[user("go")], stream=True)
    session = next(stream).to_dict()["metadata"]["session"]
    rest("POST", f"/v1/sessions/{session}/cancel", {})
    found = refusal(openai.APIError, lambda: Streamed(stream))
    assert found[0] == "cancelled", found


def worker_text():
    """Text of a worker: pieces in a completion; a response has it at once, when it is complete."""
    stream = client().chat.completions.create(model="bob", messages=[user("done")], stream=True)
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    assert [piece for piece in pieces if piece] == ["so ", "far: ", "done"], pieces
    events = numbered(responses(model="bob", input="done", stream=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == "so far: done", text


def followed_text(session):
    """Text of a turn on another node comes in pieces, while the turn runs."""
    stream = responses(model="slow", input="go", stream=True, conversation=session)
    pieces = []
    for event in stream:
        if event.type == "response.output_text.delta":
            pieces.append(event.delta)
        if event.type == "response.created":
            made = event.response.id
        # The turn takes minutes; its text would come at its end.
        if len(pieces) == 5:
            break
    text = "".join(pieces)
    assert text.startswith("1 x") and "3 x" in text, text
    assert client().responses.cancel(made).status == "cancelled"


def post(key, path, body):
    """Posts a body as it is. Returns the status and the error."""
    request = urllib.request.Request(f"{URL}/openai/v1/{path}", method="POST")
    request.add_header("content-type", "application/json")
    request.add_header("authorization", f"Bearer {key}")
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        with urllib.request.urlopen(request, text.encode(), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]


def nested(depth):
    return "[" * depth + "1" + "]" * depth


def odd_input(key):
    """Input that no client of the API makes: refused in the API's form, and nothing changes."""
    hi = [user("hi")]
    chat = {"model": "ada", "messages": hi}
    many = [{**DOOR, "function": {**DOOR["function"], "name": f"f{n}"}} for n in range(3000)]

    def function(**more):
        return [{"type": "function", "function": {"name": "f", **more}}]

    wrong_chats = [
        {"model": 7, "messages": hi},
        {"model": None, "messages": hi},
        {"messages": hi},
        {"model": "ada"},
        {"model": "ada", "messages": None},
        {"model": "ada", "messages": {}},
        {"model": "ada", "messages": [None]},
        {"model": "ada", "messages": ["hi"]},
        {"model": "ada", "messages": [[user("hi")]]},
        {"model": "ada", "messages": [{}]},
        {"model": "ada", "messages": [{"content": "hi"}]},
        {"model": "ada", "messages": [{"role": None, "content": "hi"}]},
        {"model": "ada", "messages": [{"role": "function", "name": "f", "content": "hi"}]},
        {"model": "ada", "messages": [user(None)]},
        {"model": "ada", "messages": [user(7)]},
        {"model": "ada", "messages": [user({"type": "text", "text": "hi"})]},
        {"model": "ada", "messages": [user([None])]},
        {"model": "ada", "messages": [user([{"text": "hi"}])]},
        {"model": "ada", "messages": [user([{"type": "text"}])]},
        {"model": "ada", "messages": [user([{"type": "text", "text": 7}])]},
        {"model": "ada", "messages": [user([{"type": "input_audio", "input_audio": {}}])]},
        {"model": "ada", "messages": [user([{"type": "file", "file": {"file_id": "f"}}])]},
        {"model": "ada", "messages": [user("\n\t ")]},
        {"model": "ada", "messages": [user("hi"), {"role": "assistant", "content": "Yes?"}]},
        {"model": "ada", "messages": [{"role": "system", "content": "Be brief."}]},
        {"model": "ada", "messages": [{"role": "tool", "content": "x"}]},
        {"model": "ada", "messages": [{"role": "tool", "tool_call_id": 7, "content": "x"}]},
        {"model": "ada", "messages": [{"role": "assistant", "tool_calls": [{}]}, *hi]},
        {**chat, "stream": "yes"},
        {**chat, "n": 0},
        {**chat, "n": -1},
        {**chat, "n": 1.5},
        {**chat, "tools": {}},
        {**chat, "tools": many},
        {**chat, "tools": [None]},
        {**chat, "tools": [{"type": "function"}]},
        {**chat, "tools": function(name="")},
        {**chat, "tools": function(name="x" * 300)},
        {**chat, "tools": function(name="é")},
        {**chat, "tools": function(parameters=[])},
        {**chat, "tools": function() * 2},
        {**chat, "tools": function(), "tool_choice": "required"},
        {**chat, "tools": function(), "parallel_tool_calls": False},
        {**chat, "metadata": []},
        {**chat, "metadata": {"session": ""}},
        {**chat, "metadata": {"session": {}}},
        {**chat, "user": 7},
        {**chat, "response_format": "json"},
        {**chat, "functions": [{}]},
    ]
    say = {"model": "ada", "input": "hi"}
    output = {"type": "function_call_output", "call_id": "c", "output": "x"}
    wrong_responses = [
        {"model": "ada"},
        {"input": "hi"},
        {"model": "ada", "input": None},
        {"model": "ada", "input": {}},
        {"model": "ada", "input": [None]},
        {"model": "ada", "input": ["hi"]},
        {"model": "ada", "input": ""},
        {"model": "ada", "input": [user("")]},
        {"model": "ada", "input": [{"role": "user"}]},
        {"model": "ada", "input": [{"role": 7, "content": "hi"}]},
        {"model": "ada", "input": [{"role": "tool", "content": "hi"}]},
        {"model": "ada", "input": [{"type": "message", "content": "hi"}]},
        {"model": "ada", "input": [{"type": None, "role": "wizard", "content": "hi"}]},
        {"model": "ada", "input": [{"type": "computer_call_output"}]},
        {"model": "ada", "input": [user([{"type": "input_image", "image_url": "x"}])]},
        {"model": "ada", "input": [{**output, "call_id": None}]},
        {"model": "ada", "input": [{**output, "output": 7}]},
        {"model": "ada", "input": [{**output, "output": [{"type": "input_image"}]}]},
        {"model": "ada", "input": [{"type": "function_call", "call_id": "c", "name": "f"}]},
        {"model": "ada", "input": [{"type": "mcp_approval_response", "approve": "yes"}]},
        {"model": "ada", "input": [{"type": "mcp_approval_response", "approve": True}]},
        {**say, "instructions": 7},
        {**say, "instructions": ["x"]},
        {**say, "background": "yes"},
        {**say, "previous_response_id": 7},
        {**say, "conversation": 7},
        {**say, "conversation": {}},
        {**say, "conversation": "a", "metadata": {"session": "b"}},
        {**say, "tools": [{}]},
        {**say, "tools": [{"type": "function"}]},
        {**say, "tools": [{**FUNCTION, "parameters": 7}]},
        {**say, "tools": [{**FUNCTION, "name": f"f{n}"} for n in range(3000)]},
        {**say, "tools": [{"type": "mcp", "server_label": "x", "server_url": "http://x"}]},
        {**say, "tool_choice": {"type": "function", "name": "f"}, "tools": [FUNCTION]},
        {**say, "text": "json"},
        {**say, "max_tool_calls": 1},
        {**say, "prompt": {"id": "p"}},
        {**say, "include": "everything"},
    ]
    deep = [
        ("chat/completions", f'{{"model":"ada","messages":{nested(400)}}}'),
        ("responses", f'{{"model":"ada","input":{nested(400)}}}'),
        ("responses", f'{{"model":"ada","input":"hi","metadata":{{"x":{nested(400)}}}}}'),
        ("responses", '{"model":"ada","input":"\\ud800"}'),
        ("responses", '{"model":"ada","input":"hi","top_logprobs":1e400}'),
        ("responses", "null"),
        ("responses", ""),
    ]
    wrong = [("chat/completions", body) for body in wrong_chats]
    wrong += [("responses", body) for body in wrong_responses]
    before = rest_of(key)
    for path, body in wrong + deep:
        status, error = post(key, path, body)
        what = (path, json.dumps(body)[:200], status, error)
        assert status == 400, what
        assert error["type"] == "invalid_request_error" and error["message"], what
        assert error["code"] and "param" in error, what
    assert rest_of(key) == before, "something changed"
    # Fields that nobody knows and nulls are ignored.
    for path, body in (
        ("chat/completions", {**chat, "wings": 2, "metadata": None, "tools": None, "n": None}),
        ("chat/completions", {**chat, "temperature": "hot", "stop": [], "user": ""}),
        ("responses", {**say, "wings": {}, "tools": None, "metadata": None, "stream": None}),
        ("responses", {**say, "reasoning": 7, "previous_response_id": None, "text": None}),
    ):
        status, answer = post(key, path, body)
        assert status == 200, (body, answer)


def rest_of(key):
    """Everything that the caller has: sessions with their heads."""
    request = urllib.request.Request(f"{URL}/v1/sessions")
    request.add_header("authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
