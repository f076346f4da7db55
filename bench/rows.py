"""The measurements. Each row is a function that runs servers and returns tables and plots."""

import json
import os
import statistics
import subprocess
import tempfile
import time

import servers
from events import events
from lasting import flat, idle, resume
from measure import faults, median, ms, spread
from searching import search
from servers import SERVER_CORE
from shared import attach, nodes, postgres

# A pace that the slowest of the peers can keep on one core.
PACED = {"items": 50, "bytes": 200, "rate": 10}
BURST = {"items": 300, "bytes": 200, "rate": 0}


def compare(bench, starts, ours, notes):
    """Measures a paced load and a burst. The tables have ratios to the server named `ours`."""
    flags = ["--connections", bench.some(1000, 50)]
    tables, bars = [], []
    for title, load in (
        (f"Paced: {PACED['rate']} messages a second", PACED),
        (f"Burst: {BURST['items']} messages as fast as it can", BURST),
    ):
        reports, absent = bench.rounds_of(starts, load, *flags)
        cost = {
            name: median(found, "server", "cpu_us_per_delivery") for name, found in reports.items()
        }
        own = cost.get(ours)
        rows = []
        for name, found in reports.items():
            ratio = f"{cost[name] / own:.2f}" if own else "–"
            latency = [ms(median(found, "latency_us", key)) for key in ("p50", "p99")]
            rate = f"{median(found, 'delivered_per_second'):,.0f}"
            rows.append(
                [name, f"{cost[name]:.2f}", spread(found), ratio, rate, *latency, faults(found)]
            )
        rows += [[name, "–", "", "", "", "", "", why] for name, why in absent.items()]
        head = [
            "server",
            "CPU µs a delivery",
            "least–most",
            f"to {ours}",
            "deliveries/s",
            "p50 ms",
            "p99 ms",
            "faults",
        ]
        tables.append({"title": title, "head": head, "rows": rows})
        bars.append(
            {
                "title": title,
                "unit": "CPU µs a delivery",
                "bars": [[name, cost[name], name.startswith("Thoughtwire")] for name in cost],
            }
        )
    return {"tables": tables, "plots": bars, "notes": notes}


def fanout(bench):
    """One live session, 1,000 subscribers, 200-byte messages"""
    starts = {
        "Thoughtwire, native": servers.thoughtwire(bench.binary),
        **servers.peers(bench.limits),
    }
    return compare(
        bench,
        starts,
        "Thoughtwire, native",
        [
            "Thoughtwire writes each message to disk before it delivers it. The other servers keep "
            "messages in memory only.",
            "All servers but MemGPT's interface and FastAPI send frames of the same length and "
            "shape, those of the native wire.",
        ],
    )


def dialects(bench):
    """The same messages over the older wires"""
    peers = servers.peers(bench.limits)
    names = ["MemGPT's interface (pymemgpt 0.2.5)", "FastAPI, uvicorn"]
    starts = {
        f"Thoughtwire, {dialect}": servers.thoughtwire(bench.binary, dialect)
        for dialect in ("memgpt", "sparky")
    }
    starts |= {name: peers[name] for name in names}
    return compare(
        bench,
        starts,
        "Thoughtwire, memgpt",
        ["FastAPI stands in for Sparky's own server, whose endpoint has this structure."],
    )


