"""Writes frames of MemGPT's protocol, with functions named as in `pymemgpt`.

The output is the same as in `pymemgpt` 0.2: JSON with escaped non-ASCII characters.

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
    """Writes the error for a frame that the server cannot handle."""
    return _frame(type="server_error", message=msg)


def server_command_response(status: Any) -> str:
    """Writes the answer to a command."""
    return _frame(type="command_response", status=status)


def server_agent_response_error(msg: Any) -> str:
    """Writes that a turn failed, or could not begin."""
    return _frame(type="agent_response_error", message=msg)


def server_agent_response_start() -> str:
    """Writes that a turn begins."""
    return _frame(type="agent_response_start")


def server_agent_response_end() -> str:
    """Writes that a turn ended."""
    return _frame(type="agent_response_end")


def server_agent_internal_monologue(msg: Any) -> str:
    """Writes a thought of the agent."""
    return _frame(type="agent_response", message_type="internal_monologue", message=msg)


def server_agent_assistant_message(msg: Any) -> str:
    """Writes a message of the agent."""
    return _frame(type="agent_response", message_type="assistant_message", message=msg)


def server_agent_function_message(msg: Any) -> str:
    """Writes a function call of the agent, or the result of one."""
    return _frame(type="agent_response", message_type="function_message", message=msg)


def client_user_message(msg: Any, agent_name: Any = None, **agent: Any) -> str:
    """Writes an input.

    The second argument is the agent's name, as in 0.2.5. `agent_id=` is the only other keyword, and
    writes the key of 0.2.11 and 0.3.
    """
    if agent.keys() - {"agent_id"}:
        raise TypeError(
            f"client_user_message() does not take {', '.join(agent.keys() - {'agent_id'})}"
        )
    return _frame(type="user_message", message=msg, **(agent or {"agent_name": agent_name}))


def client_command_create(config: Any) -> str:
    """Writes the command to create an agent."""
    return _frame(type="command", command="create_agent", config=config)


def client_command_load(agent_name: Any) -> str:
    """Writes the command to load an agent."""
    return _frame(type="command", command="load_agent", name=agent_name)
