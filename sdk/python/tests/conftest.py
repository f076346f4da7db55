"""How the tests run: those that are coroutines, in a loop of their own."""

import asyncio
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support import PATIENCE, Server

#: A test that takes longer hangs.
GIVEN_UP_AFTER = 3 * PATIENCE


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    asyncio.run(asyncio.wait_for(test, GIVEN_UP_AFTER))
    return True


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The real one, for the tests of a file."""
    server = Server()
    yield server
    server.stop()
