"""A worker that a test kills in the middle of a turn.

It appends its tools' effects to the file that EFFECTS names. The process whose turn is not resumed
stays in its second call for ever.
"""

import asyncio
import json
import os
from pathlib import Path

from thoughtwire import Agent, Interface

agent = Agent("once", resumable=True)
effects = Path(os.environ["EFFECTS"])


def note(tool: str, key: str) -> None:
    with effects.open("a") as file:
        file.write(json.dumps({"tool": tool, "key": key}) + "\n")


@agent.turn
async def answer(turn: Interface) -> str:
    async def pay(call: str) -> str:
        note("pay", call)
        return "paid"

    async def look(call: str) -> str:
        note("look", call)
        if not turn.resumed:
            print("waits", flush=True)
            await asyncio.Event().wait()
        return "looked"

    paid = await turn.call_once("pay", {"euro": 5}, pay)
    looked = await turn.call_once("look", {}, look, replay="safe")
    return f"{paid}, {looked}, attempt {turn.attempt}"


async def main() -> None:
    serving = asyncio.create_task(agent.serve())
    print((await agent.offered()).main_session, flush=True)
    await serving


asyncio.run(main())