def streams(bench):
    """1,000 sessions with one subscriber each, streaming deltas"""
    sessions = bench.some(1000, 50)
    flags = ["--sessions", sessions, "--deltas"]

    def measured(title, load, *more):
        starts = {title: servers.thoughtwire(bench.binary)}
        found = bench.rounds_of(starts, load, *flags, *more)[0][title]
        per_core = statistics.median(
            report["delivered"] / max(report["server"]["cpu_seconds"], 0.01) for report in found
        )
        latency = [ms(median(found, "latency_us", key)) for key in ("p50", "p99")]
        rate = median(found, "delivered_per_second")
        return rate, [
            title,
            f"{per_core:,.0f}",
            f"{rate:,.0f}",
            *latency,
            f"{median(found, 'superseded'):,.0f}",
            faults(found),
        ]

    saturation, fastest = measured("as fast as it can", {"items": 500, "bytes": 20, "rate": 0})
    rows = [fastest]
    # Spread over five seconds: sessions that begin together would send together all the time.
    begin = ["--arrivals", bench.some(200, 1000), "--timed", bench.some("6-18", "0-1")]
    for title, part in (("half of that", 2), ("a quarter of it", 4), ("a tenth of it", 10)):
        each = max(round(saturation / part / sessions), 1)
        load = {"items": each * bench.some(20, 2), "bytes": 20, "rate": each}
        rows.append(measured(f"{title}, {each} a second in each", load, *begin)[1])
    head = ["load", "deltas per CPU-second", "deltas/s", "p50 ms", "p99 ms", "superseded", "faults"]
    notes = [
        "Latency counts from the moment when a delta was due. The paced loads begin one after "
        "another within five seconds. Their latency is that of the twelve seconds in which all of "
        "them send."
    ]
    return {"tables": [{"title": "", "head": head, "rows": rows}], "plots": [], "notes": notes}


def turns(bench):
    """Turns: from `send` to `turn_ended`"""
    load = {"items": 1, "bytes": 200, "rate": 0}
    many = bench.some(1000, 50)
    rows = []
    for title, sessions, shares in (
        ("1,000 sessions, both cores shared with the generator", many, True),
        ("1,000 sessions on one core", many, False),
        ("one session alone", 1, False),
    ):
        flags = ["--sessions", sessions, "--subscribers", 1, "--seconds", bench.some(15, 2)]
        reports, _ = bench.rounds_of(
            {title: servers.thoughtwire(bench.binary, shares=shares)}, load, *flags
        )
        found = reports[title]
        latency = [ms(median(found, "turns", "latency_us", key)) for key in ("p50", "p99")]
        cost = statistics.median(
            report["server"]["cpu_seconds"] * 1e6 / max(report["turns"]["ended"], 1)
            for report in found
        )
        rows.append(
            [
                title,
                f"{cost:,.0f}",
                f"{median(found, 'turns', 'per_second'):,.0f}",
                *latency,
                faults(found),
            ]
        )
    alone = append(bench, 1)["alone_us"]
    rows.append(["one write and fdatasync of 300 bytes alone", "", "", ms(alone), "", ""])
    head = ["load", "CPU µs a turn", "turns/s", "p50 ms", "p99 ms", "faults"]
    return {
        "tables": [{"title": "", "head": head, "rows": rows}],
        "plots": [],
        "notes": [
            "A turn is one message of 200 bytes. Each session sends its next input after the turn."
        ],
    }


