"""Responses behind others, in their session or in a branch; their input, and their deletion."""

import json
import threading

import openai
from common import (
    FUNCTION,
    client,
    events,
    kinds_of,
    refusal,
    responses,
    rest,
    said,
    session_of,
    user,
)


def opened(response):
    """The texts from before the session of a response."""
    first = events(session_of(response))[0]
    assert first["kind"] == "session_opened", first
    return [entry["text"] for entry in first.get("history", [])]


def branches():
    """A response behind one that is not the newest is in a branch."""
    first = responses(input="what is 1+1?", instructions="Be brief.")
    second = responses(input="what is 2+2?", previous_response_id=first.id)
    assert session_of(second) == session_of(first)
    branch = responses(input="what is 3+3?", previous_response_id=first.id)
    assert session_of(branch) != session_of(first)
    assert branch.previous_response_id == first.id and "6" in branch.output_text, branch
    assert said(session_of(branch)) == ["what is 3+3?"]
    past = opened(branch)
    assert (past[0], past[-1]) == ("what is 1+1?", first.output_text), past
    assert "what is 2+2?" not in past and any("Called calculator" in text for text in past), past
    assert events(session_of(branch))[0]["instructions"] == "Be brief."
    # The branch goes on, and so does what it came from.
    for before in (branch, second):
        after = responses(input="what is 4+4?", previous_response_id=before.id)
        assert session_of(after) == session_of(before)
    assert said(session_of(first)) == ["what is 1+1?", "what is 2+2?", "what is 4+4?"]
    # A branch of a branch has both pasts.
    twig = responses(input="what is 5+5?", previous_response_id=branch.id, instructions="Shout.")
    both = opened(twig)
    assert both[: len(past) + 1] == [*past, "what is 3+3?"], both
    assert both[-1] == branch.output_text, both
    assert events(session_of(twig))[0]["instructions"] == "Shout."
    # The session is meant where it is named.
    session = session_of(first)
    for named in ({"conversation": session}, {"metadata": {"session": session}}):
        reply = responses(input="what is 6+6?", previous_response_id=first.id, **named)
        assert session_of(reply) == session, reply
    # An input of another client in the same session makes no branch necessary.
    last = responses(input="what is 7+7?", conversation=session)
    beside = {"text": "what is 8+8?"}
    rest("POST", f"/v1/sessions/{session}/inputs?wait=20", beside)
    after = responses(input="what is 9+9?", previous_response_id=last.id)
    assert session_of(after) == session


def branches_at_once():
    """Of two requests behind one response, one goes on in its session. Both take effect once."""
    first = responses(input="what is 1+1?")
    replies, key = {}, {"Idempotency-Key": "branch"}

    def ask(text):
        replies[text] = responses(
            input=text, previous_response_id=first.id, extra_headers={"Idempotency-Key": text}
        )

    texts = [f"what is {number}+2?" for number in range(4)]
    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sessions = [session_of(reply) for reply in replies.values()]
    assert len(set(sessions)) == 4 and sessions.count(session_of(first)) == 1, sessions
    before = {text: reply.id for text, reply in replies.items()}
    for text in texts:
        ask(text)
    assert before == {text: reply.id for text, reply in replies.items()}
    asked = {"input": "hi", "extra_headers": key, "previous_response_id": first.id}
    assert responses(**asked).id == responses(**asked).id


