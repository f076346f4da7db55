"""A worker's agent, served by a scripted server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support import ScriptedPeer, ScriptedServer

from thoughtwire import Agent

AT = "2026-01-01T00:00:00.000Z"


@asynccontextmanager
async def offered(agent: Agent, server: ScriptedServer) -> AsyncIterator[ScriptedPeer]:
    """Serves an agent, and accepts its first connection and its offer."""
    serving = asyncio.create_task(agent.serve())
    peer = await server.greets()
    await takes_offer(peer)
    yield peer
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def takes_offer(peer: ScriptedPeer, *turns: str) -> Any:
    offer = await peer.hears("offer")
    agent = {"id": "a-1", "name": offer["agent"], "model": "offered"}
    await peer.say(
        type="ack",
        id=offer["id"],
        agent=agent,
        session="s-1",
        worker=offer["worker"],
        turns=list(turns),
    )
    return offer


async def runs(peer: ScriptedPeer, turn: str = "t-1", text: str = "hello", **more: Any) -> None:
    input = {"item": f"i-{turn}", "text": text}
    await peer.say(type="run", agent="a-1", session="s-1", turn=turn, input=input, **more)


async def acks(peer: ScriptedPeer, type: str, **more: Any) -> Any:
    frame = await peer.hears(type)
    await peer.say(type="ack", id=frame["id"], seq=1, **more)
    return frame
