"""An agent made with LangGraph: streamed, its tool calls told, each session with the graph's own memory.

It runs on a scripted chat model, which needs no network; put any other of LangChain's in its place.
"""

from collections.abc import Iterator
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition

import thoughtwire


def script() -> Iterator[AIMessage]:
    """What the model says: a call, then an answer, over and over."""
    n = 0
    while True:
        n += 1
        call = {"name": "multiply", "args": {"left": 6, "right": 7}, "id": f"call-{n}", "type": "tool_call"}
        yield AIMessage("", tool_calls=[call])
        yield AIMessage("The product is 42.")


@tool
def multiply(left: int, right: int) -> int:
    """Multiplies two numbers."""
    return left * right


TOOLS: dict[str, BaseTool] = {"multiply": multiply}
model = GenericFakeChatModel(messages=script())


async def think(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Asks the model, and streams what it says."""
    turn: thoughtwire.Interface = config["configurable"]["turn"]
    whole: AIMessageChunk | None = None
    async with turn.message() as message:
        async for chunk in model.astream(state["messages"], config):
            await message.write(str(chunk.text))
            whole = chunk if whole is None else whole + chunk
    return {"messages": [whole]}


async def use_tools(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Runs the calls that the model asked for, each when it is on disk."""
    turn: thoughtwire.Interface = config["configurable"]["turn"]
    results = []
    thought = state["messages"][-1]
    for asked in thought.tool_calls if isinstance(thought, AIMessage) else []:
        call = await turn.tool_called(asked["name"], asked["args"])
        try:
            text = str(await TOOLS[asked["name"]].ainvoke(asked["args"], config))
            await turn.tool_returned(call, text)
        except Exception as error:
            text = str(error)
            await turn.tool_returned(call, text, status="error")
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
agent = thoughtwire.Agent("langgraph-ada", turns=16)


@agent.turn
async def answer(turn: thoughtwire.Interface) -> None:
    # One thread of the graph for each session.
    config: RunnableConfig = {"configurable": {"thread_id": turn.session, "turn": turn}}
    await graph.ainvoke({"messages": [HumanMessage(turn.user_message)]}, config)


if __name__ == "__main__":
    agent.run()
