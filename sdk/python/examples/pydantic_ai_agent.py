"""An agent made with Pydantic AI, with streaming, tool calls, approvals and history.

`python pydantic_ai_agent.py` uses Pydantic AI's `TestModel`, which needs no network. An argument
names another model, such as `openai:gpt-5-mini`.
"""

import sys
from typing import Any

from pydantic_ai import Agent, AgentRunResultEvent, RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    UserPromptPart,
)
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import FunctionToolset, ToolsetTool, WrapperToolset

import thoughtwire
from thoughtwire import events
from thoughtwire.call_once import Replay

toolset = FunctionToolset[thoughtwire.Interface]()


@toolset.tool_plain
def add(left: int, right: int) -> int:
    """Adds two numbers."""
    return left + right


#: A sum may be calculated again. A tool that is not listed here needs `ask`, or `never`.
REPLAY: dict[str, Replay] = {"add": "safe"}


class RecordedToolset(WrapperToolset[thoughtwire.Interface]):
    """Tools whose calls are on disk, and approved where the owner wants that, before they run.

    A turn that goes on after a crash gets the results of calls that were made already.
    """

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[thoughtwire.Interface],
        tool: ToolsetTool[thoughtwire.Interface],
    ) -> Any:
        turn = ctx.deps
        run = super().call_tool
        try:
            return await turn.call_once(
                name, tool_args, lambda _: run(name, tool_args, ctx, tool), REPLAY[name]
            )
        except thoughtwire.RefusedError as refused:
            if refused.code != "forbidden":
                raise
            return "The owner did not allow this call."


ada = Agent(
    sys.argv[1] if len(sys.argv) > 1 else TestModel(),
    deps_type=thoughtwire.Interface,
    toolsets=[RecordedToolset(toolset)],
)
agent = thoughtwire.Agent(
    "pydantic-ada",
    turns=16,
    history=200,
    resumable=True,
    tools=[thoughtwire.ToolDeclaration(name="add", description="Adds two numbers.")],
)


@agent.turn
async def answer(turn: thoughtwire.Interface) -> None:
    spoken = turn.message()
    async with ada.run_stream_events(
        turn.user_message, deps=turn, message_history=past(turn)
    ) as stream:
        async for event in stream:
            match event:
                case PartStartEvent(part=TextPart(content=text)):
                    spoken = turn.message()
                    await spoken.write(text)
                case PartStartEvent(part=ThinkingPart(content=text)):
                    spoken = turn.thought()
                    await spoken.write(text)
                case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                    await spoken.write(text)
                case PartDeltaEvent(delta=ThinkingPartDelta(content_delta=str(text))):
                    await spoken.write(text)
                case PartEndEvent(part=TextPart() | ThinkingPart()):
                    await spoken.end()
                case AgentRunResultEvent(result=result):
                    await turn.usage(result.usage.input_tokens, result.usage.output_tokens)


def past(turn: thoughtwire.Interface) -> list[ModelMessage]:
    """Converts the session's history to Pydantic AI's messages.

    A turn that starts over asks the model again, so that its own events do not count.
    """
    said: list[ModelMessage] = []
    for record in turn.history:
        if record.turn == turn.turn:
            continue
        match record.event:
            case events.UserMessage(text=text):
                said.append(ModelRequest(parts=[UserPromptPart(text)]))
            case events.Message(text=text):
                said.append(ModelResponse(parts=[TextPart(text)]))
    return said


if __name__ == "__main__":
    agent.run()
