"""The README's examples, run and type-checked."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import HERE, PATIENCE, RealServer

BLOCKS = re.findall(r"```python\n(.*?)```", (HERE.parent / "README.md").read_text(), re.DOTALL)


async def run(*command: str, **env: str) -> str:
    """Runs a program, which must succeed, and returns its output."""
    ran = await asyncio.to_thread(
        subprocess.run,
        command,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


async def test_talking_to_an_agent(server: RealServer) -> None:
    asynchronous, blocking = [block for block in BLOCKS if "Agent(" not in block]
    # Users may run an example twice.
    for block, answer in [(asynchronous, "42"), (blocking + "\nprint(transcript)", "48")] * 2:
        assert answer in await run(sys.executable, "-c", block, THOUGHTWIRE_URL=server.url)


async def test_its_blocks_have_types(tmp_path: Path) -> None:
    for n, block in enumerate(BLOCKS):
        (tmp_path / f"block_{n}.py").write_text(block)
    await run(
        sys.executable, "-m", "mypy", "--strict", str(tmp_path), MYPYPATH=str(HERE.parent / "src")
    )


async def test_its_blocks_are_clean_under_pyright_strict(tmp_path: Path) -> None:
    # Pyright needs the network to fetch Node.js.
    if shutil.which("pyright") is None and not (Path(sys.executable).parent / "pyright").exists():
        pytest.skip("pyright is not installed")
    for n, block in enumerate(BLOCKS):
        (tmp_path / f"block_{n}.py").write_text("# pyright: strict\n" + block)
    settings = {
        "extraPaths": [str(HERE.parent / "src")],
        "include": ["."],
        "typeCheckingMode": "strict",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    said = await run(
        sys.executable, "-m", "pyright", "--project", str(tmp_path), "--pythonpath", sys.executable
    )
    assert "0 errors, 0 warnings" in said
