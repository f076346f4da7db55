"""Chat completions."""

import json
import threading

import openai
from common import (
    DOOR,
    SUM,
    Streamed,
    approve,
    client,
    events,
    refusal,
    said,
    session_of,
    user,
)


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
    refused(bad, "empty_text", "messages", messages=[user(" ")])
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    at = "messages[0].content[0]"
    refused(bad, "unsupported_parameter", at, messages=[user([picture])])
    refused(bad, "bad_request", messages=[{"role": "wizard", "content": "hi"}])
    refused(bad, "bad_request", messages="hi")
    refused(bad, "bad_request", "metadata.session", metadata={"session": 7})
    spaces = {"type": "function", "function": {"name": "no spaces"}}
    refused(bad, "bad_request", "tools", tools=[spaces])
    refused(bad, "unsupported_parameter", "tools", tools=[{"type": "web_search"}])
    assert ada.models.list().data[0].id == "ada"
    wrong = refusal(openai.AuthenticationError, client("wrong").models.list)
    assert wrong == ("invalid_api_key", None), wrong
