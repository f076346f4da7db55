"""MemGPT's own agent, from PyPI, behind Thoughtwire: `python memgpt_agent.py [NAME]`.

It needs an OpenAI-compatible server with chat completions and functions, at `OPENAI_BASE_URL`. Only
the argument `interface` connects it to Thoughtwire; the rest is MemGPT's.
"""

import os
import sys

from memgpt.agent import Agent as MemGPTAgent
from memgpt.config import AgentConfig
from memgpt.constants import FUNC_FAILED_HEARTBEAT_MESSAGE, REQ_HEARTBEAT_MESSAGE
from memgpt.persistence_manager import LocalStateManager
from memgpt.presets.presets import use_preset
from memgpt.system import get_heartbeat, get_token_limit_warning, package_user_message

import thoughtwire
from thoughtwire.memgpt import SyncInterface

interface = SyncInterface()
agent = thoughtwire.Agent(sys.argv[1] if len(sys.argv) > 1 else "memgpt-sam")
sams: dict[str, MemGPTAgent] = {}


class InMemoryState(LocalStateManager):  # type: ignore[misc]  # MemGPT has no types.
    """MemGPT's state without archival storage, which needs an embedding model."""

    archival_memory = None

    def __init__(self) -> None:
        self.memory: object = None
        self.messages: list[object] = []
        self.all_messages: list[object] = []


def make_sam(session: str) -> MemGPTAgent:
    config = AgentConfig(
        name=session,
        persona="sam",
        human="basic",
        model="gpt-4",
        model_endpoint_type="openai",
        model_endpoint=os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
        context_window=8192,
        preset="memgpt_chat",
    )
    persona, human = "I am Sam.", "First name: Chad"
    return use_preset(
        config.preset, config, config.model, persona, human, interface, InMemoryState()
    )


@agent.turn
def answer(turn: thoughtwire.blocking.Interface) -> None:
    if turn.session not in sams:
        sams[turn.session] = make_sam(turn.session)
    says: str | None = package_user_message(turn.user_message)
    with interface.speaks_in(turn):
        # MemGPT's loop: a step may request another one with a heartbeat.
        while says is not None:
            _, heartbeat, failed, warning = sams[turn.session].step(says, skip_verify=True)
            if warning:
                says = get_token_limit_warning()
            elif failed:
                says = get_heartbeat(FUNC_FAILED_HEARTBEAT_MESSAGE)
            else:
                says = get_heartbeat(REQ_HEARTBEAT_MESSAGE) if heartbeat else None


if __name__ == "__main__":
    agent.run()
