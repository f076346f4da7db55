"""An agent made with LangGraph, with streaming and tool calls. LangGraph keeps the history.

`python langgraph_agent.py [CHECKPOINTS]` keeps it in an SQLite file, by default `langgraph.sqlite`.
All processes that offer this agent need the same file: one of them goes on with a turn from the
last step of another one that was killed.

It runs on a scripted chat model, which needs no network. Replace it with any of LangChain's models.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition
from langgraph.runtime import Runtime

import thoughtwire
from thoughtwire import events

CHECKPOINTS = sys.argv[1] if len(sys.argv) > 1 else "langgraph.sqlite"


class ScriptedChatModel(GenericFakeChatModel):
    """LangChain's fake chat model, extended to stream tool calls."""

    def next_message(self, messages: list[BaseMessage]) -> AIMessage:
        """Answers an input with a call, and the call's result with a message."""
        last = messages[-1]
        if isinstance(last, ToolMessage):
            return AIMessage(f"The product is {last.text}.")
        call = f"call-{len(messages)}"
        return AIMessage(
            "", tool_calls=[tool_call(name="multiply", args={"left": 6, "right": 7}, id=call)]
        )

    def _stream(
        self, messages: list[BaseMessage], *more: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        said = self.next_message(messages)
        for word in str(said.content).split():
            yield ChatGenerationChunk(message=AIMessageChunk(content=word + " "))
        for call in said.tool_calls:
            piece = tool_call_chunk(
                name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=0
            )
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[piece]))


@tool
def multiply(left: int, right: int) -> int:
    """Multiplies two numbers."""
    return left * right


TOOLS: dict[str, BaseTool] = {"multiply": multiply}
model = ScriptedChatModel(messages=iter(()))


async def think(
    state: MessagesState, config: RunnableConfig, runtime: Runtime[thoughtwire.Interface]
) -> dict[str, Any]:
    """Asks the model, and streams its message."""
    whole = AIMessageChunk("")
    async with runtime.context.message() as message:
        async for chunk in model.astream(state["messages"], config):
            await message.write(str(chunk.text))
            whole = whole + chunk
    # The message has the same id in the log and in the graph's thread.
    whole.id = message.item
    return {"messages": [whole]}


async def use_tools(
    state: MessagesState, config: RunnableConfig, runtime: Runtime[thoughtwire.Interface]
) -> dict[str, Any]:
    """Runs the model's calls, each after it is on disk and allowed."""
    turn = runtime.context
    results = []
    thought = state["messages"][-1]
    for asked in thought.tool_calls if isinstance(thought, AIMessage) else []:
        name, args = asked["name"], asked["args"]

        async def run(_: str, name: str = name, args: dict[str, Any] = args) -> str:
            return str(await TOOLS[name].ainvoke(args, config))

        try:
            # In a turn that goes on after a crash, a call that was made is not made again.
            text = await turn.call_once(name, args, run)
        except thoughtwire.RefusedError as refused:
            if refused.code != "forbidden":
                raise
            text = "The owner did not allow this call."
        except (thoughtwire.EndedError, thoughtwire.ClosedError):
            raise
        except Exception as error:
            text = str(error)
        results.append(ToolMessage(text, tool_call_id=asked["id"]))
    return {"messages": results}


builder = (
    StateGraph(MessagesState, context_schema=thoughtwire.Interface)
    .add_node("think", think)
    .add_node("tools", use_tools)
    .add_edge(START, "think")
    .add_conditional_edges("think", tools_condition)
    .add_edge("tools", "think")
)
agent = thoughtwire.Agent(
    "langgraph-ada",
    resumable=True,
    # A product may be calculated again. About a call of a tool with an effect the owner is asked.
    tools=[
        thoughtwire.ToolDeclaration(
            name="multiply", description="Multiplies two numbers.", replay="safe"
        )
    ],
)


@agent.turn
async def answer(turn: thoughtwire.Interface) -> None:
    # One thread of the graph for each session.
    config: RunnableConfig = {"configurable": {"thread_id": turn.session}}
    async with AsyncSqliteSaver.from_conn_string(CHECKPOINTS) as saver:
        graph = builder.compile(checkpointer=saver)
        thread: list[BaseMessage] = (await graph.aget_state(config)).values.get("messages", [])
        if turn.resumed:
            await catch_up(turn, thread)
        known = {message.id for message in thread}
        new = [HumanMessage(text, id=id) for id, text in inputs(turn).items() if id not in known]
        # Without an input the graph goes on behind its last step. "sync": a step is on disk before
        # the next one begins.
        start = {"messages": [*interrupted(thread), *new]} if new else None
        await graph.ainvoke(start, config, context=turn, durability="sync")


def inputs(turn: thoughtwire.Interface) -> dict[str, str]:
    """Returns the texts of the turn's inputs by their ids, with those that have joined it."""
    joined = [one.event for one in turn.so_far if isinstance(one.event, events.UserMessage)]
    return {one.item: one.text for one in (*turn.inputs, *joined)}


async def catch_up(turn: thoughtwire.Interface, thread: list[BaseMessage]) -> None:
    """Repeats what the graph's thread has of this turn, so that the log has it as well.

    A call that is in the log already only counts: `call_once` takes equal calls in their order.
    """
    results = {one.tool_call_id: one.text for one in thread if isinstance(one, ToolMessage)}
    said = {one.event.item for one in turn.so_far if isinstance(one.event, events.Message)}
    begin = [n for n, message in enumerate(thread) if message.id == turn.inputs[0].item]
    for message in thread[begin[0] :] if begin else []:
        if not isinstance(message, AIMessage):
            continue
        if message.text and message.id not in said:
            await turn.assistant_message(message.text)
        for call in message.tool_calls:
            if call["id"] in results:
                result = results[call["id"]]
                with suppress(thoughtwire.CallFailed, thoughtwire.OutcomeUnknown):
                    await turn.call_once(
                        call["name"], call["args"], lambda _, text=result: text, "safe"
                    )


def interrupted(thread: list[BaseMessage]) -> list[BaseMessage]:
    """Closes the calls of an earlier turn that ended in the middle."""
    last = thread[-1] if thread else None
    calls = last.tool_calls if isinstance(last, AIMessage) else []
    return [ToolMessage("The call was interrupted.", tool_call_id=call["id"]) for call in calls]


if __name__ == "__main__":
    agent.run()
