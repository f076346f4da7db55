"""Runs an example with a model that pays three times.

`paying_example.py EXAMPLE EFFECTS stuck|works`; more arguments are the example's own. Each request
to the model and each payment appends a line to the file EFFECTS. The payments are equal, so that
only their order tells them apart.
"""

import asyncio
import importlib.util
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

PAY = {"euros": 5}
EFFECTS, ROLE = Path(sys.argv[2]), sys.argv[3]


def note(effect: str) -> int:
    """Notes an effect. Returns the number of times that it has happened."""
    with EFFECTS.open("a") as file:
        file.write(f"{effect}\n")
    return EFFECTS.read_text().split("\n").count(effect)


async def pay(euros: int) -> str:
    """Pays."""
    payment = note(f"pay {euros}")
    if ROLE == "stuck" and payment == 2:
        print("paid, and stuck", flush=True)
        await asyncio.Event().wait()
    return f"receipt {payment}"


def next_step(receipts: list[str]) -> str | None:
    """Returns the model's next message, or None for a payment."""
    note(f"asked with {len(receipts)}")
    return None if len(receipts) < 3 else ", ".join(receipts)


def prepare_pydantic_ai(example: Any) -> None:
    from pydantic_ai.messages import ModelMessage, ToolReturnPart
    from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

    async def answer(
        messages: list[ModelMessage], _: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        parts = [part for message in messages for part in message.parts]
        receipts = [str(part.content) for part in parts if isinstance(part, ToolReturnPart)]
        step = next_step(receipts)
        call = DeltaToolCall("pay", json.dumps(PAY), tool_call_id=f"call-{len(receipts)}")
        yield {0: call} if step is None else step

    example.toolset.add_function(pay)
    example.model = FunctionModel(stream_function=answer)


def prepare_langgraph(example: Any) -> None:
    from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
    from langchain_core.messages.tool import tool_call
    from langchain_core.tools import tool

    class PayingModel(example.ScriptedChatModel):  # type: ignore[misc]  # An example has no types.
        def next_message(self, messages: list[BaseMessage]) -> AIMessage:
            receipts = [str(one.text) for one in messages if isinstance(one, ToolMessage)]
            step = next_step(receipts)
            call = tool_call(name="pay", args=PAY, id=f"call-{len(receipts)}")
            return AIMessage("", tool_calls=[call]) if step is None else AIMessage(step)

    example.TOOLS["pay"] = tool(pay)
    example.model = PayingModel(messages=iter(()))


def main() -> None:
    path = Path(sys.argv[1])
    sys.argv = [str(path), *sys.argv[4:]]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = example
    spec.loader.exec_module(example)
    prepare = {"pydantic_ai_agent": prepare_pydantic_ai, "langgraph_agent": prepare_langgraph}
    prepare[path.stem](example)
    example.agent.run()


if __name__ == "__main__":
    main()