def append(bench, writers):
    """Measures appends with fdatasync to a plain file."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        command = [
            "taskset",
            "-c",
            SERVER_CORE,
            f"{bench.limits}/append",
            f"{folder}/log",
            str(writers),
            "300",
            "4",
        ]
        return json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )


def durable(bench):
    """Durable events: 128 sessions that write as fast as they can"""
    load = {"items": bench.some(1000, 100), "bytes": 200, "rate": 0}
    reports, _ = bench.rounds_of(
        {"Thoughtwire": servers.thoughtwire(bench.binary)},
        load,
        "--sessions",
        128,
        "--subscribers",
        1,
    )
    found = reports["Thoughtwire"]
    plain = statistics.median(append(bench, 128)["appends_per_second"] for _ in range(bench.rounds))
    rate = median(found, "delivered_per_second")
    rows = [
        [
            "Thoughtwire, each event read by one subscriber",
            f"{rate:,.0f}",
            f"{median(found, 'server', 'cpu_us_per_delivery'):.1f}",
            faults(found),
        ],
        ["append and fdatasync, 128 writers, one wait for all", f"{plain:,.0f}", "", ""],
    ]
    return {
        "tables": [
            {"title": "", "head": ["", "events/s", "CPU µs an event", "faults"], "rows": rows}
        ],
        "plots": [],
        "notes": [],
    }


def offered(bench):
    """An agent that a program offers, beside the one that is built in"""
    load = {"items": bench.some(1000, 100), "bytes": 200, "rate": 0}
    rows, costs = [], {}
    for title, *flags in (("built in",), ("offered by a program", "--offered")):
        starts = {title: servers.thoughtwire(bench.binary)}
        reports, _ = bench.rounds_of(
            starts, load, "--sessions", 16, "--subscribers", 1, "--inputs", 5, *flags
        )
        found = reports[title]
        costs[title] = median(found, "server", "cpu_us_per_delivery")
        rows.append(
            [
                title,
                f"{costs[title]:.1f}",
                f"{median(found, 'delivered_per_second'):,.0f}",
                faults(found),
            ]
        )
    rows.append(["ratio", f"{costs['offered by a program'] / costs['built in']:.2f}", "", ""])
    note = (
        "The server's CPU time for an event of 200 bytes, from the verb to one subscriber. The "
        "program runs in the generator."
    )
    return {
        "tables": [
            {"title": "", "head": ["agent", "CPU µs an event", "events/s", "faults"], "rows": rows}
        ],
        "plots": [],
        "notes": [note],
    }


def slow(bench):
    """Clients that do not read"""
    starts = {"": servers.thoughtwire(bench.binary)}
    load = {"items": bench.some(300, 40), "bytes": 1000, "rate": 20}
    kept, woken, ratios = [], [], []
    for number in range(bench.rounds):
        bench.tell(f"  round {number + 1}")
        pair = []
        for extra in ([], ["--stalled", 100, "--wake"]):
            with starts[""](load) as server:
                # Both runs have the same number of readers.
                pair.append(
                    bench.generator(
                        server, load, "--connections", 900 + (100 if extra else 0), *extra
                    )
                )
        kept.append(pair[0])
        woken.append(pair[1])
        ratios.append(
            [
                pair[1]["latency_us"][key] / max(pair[0]["latency_us"][key], 1)
                for key in ("p50", "p99")
            ]
        )
    rows = []
    for title, found in (("900 readers", kept), ("900 readers beside 100 that never read", woken)):
        latency = [ms(median(found, "latency_us", key)) for key in ("p50", "p99")]
        rows.append(
            [
                title,
                *latency,
                f"{median(found, 'server', 'cpu_us_per_delivery'):.2f}",
                faults(found),
            ]
        )
    rows.append(
        [
            "ratio, median of pairs",
            *(f"{statistics.median(column):.2f}" for column in zip(*ratios, strict=True)),
            "",
            "",
        ]
    )
    first = {
        "title": "Latency of those who read",
        "head": ["", "p50 ms", "p99 ms", "CPU µs a delivery", "faults"],
        "rows": rows,
    }

    load = {"items": bench.some(16384, 512), "bytes": 16384, "rate": 0}
    rows = []
    for title, flags in (
        ("10 that read", []),
        (
            "8 that read, 2 that read only when it is over",
            ["--stalled", 2, "--wake", "--patience", 60],
        ),
    ):
        reports, _ = bench.rounds_of(
            {title: servers.thoughtwire(bench.binary)}, load, "--connections", 10, *flags
        )
        found = reports[title]
        memory = [
            f"{median(found, 'server', key) / 2**20:.0f}"
            for key in ("rss_before", "rss_peak", "rss_after")
        ]
        cells = [title, *memory, f"{median(found, 'seconds'):.1f}"]
        if flags:
            peak = f"{median(found, 'stalled', 'rss_peak') / 2**20:.0f}"
            bad = sum(
                report["stalled"][key]
                for report in found
                for key in ("lost", "gaps", "duplicates", "disordered")
            )
            got, of = (median(found, "stalled", key) for key in ("has", "of"))
            has = f"{got:,.0f} of {of:,.0f} pieces, faults: {bad or 'none'}"
            cells += [peak, has, faults(found)]
        else:
            cells += ["", "", faults(found)]
        rows.append(cells)
    head = [
        "subscribers",
        "MiB before",
        "at most",
        "after",
        "seconds",
        "MiB at most while the two catch up",
        "the two got",
        "faults of the others",
    ]
    second = {
        "title": "256 MiB through one session: the server's memory",
        "head": head,
        "rows": rows,
    }
    return {
        "tables": [first, second],
        "plots": [],
        "notes": [
            "A stalled connection's own buffer has 4 KiB, so that the server soon has to wait."
        ],
    }


def size(bench):
    """The binary, and how long it takes to be ready on an empty directory"""
    took = []
    for _ in range(max(5, bench.rounds)):
        begun = time.monotonic()
        with servers.thoughtwire(bench.binary)(None):
            took.append((time.monotonic() - begun) * 1000)
    binary = os.path.getsize(bench.binary) / 2**20
    with tempfile.TemporaryDirectory() as folder:
        stripped = f"{folder}/stripped"
        subprocess.run(["strip", "-o", stripped, bench.binary], check=True)
        small = os.path.getsize(stripped) / 2**20
    rows = [
        ["binary, MiB", f"{binary:.1f}"],
        ["binary without symbols, MiB", f"{small:.1f}"],
        ["ready after, ms (median)", f"{statistics.median(took):.0f}"],
    ]
    return {"tables": [{"title": "", "head": ["", ""], "rows": rows}], "plots": [], "notes": []}


def codec(bench):
    """Reading and writing frames"""
    vectors = os.path.join(os.path.dirname(servers.HERE), "vectors")
    command = [
        "taskset",
        "-c",
        SERVER_CORE,
        f"{servers.DEPS}/memgpt/bin/python",
        f"{servers.PEERS}/codec.py",
        f"{vectors}/memgpt.jsonl",
    ]
    original = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(bench.rounds)
    ]
    frames = {name: recorded(f"{vectors}/{name}.jsonl") for name in ("native", "sparky")}
    frames["memgpt"] = original[0]["frames"]
    rows = []
    for dialect in ("native", "memgpt", "sparky"):
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/frames", "w") as file:
                file.writelines(f"{frame}\n" for frame in frames[dialect])
            command = [
                "taskset",
                "-c",
                SERVER_CORE,
                f"{bench.limits}/codec",
                dialect,
                f"{folder}/frames",
            ]
            found = [
                json.loads(
                    subprocess.run(command, capture_output=True, text=True, check=True).stdout
                )
                for _ in range(bench.rounds)
            ]
        rows.append([f"Thoughtwire, {dialect}", *codec_cells(found, frames[dialect])])
    rows.append(["MemGPT's own (pymemgpt 0.2.5)", *codec_cells(original, frames["memgpt"])])
    notes = [
        "In one process, on the recorded frames: text to checked frame, and frame to text. "
        "MemGPT writes with its own functions, and reads with `json.loads` alone, without a check. "
        "Both use the frames that those functions write.",
    ]
    return {
        "tables": [
            {
                "title": "",
                "head": ["", "frames", "bytes a frame", "decode, ns a frame", "encode, ns a frame"],
                "rows": rows,
            }
        ],
        "plots": [],
        "notes": notes,
    }


def recorded(path):
    """Reads the valid recorded frames of a wire, without those of several lines."""
    with open(path) as file:
        rows = [row for row in map(json.loads, file) if "wire" in row and "error" not in row]
    return [row["wire"] for row in rows if "\n" not in row["wire"]]


def codec_cells(found, frames):
    size = statistics.mean(len(frame.encode()) for frame in frames)
    costs = [
        f"{statistics.median(each[verb] for each in found):,.0f}" for verb in ("decode", "encode")
    ]
    return [f"{len(frames)}", f"{size:.0f}", *costs]


ROWS = {
    row.__name__: row
    for row in (
        fanout,
        dialects,
        events,
        streams,
        turns,
        durable,
        offered,
        idle,
        resume,
        flat,
        postgres,
        nodes,
        attach,
        codec,
        search,
        slow,
        size,
    )
}
