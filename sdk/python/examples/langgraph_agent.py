"""An agent made with LangGraph, with streaming and tool calls. LangGraph keeps the history.

It runs on a scripted chat model, which needs no network. Replace it with any of LangChain's models.
"""

import itertools
import json
from collections.abc import Iterator
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
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition

import thoughtwire


class ScriptedChatModel(GenericFakeChatModel):
    """LangChain's fake chat model, extended to stream tool calls."""

    def _stream(
        self, messages: list[BaseMessage], *more: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        said = next(self.messages)
        assert isinstance(said, AIMessage)
        for word in str(said.content).split():
            yield ChatGenerationChunk(message=AIMessageChunk(content=word + " "))
        for call in said.tool_calls:
            piece = tool_call_chunk(
                name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=0
            )
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[piece]))


def script() -> Iterator[AIMessage]:
    """Yields the model's answers: a call and a message, alternating."""
    for n in itertools.count():
        yield AIMessage(
            "",
            tool_calls=[tool_call(name="multiply", args={"left": 6, "right": 7}, id=f"call-{n}")],
        )
        yield AIMessage("The product is 42.")


@tool
def multiply(left: int, right: int) -> int:
    """Multiplies two numbers."""
    return left * right


TOOLS: dict[str, BaseTool] = {"multiply": multiply}
#: Tools that may be called twice.
SAFE = {"multiply"}
model = ScriptedChatModel(messages=script())


async def think(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Asks the model, and streams its message."""
    turn: thoughtwire.Interface = config["configurable"]["turn"]
    whole: AIMessageChunk | None = None
    async with turn.message() as message:
        async for chunk in model.astream(state["messages"], config):
            await message.write(str(chunk.text))
            whole = chunk if whole is None else whole + chunk
    return {"messages": [whole]}


async def use_tools(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Runs the model's calls, each after it is on disk and allowed."""
    turn: thoughtwire.Interface = config["configurable"]["turn"]
    results = []
    thought = state["messages"][-1]
    for asked in thought.tool_calls if isinstance(thought, AIMessage) else []:
        name, args = asked["name"], asked["args"]

        async def run(_: str, name: str = name, args: dict[str, Any] = args) -> str:
            return str(await TOOLS[name].ainvoke(args, config))

        try:
            # In a turn that goes on after a crash, a call that was made is not made again. If it
            # may have been made, the owner is asked; "safe" is for tools without an effect.
            text = await turn.call_once(name, args, run, "safe" if name in SAFE else "ask")
        except thoughtwire.RefusedError as refused:
            if refused.code != "forbidden":
                raise
            text = "The owner did not allow this call."
        except thoughtwire.OutcomeUnknown as unknown:
            text = str(unknown)
        except (thoughtwire.EndedError, thoughtwire.ClosedError):
            raise
        except Exception as error:
            text = str(error)
        results.append(ToolMessage(text, tool_call_id=asked["id"]))
    return {"messages": results}


graph = (
    StateGraph(MessagesState)
    .add_node("think", think)
    .add_node("tools", use_tools)
    .add_edge(START, "think")
    .add_conditional_edges("think", tools_condition)
    .add_edge("tools", "think")
    .compile(checkpointer=InMemorySaver())
)
agent = thoughtwire.Agent("langgraph-ada", resumable=True)


@agent.turn
async def answer(turn: thoughtwire.Interface) -> None:
    # One thread of the graph for each session.
    config: RunnableConfig = {"configurable": {"thread_id": turn.session, "turn": turn}}
    await graph.ainvoke({"messages": [HumanMessage(turn.user_message)]}, config)


if __name__ == "__main__":
    agent.run()
