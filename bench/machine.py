"""The machine of a run, and the versions of the software."""

import os
import platform
import re
import subprocess


def said(*command):
    """Returns the first line that a command prints, or nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip().split("\n")[0]


def field(path, name):
    with open(path) as file:
        for line in file:
            if line.startswith(name):
                return line.split(":", 1)[1].strip()
    return "?"


def describe():
    """Describes the machine."""
    memory = int(field("/proc/meminfo", "MemTotal").split()[0]) / 1024**2
    return {
        "processor": f"{field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"Linux {platform.release()} {platform.machine()}",
        "virtual": said("systemd-detect-virt") or "?",
    }


def versions(deps):
    """Lists the versions of the other software."""

    def package(python, name):
        return said(
            f"{deps}/{python}/bin/python",
            "-c",
            f"import importlib.metadata as m; print(m.version({name!r}))",
        )

    def module(name):
        return said("node", "-p", f"require('{deps}/node_modules/{name}/package.json').version")

    return {
        "rustc": said("rustc", "--version"),
        "Python": platform.python_version(),
        "Node.js": said("node", "--version"),
        "websockets": package("venv", "websockets"),
        "FastAPI, uvicorn": f"{package('venv', 'fastapi')}, {package('venv', 'uvicorn')}",
        "pymemgpt, with websockets": ", ".join(
            package("memgpt", name) for name in ("pymemgpt", "websockets")
        ),
        "ws": module("ws"),
        "Socket.IO": module("socket.io"),
        "better-sse": module("better-sse"),
        "NATS": re.sub(r".*v", "", said("nats-server", "--version")) or "not installed",
    }


def load_average():
    """Returns the load average of the last minute."""
    return round(os.getloadavg()[0], 2)
