"""Starts the servers that are measured, and tells the generator how to talk to them."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEPS = os.path.join(HERE, ".deps")
PEERS = os.path.join(HERE, "peers")
# The server has one core, and everything else the other.
SERVER_CORE, OTHER_CORE = "0", "1"
BOTH = "0,1"
PORT = 18450


class Unavailable(Exception):
    """A server cannot run here. The message says why."""


class RunningServer:
    """A running server.

    `url`, `flags` and `environment` are for the generator, which runs on the cores `beside`.
    """

    def __init__(
        self, process, url, flags, helpers=(), folder=None, environment=None, beside=OTHER_CORE
    ):
        self.process, self.url, self.flags, self.helpers, self.folder = (
            process,
            url,
            flags,
            list(helpers),
            folder,
        )
        self.environment, self.beside = environment or {}, beside

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in [*self.helpers, self.process]:
            process.send_signal(signal.SIGTERM)
        for process in [*self.helpers, self.process]:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def spawn(core, command, ready, **environment):
    """Starts a process on a core, and waits for the line with `ready`."""
    process = subprocess.Popen(
        ["taskset", "-c", core, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    line = process.stdout.readline()
    while ready not in line:
        if not line:
            raise Unavailable(
                f"`{' '.join(os.path.basename(str(command[at])) for at in (0, -1))}` did not start"
            )
        line = process.stdout.readline()
    return process


def plain(command, url="ws://127.0.0.1:{port}/", flags=(), **environment):
    """Starts a server from `peers/` or `limits/`, which gets the load as arguments."""

    def start(load):
        numbers = [PORT, load["items"], load["bytes"], load["rate"]]
        full = [
            part if part is not LOAD else number
            for part in command
            for number in (numbers if part is LOAD else [0])
        ]
        process = spawn(
            SERVER_CORE,
            full,
            "ready",
            PYTHONPATH=PEERS,
            NODE_PATH=f"{DEPS}/node_modules",
            **environment,
        )
        return RunningServer(process, url.format(port=PORT), ["--dialect", "plain", *flags])

    return start


LOAD = object()


def thoughtwire(
    binary,
    dialect="native",
    folder=None,
    port=PORT,
    tls=None,
    shares=False,
    store=None,
    settings=None,
):
    """Starts Thoughtwire on a temporary data directory, or on `folder`.

    `store` is the address of a database that it uses, if it uses one. `tls` is a folder
    with a certificate. With `shares` the server and the generator both use both cores.
    `settings` are variables of its configuration.
    """

    def start(_load):
        own = None if folder else tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_DIR"))
        command = [binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", folder or own]
        if store:
            command += ["--store", store]
        if tls:
            command += [
                "--tls-certificate",
                f"{tls}/certificate.pem",
                "--tls-key",
                f"{tls}/key.pem",
            ]
        process = spawn(BOTH if shares else SERVER_CORE, command, "listening", **settings or {})
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        trusted = {"SSL_CERT_FILE": f"{tls}/certificate.pem"} if tls else None
        beside = BOTH if shares else OTHER_CORE
        return RunningServer(
            process, url, ["--dialect", dialect], folder=own, environment=trusted, beside=beside
        )

    return start


def certificate(folder):
    """Creates a key and a self-signed certificate for this machine."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]
    command += ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/certificate.pem"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"openssl could not create a certificate: {error}") from None


def nats(load):
    """Starts NATS with its WebSocket, and a publisher that is not measured."""
    binary = shutil.which("nats-server", path=f"{os.environ['PATH']}:/usr/sbin")
    if not binary:
        raise Unavailable("nats-server is not installed (Debian: apt install nats-server)")
    folder = tempfile.mkdtemp(prefix="bench-")
    with open(f"{folder}/nats.conf", "w") as file:
        file.write(
            f'host: 127.0.0.1\nport: {PORT + 1}\nping_interval: "10m"\n'
            f"websocket {{ host: 127.0.0.1, port: {PORT}, no_tls: true }}\n"
        )
    process = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, binary, "-c", f"{folder}/nats.conf"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    publisher = [
        f"{DEPS}/venv/bin/python",
        f"{PEERS}/nats_publisher.py",
        PORT + 1,
        load["items"],
        load["bytes"],
        load["rate"],
    ]
    helper = spawn(OTHER_CORE, publisher, "ready", PYTHONPATH=PEERS)
    hello = ['CONNECT {"verbose":false,"pedantic":false}\r\n', "SUB bench 1\r\n"]
    flags = [
        "--dialect",
        "plain",
        *(part for text in hello for part in ("--hello", text)),
        "--go",
        "PUB bench.go 0\r\n\r\n",
    ]
    return RunningServer(process, f"ws://127.0.0.1:{PORT}/", flags, [helper], folder)


def peers(limits):
    """Lists the other servers by name."""
    python, memgpt = f"{DEPS}/venv/bin/python", f"{DEPS}/memgpt/bin/python"
    return {
        "bare epoll, one frame a write": plain([f"{limits}/epoll", LOAD, 1]),
        "bare epoll, eight frames a write": plain([f"{limits}/epoll", LOAD, 8]),
        "Python websockets, broadcast": plain([python, f"{PEERS}/websockets_broadcast.py", LOAD]),
        "MemGPT's interface (pymemgpt 0.2.5)": plain(
            [memgpt, f"{PEERS}/memgpt_interface.py", LOAD]
        ),
        "FastAPI, uvicorn": plain(
            [python, f"{PEERS}/fastapi_sparky.py", LOAD], url="ws://127.0.0.1:{port}/ws/chat"
        ),
        "Node ws": plain(["node", f"{PEERS}/ws.js", LOAD]),
        "Socket.IO, with recovery": plain(
            ["node", f"{PEERS}/socket_io.js", LOAD],
            url="ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket",
            flags=["--hello", "40", "--go", '42["go"]'],
        ),
        "NATS websocket": nats,
    }
