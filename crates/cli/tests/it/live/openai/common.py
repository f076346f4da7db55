"""Parts of the scenarios: clients, what the log has, and refusals."""

import json
import sys
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
