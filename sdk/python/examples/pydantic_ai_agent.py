"""An agent made with Pydantic AI, with streaming, tool calls, approvals and history.

`python pydantic_ai_agent.py` uses Pydantic AI's `TestModel`, which needs no network. An argument
names another model, such as `openai:gpt-5-mini`.
"""

import sys
from typing import Any

from pydantic_ai import Agent, AgentRunResultEvent, ModelRetry, RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    RetryPromptPart,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import infer_model
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import FunctionToolset, ToolsetTool, WrapperToolset
from pydantic_ai.usage import RunUsage

import thoughtwire
from thoughtwire import events

toolset = FunctionToolset[thoughtwire.Interface]()


@toolset.tool_plain
def add(left: int, right: int) -> int:
    """Adds two numbers."""
    return left + right


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
            return await turn.call_once(name, tool_args, lambda _: run(name, tool_args, ctx, tool))
        except thoughtwire.CallFailed as failed:
            raise ModelRetry(str(failed)) from None
        except thoughtwire.OutcomeUnknown as unknown:
            return str(unknown)
        except thoughtwire.RefusedError as refused:
            if refused.code != "forbidden":
                raise
            return "The owner did not allow this call."


recorded = RecordedToolset(toolset)
model = infer_model(sys.argv[1]) if len(sys.argv) > 1 else TestModel()
ada = Agent(deps_type=thoughtwire.Interface, toolsets=[recorded])
agent = thoughtwire.Agent(
    "pydantic-ada",
    turns=16,
    history=200,
    resumable=True,
    # A sum may be calculated again. About a call of a tool with an effect the owner is asked.
    tools=[thoughtwire.ToolDeclaration(name="add", description="Adds two numbers.", replay="safe")],
)


@agent.turn
async def answer(turn: thoughtwire.Interface) -> None:
    said = [*past(turn), ModelRequest(parts=[UserPromptPart(turn.user_message)])]
    if turn.resumed:
        said += await so_far(turn)
        if isinstance(said[-1], ModelResponse):
            return  # Only the turn's end was lost.
    spoken = turn.message()
    async with ada.run_stream_events(model=model, deps=turn, message_history=said) as stream:
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
        if record.turn == turn.turn:
            continue
        match record.event:
            case events.UserMessage(text=text):
                said.append(ModelRequest(parts=[UserPromptPart(text)]))
            case events.Message(text=text):
                said.append(ModelResponse(parts=[TextPart(text)]))
    return said


async def so_far(turn: thoughtwire.Interface) -> list[ModelMessage]:
    """Converts what earlier runs of this turn have said, so that the model goes on behind it.

    Calls with a result return it. A call without one is handled by its tool's `replay` class.
    """
    context = RunContext(deps=turn, model=model, usage=RunUsage())
    tools = await recorded.get_tools(context)
    inputs = {input.item for input in turn.inputs}
    said: list[ModelMessage] = []
    for record in turn.so_far:
        match record.event:
            case events.UserMessage(item=item, text=text) if item not in inputs:
                said.append(ModelRequest(parts=[UserPromptPart(text)]))
            case events.Message(text=text, complete=True):
                said.append(ModelResponse(parts=[TextPart(text)]))
            case events.ToolCalled(call=call, name=name, args=args):
                said.append(ModelResponse(parts=[ToolCallPart(name, args, call)]))
                try:
                    result = await recorded.call_tool(name, args, context, tools[name])
                    said.append(ModelRequest(parts=[ToolReturnPart(name, result, call)]))
                except ModelRetry as retry:
                    failed = RetryPromptPart(retry.message, tool_name=name, tool_call_id=call)
                    said.append(ModelRequest(parts=[failed]))
    return said


if __name__ == "__main__":
    agent.run()