def branches_of_open_turns():
    """A response that is not at its end has no branches; one that waits for its client has."""
    slow = responses(model="slow", input="go", background=True)
    session = session_of(slow)
    behind = {"model": "slow", "previous_response_id": slow.id, "background": True}
    queued = responses(input="and", **behind)
    assert session_of(queued) == session and queued.status == "queued", queued
    found = refusal(openai.ConflictError, lambda: responses(input="or", **behind))
    assert found == ("response_not_ended", "previous_response_id"), found
    assert client().responses.cancel(queued.id).status == "cancelled"
    # The input that was withdrawn counts no more.
    again = responses(input="or", **behind)
    assert session_of(again) == session
    for one in (again, slow):
        assert client().responses.cancel(one.id).status == "cancelled"

    call = responses(input='use open_door {"side": "left"}', tools=[FUNCTION])
    behind = {"previous_response_id": call.id, "tools": [FUNCTION]}
    found = refusal(openai.BadRequestError, lambda: responses(input="never mind", **behind))
    assert found == ("bad_request", "input"), found
    assert said(session_of(call)) == ['use open_door {"side": "left"}']
    output = {
        "type": "function_call_output",
        "call_id": call.output[1].call_id,
        "output": "it is open",
    }
    done = responses(input=[output], **behind)
    assert session_of(done) == session_of(call)
    branch = responses(input="what is 1+1?", **behind)
    assert session_of(branch) != session_of(call)
    assert opened(branch) == [
        'use open_door {"side": "left"}',
        'Called open_door({"side":"left"}).',
    ], opened(branch)
    twice = [output, output]
    found = refusal(openai.BadRequestError, lambda: responses(input=twice, **behind))
    assert found[0] == "bad_request", found


def input_items():
    """The input of a response as a list, in pages."""
    past = [user("hi"), {"role": "assistant", "content": "Hello"}, user("what is 1+1?")]
    first = responses(input=past)
    items = list(client().responses.input_items.list(first.id, order="asc"))
    texts = [(item.role, item.content[0].text) for item in items]
    assert texts == [("user", "hi"), ("assistant", "Hello"), ("user", "what is 1+1?")], texts
    pages = client().responses.input_items.list(first.id, limit=1)
    assert pages.has_more and pages.first_id == pages.last_id == items[2].id, pages
    assert [item.id for item in pages] == [item.id for item in reversed(items)]
    second = responses(input="what is 2+2?", previous_response_id=first.id)
    (item,) = client().responses.input_items.list(second.id)
    assert item.content[0].text == "what is 2+2?", item

    call = responses(input='use open_door {"side": "left"}', tools=[FUNCTION])
    output = {"call_id": call.output[1].call_id, "output": "it is open"}
    given = {"type": "function_call_output", **output}
    done = responses(input=[given], previous_response_id=call.id, tools=[FUNCTION])
    items = list(client().responses.input_items.list(done.id, order="asc"))
    assert kinds_of(items) == ["message", "function_call_output"], items
    assert {key: getattr(items[1], key) for key in output} == output, items
    assert kinds_of(client().responses.input_items.list(call.id)) == ["message"]
    for wrong in ({"limit": 0}, {"limit": 101}, {"after": "msg_none"}, {"order": "up"}):
        items_of = client().responses.input_items.list
        refusal(openai.BadRequestError, lambda wrong=wrong: items_of(done.id, **wrong))


def deletion():
    """A response alone in its session is deleted with it; a part of a conversation is not."""
    alone = responses(input=[user("hi"), {"role": "assistant", "content": "Yes?"}, user("what?")])
    client().responses.delete(alone.id)
    for act in (
        client().responses.retrieve,
        client().responses.cancel,
        client().responses.delete,
        client().responses.input_items.list,
    ):
        found = refusal(openai.NotFoundError, lambda act=act: act(alone.id))
        assert found == ("response_not_found", None), found
    listed = [session["id"] for session in rest("GET", "/v1/sessions")["sessions"]]
    assert session_of(alone) not in listed
    found = refusal(
        openai.NotFoundError, lambda: responses(input="hi", previous_response_id=alone.id)
    )
    assert found == ("response_not_found", "previous_response_id"), found

    first = responses(input="what is 1+1?")
    second = responses(input="what is 2+2?", previous_response_id=first.id)
    for part in (first, second):
        found = refusal(openai.ConflictError, lambda part=part: client().responses.delete(part.id))
        assert found == ("response_in_conversation", None), found
        assert client().responses.retrieve(part.id).output == part.output
    # One that runs is cancelled by its deletion.
    running = responses(model="slow", input="go", background=True)
    client().responses.delete(running.id)
    refusal(openai.NotFoundError, lambda: client().responses.retrieve(running.id))
    assert json.dumps(rest("GET", "/v1/sessions")).count(session_of(running)) == 0
