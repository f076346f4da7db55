"""Responses: conversations, streams that resume, and cancels."""

import json
import threading

import openai
from common import (
    FUNCTION,
    SUM,
    approve,
    client,
    events,
    kinds_of,
    numbered,
    refusal,
    responses,
    said,
    session_of,
    user,
)


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


def response_together(session):
    """Two clients at once on one session, of which one streams. Prints the replies."""
    replies = {}

    def ask(text, stream):
        asked = {"input": text, "conversation": session}
        if stream:
            (*_, last) = numbered(responses(**asked, stream=True))
            reply = last.response
        else:
            reply = responses(**asked)
        assert session_of(reply) == session
        replies[text] = reply.output[-1].content[0].text

    texts = [f"what is 6*{factor}?" for factor in (7, 8)]
    threads = [threading.Thread(target=ask, args=(text, text == texts[0])) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 2, replies
    print(json.dumps(replies))


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


def begin_slowly(session=None):
    """Reads the beginning of a slow response. Prints its id, then what it has."""
    stream = responses(model="slow", input="go", stream=True, conversation=session)
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
