"""The protocol functions, compared with the output of `pymemgpt`'s own."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import HERE

from thoughtwire.memgpt import protocol

#: Paths of the original modules by version, below what `make test-deps` fetches.
ORIGINALS = {
    "0.2.5": "memgpt/server/websocket_protocol.py",
    "0.2.11": "memgpt/server/ws_api/protocol.py",
}
TEXTS = [
    "",
    "Hello, world!",
    "naïve £5 ½",
    "你好 🦀",
    'She said "hi" \\ </script>',
    "a\r\n\tb\x7f\u2028",
    "\ud800",
    None,
]
NAMES = {
    "server_error",
    "server_command_response",
    "server_agent_response_error",
    "server_agent_response_start",
    "server_agent_response_end",
    "server_agent_internal_monologue",
    "server_agent_assistant_message",
    "server_agent_function_message",
    "client_user_message",
    "client_command_create",
    "client_command_load",
}


def original(version: str) -> ModuleType:
    path = HERE.parents[2] / ".test-deps" / f"pymemgpt-{version}" / ORIGINALS[version]
    if not Path(path).exists():
        pytest.skip("`make test-deps` fetches it")
    spec = importlib.util.spec_from_file_location(f"original_{version.replace('.', '_')}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def functions(module: ModuleType) -> set[str]:
    return {name for name in vars(module) if name.startswith(("server_", "client_"))}


def test_has_the_eleven_functions() -> None:
    assert functions(protocol) == NAMES
    assert len(NAMES) == 11


@pytest.mark.parametrize("version", ORIGINALS)
def test_each_puts_on_the_wire_what_the_original_does(version: str) -> None:
    theirs = original(version)
    assert functions(theirs) <= NAMES
    for name in functions(theirs):
        ours, other = getattr(protocol, name), getattr(theirs, name)
        if name in ("server_agent_response_start", "server_agent_response_end"):
            assert ours() == other()
            continue
        values: list[Any] = [*TEXTS, {"persona": "sam_pov", "n": [1, None]}, []]
        for value in values:
            if name == "client_user_message" and version != "0.2.5":
                assert ours(value, agent_id="sam") == other(value, "sam")
                assert ours(value, agent_id=None) == other(value)
            elif name == "client_user_message":
                assert ours(value, "sam") == other(value, "sam")
                assert ours(value, None) == other(value, None)
            else:
                assert ours(value) == other(value), name


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="agent_number"):
        protocol.client_user_message("hi", agent_number=1)
    assert json.loads(protocol.client_user_message("hi")) == {
        "type": "user_message",
        "message": "hi",
        "agent_name": None,
    }
