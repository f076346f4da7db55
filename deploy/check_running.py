"""Runs haproxy with deploy/haproxy.cfg in front of three servers: see deploy/check."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parent
TOOL = str(DEPLOY.parent / "tools/postgres")
BINARY = os.environ["THOUGHTWIRE_BIN"]
UPGRADE = (
    "GET /v1/ws HTTP/1.1\r\nHost: thoughtwire\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: thoughtwire.v1\r\nAuthorization: Bearer {key}\r\n\r\n"
)


def output(*command: str) -> str:
    outcome = subprocess.run(command, capture_output=True, text=True)
    if outcome.returncode:
        sys.exit(f"{' '.join(command)} failed: {outcome.stdout}{outcome.stderr}")
    return outcome.stdout.strip()


ports = itertools.count(10_000 + os.getpid() % 2_000 * 10)


def free_port() -> int:
    """A port below those that systems give to outgoing connections: a restart finds it free."""
    while True:
        port = next(ports)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Node:
    """A server with the environment that compose.yaml gives it."""

    def __init__(self, directory: Path, store: str) -> None:
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        env = compose["services"]["node-1"]["environment"]
        env = {name: value for name, value in env.items() if "${" not in value}
        self.port = free_port()
        self.env = {
            **os.environ,
            **env,
            "THOUGHTWIRE_STORE": store,
            "THOUGHTWIRE_DATA_DIR": str(directory),
            "THOUGHTWIRE_LISTEN": f"127.0.0.1:{self.port}",
        }
        self.start()

    def start(self) -> None:
        command = [BINARY, "serve", "--advertise", f"http://127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, text=True)
        assert "listening" in self.process.stdout.readline()

    def add_key(self) -> str:
        command = [BINARY, "keys", "add", "--name", "check", "--json"]
        added = subprocess.run(command, env=self.env, capture_output=True, text=True, check=True)
        return json.loads(added.stdout)["secret"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def status(port: int, path: str, key: str | None = None) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def until(is_true, what: str) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        if time.monotonic() > deadline:
            sys.exit(f"this did not happen within a minute: {what}")
        time.sleep(0.05)


def upgraded(port: int, key: str) -> socket.socket:
    """Opens a WebSocket."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(UPGRADE.format(key=key).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        read = connection.recv(1)
        assert read, f"no answer to the upgrade: {head}"
        head += read
    assert head.startswith(b"HTTP/1.1 101"), head
    return connection


def rest(connection: socket.socket) -> bytes:
    """Reads to the end of a connection."""
    read = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            read += piece
    return read


class Requests:
    """Sends requests one after another until it is stopped. Collects each status but 200."""

    def __init__(self, port: int) -> None:
        self.port, self.failed, self.sent, self.is_stopped = port, [], 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.is_stopped:
            self.sent += 1
            if (found := status(self.port, "/healthz")) != 200:
                self.failed.append(found)

    def stop(self) -> None:
        self.is_stopped = True
        self.thread.join()
        assert self.sent > 0 and not self.failed, self.failed


def check_proxy(directory: Path, store: str, running: contextlib.ExitStack) -> str:
    """Gives a key of the servers."""
    nodes, key = [], ""
    for number in "123":
        node = Node(directory / number, store)
        running.callback(node.kill)
        nodes.append(node)
        # The others know it from their start.
        key = key or node.add_key()
    port = free_port()
    addresses = {
        f"THOUGHTWIRE_NODE_{number}": f"127.0.0.1:{node.port}"
        for number, node in enumerate(nodes, 1)
    }
    env = {**os.environ, **addresses, "THOUGHTWIRE_PROXY_BIND": f"127.0.0.1:{port}"}
    config = str(DEPLOY / "haproxy.cfg")
    subprocess.run(["haproxy", "-c", "-q", "-f", config], env=env, check=True)
    log = (directory / "log").open("w+")
    command = ["haproxy", "-db", "-f", config]
    proxy = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    running.callback(proxy.kill)
    until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "the proxy listens")
    until(lambda: status(port, "/readyz") == 200, "the proxy finds a node")
    assert status(port, "/v1/agents", key) == 200
    assert status(port, "/v1/agents") == 401
    for hidden in ["/v1/cluster", "/v1/%63luster", "//v1//cluster/x", "/metrics"]:
        assert status(port, hidden, key) == 404, hidden
    assert status(nodes[0].port, "/metrics") == 401, "a node answers itself"

    def told(line: str) -> None:
        until(lambda: line in (directory / "log").read_text(), line)

    sockets = [upgraded(port, key) for _ in range(9)]
    # A planned stop: its clients are told, and no request fails meanwhile.
    requests = Requests(port)
    nodes[1].process.send_signal(signal.SIGTERM)
    assert nodes[1].process.wait(timeout=60) == 0
    requests.stop()
    ended = 0
    for connection in sockets:
        connection.settimeout(0.2)
        try:
            read = rest(connection)
        except TimeoutError:
            continue
        assert b'"goaway"' in read, read
        ended += 1
    assert ended == 3, f"connections are spread over the nodes: {ended} of 9 ended"
    # A killed node: its clients find another.
    nodes[2].process.kill()
    nodes[2].process.wait()
    until(lambda: status(port, "/readyz") == 200, "requests reach the node that is left")
    sockets = [upgraded(port, key) for _ in range(3)]
    # Both return, and are used again.
    told("Server nodes/node-3 is DOWN")
    nodes[1].start()
    nodes[2].start()
    for name in ["node-2", "node-3"]:
        told(f"Server nodes/{name} is UP")
    # The proxy stops when its connections have ended, and takes no new ones.
    proxy.send_signal(signal.SIGUSR1)
    until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) != 0, "the proxy refuses")
    assert proxy.poll() is None, "open connections go on"
    for connection in sockets:
        connection.close()
    for node in nodes:
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(timeout=60) == 0
    proxy.wait(timeout=60)
    return key


def check_restored(directory: Path, store: str, key: str) -> None:
    dump, restored = str(directory / "dump"), output(TOOL, "create")
    try:
        output(str(DEPLOY / "backup"), store, dump)
        output(str(DEPLOY / "restore"), restored, dump)
        node = Node(directory / "restored", restored)
        try:
            assert status(node.port, "/readyz") == 200
            assert status(node.port, "/v1/agents", key) == 200, "keys are in the dump"
        finally:
            node.kill()
    finally:
        output(TOOL, "drop", restored)


def main() -> None:
    if not shutil.which("haproxy"):
        sys.exit("this needs haproxy: install it (on Debian: apt-get install haproxy)")
    store = output(TOOL, "create")
    try:
        with tempfile.TemporaryDirectory() as directory:
            with contextlib.ExitStack() as running:
                key = check_proxy(Path(directory), store, running)
            check_restored(Path(directory), store, key)
    finally:
        output(TOOL, "drop", store)


if __name__ == "__main__":
    main()
