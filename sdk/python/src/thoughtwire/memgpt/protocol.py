"""Frames of MemGPT's wire, by the names of `pymemgpt`'s own functions.

The output is that of `pymemgpt` 0.2: JSON with non-ASCII characters escaped.

>>> server_agent_internal_monologue("Hm.")
'{"type": "agent_response", "message_type": "internal_monologue", "message": "Hm."}'
>>> client_user_message("Hello", "sam")
'{"type": "user_message", "message": "Hello", "agent_name": "sam"}'
"""

import json
from typing import Any


def _frame(**keys: Any) -> str:
    return json.dumps(keys)


def server_error(msg: Any) -> str:
    """The server could not take a frame."""
    return _frame(type="server_error", message=msg)


def server_command_response(status: Any) -> str:
    """The answer to a command."""
    return _frame(type="command_response", status=status)


def server_agent_response_error(msg: Any) -> str:
    """A turn failed, or did not begin."""
    return _frame(type="agent_response_error", message=msg)


def server_agent_response_start() -> str:
    """A turn begins."""
    return _frame(type="agent_response_start")


def server_agent_response_end() -> str:
    """A turn ended."""
    return _frame(type="agent_response_end")


def server_agent_internal_monologue(msg: Any) -> str:
    """The agent thinks."""
    return _frame(type="agent_response", message_type="internal_monologue", message=msg)


def server_agent_assistant_message(msg: Any) -> str:
    """The agent answers."""
    return _frame(type="agent_response", message_type="assistant_message", message=msg)


def server_agent_function_message(msg: Any) -> str:
    """The agent calls a function, or one returned."""
    return _frame(type="agent_response", message_type="function_message", message=msg)


def client_user_message(msg: Any, agent_name: Any = None, **agent: Any) -> str:
    """An input. The second argument is the agent's name, as in 0.2.5; `agent_id=`, the only other
    keyword, writes the key of 0.2.11 and 0.3.
    """
    if agent.keys() - {"agent_id"}:
        raise TypeError(f"client_user_message() takes no {', '.join(agent.keys() - {'agent_id'})}")
    return _frame(type="user_message", message=msg, **(agent or {"agent_name": agent_name}))


def client_command_create(config: Any) -> str:
    """Make an agent."""
    return _frame(type="command", command="create_agent", config=config)


def client_command_load(agent_name: Any) -> str:
    """Go on with an agent."""
    return _frame(type="command", command="load_agent", name=agent_name)
