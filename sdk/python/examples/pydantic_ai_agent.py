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

toolset = FunctionToolset[thoughtwire.Interface]()


@toolset.tool_plain
def add(left: int, right: int) -> int:
    """Adds two numbers."""
    return left + right


class RecordedToolset(WrapperToolset[thoughtwire.Interface]):
    """Tools whose calls are on disk, and approved where the owner wants that, before they run."""

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[thoughtwire.Interface],
        tool: ToolsetTool[thoughtwire.Interface],
    ) -> Any:
        turn = ctx.deps
        try:
            call = await turn.tool_called(name, tool_args)
        except thoughtwire.RefusedError as refused:
            if refused.code != "forbidden":
                raise
            return "The owner did not allow this call."
        try:
            result = await super().call_tool(name, tool_args, ctx, tool)
        except Exception as error:
            await turn.tool_returned(call, str(error), status="error")
            raise
        await turn.tool_returned(call, str(result))
        return result


ada = Agent(
    sys.argv[1] if len(sys.argv) > 1 else TestModel(),
    deps_type=thoughtwire.Interface,
    toolsets=[RecordedToolset(toolset)],
)
agent = thoughtwire.Agent(
    "pydantic-ada",
    turns=16,
    history=200,
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
    """Converts the session's history to Pydantic AI's messages."""
    said: list[ModelMessage] = []
    for record in turn.history:
        match record.event:
            case events.UserMessage(text=text):
                said.append(ModelRequest(parts=[UserPromptPart(text)]))
            case events.Message(text=text):
                said.append(ModelResponse(parts=[TextPart(text)]))
    return said


if __name__ == "__main__":
    agent.run()
