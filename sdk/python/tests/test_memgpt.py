"""MemGPT's interfaces, called as its agent calls them. tests/test_examples.py has the agent."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from support import scripted, soon
from worker_peer import acks, offered, runs

from thoughtwire import Agent, Interface, blocking
from thoughtwire.memgpt import AsyncInterface, SyncInterface


class RecordingClient:
    """A registered client whose `send` is awaited, as with a WebSocket."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    async def send(self, frame: str, /) -> None:
        told = json.loads(frame)
        assert told["type"] == "agent_response"
        self.heard.append((told["message_type"], told["message"]))


class Broken:
    """A registered client whose connection is broken."""

    def send(self, frame: str, /) -> None:
        raise ConnectionError("gone")


async def test_sends_what_memgpt_says_in_its_turn() -> None:
    said = SyncInterface()
    socket = RecordingClient()
    said.register_client(socket)
    said.register_client(Broken())
    async with scripted() as server:
        agent = Agent("sam", url=server.url)

        @agent.turn
        def answer(turn: blocking.Interface) -> None:
            with said.speaks_in(turn):
                said.user_message(turn.user_message)
                said.internal_monologue("Hm.")
                said.internal_monologue(None)
                said.function_message("Running send_message({'message': 'It\\'s 42.', 'ok': True})")
                said.assistant_message("It's 42.")
                said.function_message("Success: None")
                said.step_yield()
            said.assistant_message("said to nobody")

        async with offered(agent, server) as peer:
            await runs(peer)
            assert (await acks(peer, "internal_monologue"))["text"] == "Hm."
            line = (await acks(peer, "function_message"))["text"]
            assert line == 'Running send_message({"message": "It\'s 42.", "ok": true})'
            assert (await acks(peer, "assistant_message"))["text"] == "It's 42."
            assert (await acks(peer, "function_message"))["text"] == "Success: None"
            await acks(peer, "finish")
    # Registered clients get frames asynchronously, also those outside of turns.
    await soon(lambda: len(socket.heard) == 6)
    kinds = [kind for kind, _ in socket.heard]
    mono, function, message = "internal_monologue", "function_message", "assistant_message"
    assert kinds == [mono, mono, function, message, function, message]
    said.unregister_client(socket)
    said.close()


async def test_the_asynchronous_interface_does_the_same() -> None:
    said = AsyncInterface()
    socket = RecordingClient()
    said.register_client(socket)
    async with scripted() as server:
        agent = Agent("sam", url=server.url, turns=2)

        @agent.turn
        async def answer(turn: Interface) -> None:
            with said.speaks_in(turn):
                await asyncio.sleep(0)
                await said.internal_monologue(f"Hm {turn.user_message}.")
                await said.function_message("Running odd(not python")
                await said.assistant_message("Yes.")

        async with offered(agent, server) as peer:
            # Two turns at the same time do not mix their texts.
            await runs(peer, "t-1", "one")
            await runs(peer, "t-2", "two")
            thoughts = [await acks(peer, "internal_monologue") for _ in range(2)]
            assert {(one["turn"], one["text"]) for one in thoughts} == {
                ("t-1", "Hm one."),
                ("t-2", "Hm two."),
            }
            for _ in range(2):
                await acks(peer, "function_message")
    assert len(socket.heard) >= 4
    said.close()


class Starlette:
    """A client as in 0.3, whose `send` does not take a text."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def send(self, message: dict[str, object], /) -> None:
        raise TypeError("a message of ASGI is a dictionary")

    async def send_text(self, frame: str, /) -> None:
        self.heard.append(json.loads(frame)["message"])


class Plain:
    """A client with a synchronous `send`."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def send(self, frame: str, /) -> None:
        self.heard.append(json.loads(frame)["message"])


async def test_all_kinds_of_clients_get_frames_of_both_interfaces() -> None:
    later, plain, socket = Starlette(), Plain(), RecordingClient()
    one, other = AsyncInterface(), SyncInterface()
    for client in (later, plain, socket):
        one.register_client(client)
        other.register_client(client)
    await one.assistant_message("async")
    other.assistant_message("sync")
    await soon(lambda: len(later.heard) == len(plain.heard) == len(socket.heard) == 2)
    assert later.heard == plain.heard == ["async", "sync"]
    for said in (one, other):
        said.unregister_client(later)
        assert later not in said.clients
        said.close()


def test_has_the_methods_of_every_version(capsys: pytest.CaptureFixture[str]) -> None:
    # Messages are dictionaries in 0.2.5, and objects in 0.2.11 and 0.3.
    message = SimpleNamespace(to_openai_dict=lambda: {"role": "user", "content": "Hi"})
    called = {"role": "assistant", "content": None, "function_call": {"name": "f"}}
    for said in (SyncInterface(), AsyncInterface()):
        said.step_yield()
        said.step_complete()
        said.print_messages([message, called])
        assert capsys.readouterr().out == "user: Hi\nassistant: {'name': 'f'}\n"
        said.print_messages([message, called], dump=True)
        assert capsys.readouterr().out == "[2] user: Hi\n[1] assistant: {'name': 'f'}\n"
        said.print_messages_simple([message])
        assert capsys.readouterr().out == "user: Hi\n"
        said.print_messages_raw([message])
        assert capsys.readouterr().out == "{'role': 'user', 'content': 'Hi'}\n"
        said.close()
