"""Drives a server with MemGPT's own protocol module, as its clients do.

usage: memgpt_client.py URL PROTOCOL_MODULE
"""

import asyncio
import importlib.util
import json
import sys

import websockets

URL, MODULE = sys.argv[1:3]
spec = importlib.util.spec_from_file_location("protocol", MODULE)
protocol = importlib.util.module_from_spec(spec)
spec.loader.exec_module(protocol)

ENDS = {"agent_response_end", "agent_response_error", "command_response", "server_error"}


async def receive(client):
    return json.loads(await asyncio.wait_for(client.recv(), 30))


async def until_end(client):
    frames = []
    while not frames or frames[-1]["type"] not in ENDS:
        frames.append(await receive(client))
    return frames


async def ask(client, frame):
    await client.send(frame)
    return await until_end(client)


def load(name):
    # 0.2.11 dropped this function from its module; its frame stayed the server's.
    if hasattr(protocol, "client_command_load"):
        return protocol.client_command_load(name)
    return json.dumps({"type": "command", "command": "load_agent", "name": name})


def is_reply(frames):
    kinds = [frame["type"] for frame in frames]
    assert kinds[0] == "agent_response_start" and kinds[-1] == "agent_response_end", frames
    assert set(kinds[1:-1]) == {"agent_response"}, frames
    return [(frame["message_type"], frame["message"]) for frame in frames[1:-1]]


async def main():
    async with (
        websockets.connect(URL) as ada,
        websockets.connect(URL) as bob,
        websockets.connect(URL) as onlooker,
    ):
        # Created, named and addressed.
        assert await ask(
            ada, protocol.client_command_create({"name": "ada", "persona": "I am Ada."})
        ) == [{"type": "command_response", "status": "OK: Agent initialized"}]
        assert await ask(bob, protocol.client_command_create({"name": "bob"})) == [
            {"type": "command_response", "status": "OK: Agent initialized"}
        ]
        assert (await ask(bob, protocol.client_command_create({"name": "bob"})))[0][
            "status"
        ].startswith("Error: Failed to init agent - ")
        assert await ask(onlooker, load("ada")) == [
            {"type": "command_response", "status": "OK: Agent 'ada' loaded"}
        ]
        assert (await ask(bob, load("ghost")))[0]["status"].startswith(
            "Error: Failed to load agent 'ghost' - "
        )
        assert await ask(bob, load("bob")) == [
            {"type": "command_response", "status": "OK: Agent 'bob' loaded"}
        ]

        # A turn: thoughts, calls, the answer; a second client of the agent sees what it says.
        reply = is_reply(
            await ask(
                ada, protocol.client_user_message("what is 6*7? (my password is hunter2)", "ada")
            )
        )
        assert any(kind == "internal_monologue" for kind, _ in reply), reply
        assert any(
            kind == "function_message" and text.startswith("Running ") for kind, text in reply
        ), reply
        assert any(kind == "assistant_message" and "42" in text for kind, text in reply), reply
        watched = [await receive(onlooker) for _ in reply]
        assert [(frame["message_type"], frame["message"]) for frame in watched] == reply, watched

        # The agent that the connection is on; another one; two at once, in order.
        assert is_reply(await ask(ada, protocol.client_user_message("hello", None)))
        await ada.send(protocol.client_user_message("one", "ada"))
        await ada.send(protocol.client_user_message("two", "ada"))
        assert is_reply(await until_end(ada)) and is_reply(await until_end(ada))
        unknown = await ask(bob, protocol.client_user_message("hi", "ghost"))
        assert [frame["type"] for frame in unknown] == ["agent_response_error"], unknown

        # Nobody else's frames: the first thing that bob's client gets is the answer to its own.
        assert is_reply(await ask(bob, protocol.client_user_message("only for bob", "bob")))
        assert is_reply(await ask(bob, protocol.client_user_message("over to ada", "ada")))
    print("ok")


asyncio.run(main())
