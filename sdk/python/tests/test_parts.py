"""Frames that come in parts."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from thoughtwire import Client, frames
from thoughtwire.parts import PartJoiner, PartsError


def parts_of(frame: dict[str, Any], size: int) -> list[frames.Part]:
    text = json.dumps(frame)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [frames.Part(part=n, parts=len(pieces), data=piece) for n, piece in enumerate(pieces)]


def test_parts_are_joined_and_whole_frames_pass() -> None:
    joiner = PartJoiner()
    for text in ("short", 'é"\\𝄞\n' * 500):
        *first, last = parts_of({"type": "detached", "session": "s-1", "reason": text}, 7)
        assert [joiner.take(part) for part in first] == [None] * len(first)
        assert joiner.take(last) == frames.Detached(session="s-1", reason=text)
        assert joiner.take(frames.Pong()) == frames.Pong()


def test_a_frame_of_a_newer_server_is_passed_over_when_it_is_whole() -> None:
    joiner = PartJoiner()
    assert [joiner.take(part) for part in parts_of({"type": "weather"}, 5)][-1] is None
    assert joiner.take(frames.Pong()) == frames.Pong()


@pytest.mark.parametrize(
    "came",
    [
        [frames.Part(part=1, parts=2, data="")],
        [frames.Part(part=0, parts=3, data=""), frames.Part(part=2, parts=3, data="")],
        [frames.Part(part=0, parts=3, data=""), frames.Pong()],
    ],
)
def test_parts_that_do_not_fit_are_an_error(came: list[frames.ServerFrame]) -> None:
    joiner = PartJoiner()
    *first, last = came
    for frame in first:
        joiner.take(frame)
    with pytest.raises(PartsError):
        joiner.take(last)


def test_a_client_reads_an_answer_that_comes_in_parts() -> None:
    title = "a long title " * 1000

    async def answer(socket: ServerConnection) -> None:
        await socket.send(
            '{"type":"welcome","protocol":"thoughtwire.v1","server":"test","limits":{}}'
        )
        async for wire in socket:
            asked = json.loads(wire)
            if asked["type"] == "create_session":
                for part in parts_of(
                    {"type": "ack", "id": asked["id"], "session": "s-2", "x": title}, 1000
                ):
                    told = {
                        "type": "part",
                        "part": part.part,
                        "parts": part.parts,
                        "data": part.data,
                    }
                    await socket.send(json.dumps(told))

    async def talk() -> str:
        async with serve(answer, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with Client(f"ws://127.0.0.1:{port}/v1/ws") as client:
                return await asyncio.wait_for(client.create_session("ada"), 10)

    assert asyncio.run(talk()) == "s-2"
