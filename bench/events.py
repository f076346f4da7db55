"""The row about server-sent events, beside our WebSocket and another server."""

import json
import statistics
import subprocess
import tempfile
import urllib.request

import servers
from measure import call
from servers import OTHER_CORE, PORT, Unavailable

# A turn's own events beside its messages: its input, its start, its usage and its end.
AROUND = 4


def started(bench, server, load):
    """Creates a session. Returns its stream's path, its WebSocket's greeting, and its trigger."""
    model = f"load:items={load['items']},bytes={load['bytes']},rate={load['rate']},deltas=no"
    made = call(server, "POST", "/v1/agents", {"name": "events", "model": model})
    session = made["agent"]["main_session"]
    go = f"/v1/sessions/{session}/inputs", {"text": "go"}
    attach = json.dumps({"type": "attach", "session": session})
    return f"/v1/sessions/{session}/events", attach, go


def once(bench, name, load, readers):
    """Measures one server once."""
    is_ours = name.startswith("Thoughtwire")
    start = (
        servers.thoughtwire(bench.binary)
        if is_ours
        else servers.plain(["node", f"{servers.PEERS}/better_sse.js", servers.LOAD])
    )
    with start(load) as server:
        frames, attach = load["items"], []
        base = f"http://127.0.0.1:{PORT}"
        if is_ours:
            path, greeting, go = started(bench, server, load)
            frames += AROUND
            if name.endswith("WebSocket"):
                path, attach = "/v1/ws", [greeting]
        else:
            path, go = "/", ("/go", {})
        command = [
            "taskset",
            "-c",
            OTHER_CORE,
            f"{servers.DEPS}/venv/bin/python",
            f"{servers.PEERS}/sse_readers.py",
            base + path,
            server.pid,
            readers,
            frames,
            *attach,
        ]
        bench.ran(f"bench/peers/sse_readers.py URL PID {readers} {frames}")
        with tempfile.TemporaryFile("w+") as complaints:
            clients = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )
            try:
                if clients.stdout.readline().strip() == "ready":
                    where, body = go
                    request = urllib.request.Request(
                        base + where,
                        json.dumps(body).encode(),
                        {"content-type": "application/json"},
                        method="POST",
                    )
                    urllib.request.urlopen(request, timeout=60).close()
                    clients.stdin.write("go\n")
                    clients.stdin.flush()
                said = clients.stdout.readline()
            finally:
                clients.kill()
                clients.wait()
            if not said:
                complaints.seek(0)
                raise Unavailable(f"the readers failed: {complaints.read().strip()[-300:]}")
            return json.loads(said)


def events(bench):
    """Server-sent events: one live session, 1,000 readers, 200-byte messages"""
    readers = bench.some(1000, 50)
    names = ["Thoughtwire, SSE", "Thoughtwire, WebSocket", "better-sse"]
    tables = []
    for title, load in (
        ("Paced: 10 messages a second", {"items": bench.some(50, 10), "bytes": 200, "rate": 10}),
        (
            "Burst: 300 messages as fast as it can",
            {"items": bench.some(300, 30), "bytes": 200, "rate": 0},
        ),
    ):
        found, absent = {name: [] for name in names}, {}
        for number in range(bench.rounds):
            for name in names:
                if name in absent:
                    continue
                bench.tell(f"  round {number + 1}: {name}, {title}")
                try:
                    found[name].append(once(bench, name, load, readers))
                except Unavailable as why:
                    absent[name] = str(why)
        rows = []
        socket = found["Thoughtwire, WebSocket"]
        own = statistics.median(each["cpu_us"] for each in socket) if socket else 0
        for name, reports in found.items():
            if not reports:
                continue
            cost = [report["cpu_us"] for report in reports]
            figures = {
                key: statistics.median(report[key] for report in reports)
                for key in ("cpu_us", "per_second", "idle_bytes")
            }
            extra = sum(report["extra"] for report in reports)
            rows.append(
                [
                    name,
                    f"{figures['cpu_us']:.2f}",
                    f"{min(cost):.2f}–{max(cost):.2f}",
                    f"{figures['cpu_us'] / own:.2f}" if own else "–",
                    f"{figures['per_second']:,.0f}",
                    f"{figures['idle_bytes'] / 1024:.1f}",
                    f"{extra} doubled" if extra else "none",
                ]
            )
        rows += [[name, "–", "", "", "", "", why] for name, why in absent.items()]
        head = [
            "server",
            "CPU µs a delivery",
            "least–most",
            "to our WebSocket",
            "deliveries/s",
            "KiB an idle reader",
            "faults",
        ]
        tables.append({"title": title, "head": head, "rows": rows})
    notes = [
        "All servers have the same readers, which count frames. Thoughtwire writes each message to "
        "disk before it delivers it; better-sse keeps nothing. The memory is that of readers that "
        "have connected and have got nothing yet.",
    ]
    return {"tables": tables, "plots": [], "notes": notes}
