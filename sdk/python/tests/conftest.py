"""Runs tests that are coroutines, each in an event loop of its own."""

import asyncio
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support import PATIENCE, RealServer

#: A program that needs arguments.
collect_ignore = ["paying_example.py"]

#: Time limit of a test, in seconds.
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
def server() -> Iterator[RealServer]:
    """A real server, shared by the tests of a file."""
    server = RealServer()
    yield server
    server.stop()
