"""Measures searches in an agent's notes, alone and beside another agent's."""

import json
import os
import random
import statistics
import struct
import tempfile
import time
import urllib.parse

import servers
from measure import call, resident

# Numbers of a vector, as many as small embedding models make.
DIMENSIONS = 384
VOCABULARY = 5_000
WORDS_OF_A_NOTE = 20
PART = 1_000


def search(bench):
    """Searches in 100 and 100,000 notes, alone and beside another agent's 100,000 notes"""
    few, many = 100, bench.some(100_000, 1_000)
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_DIR")) as model:
        words = vocabulary()
        write_model(model, words)
        for own, foreign in ((few, 0), (few, many), (many, 0), (many, many)):
            rows.append(searched(bench, model, words, own, foreign))
    head = [
        "notes",
        "another agent's notes",
        "words: p50 ms",
        "p99 ms",
        "words and meaning: p50 ms",
        "p99 ms",
        "first search, s",
        "MiB resident",
    ]
    notes = [
        f"A note has {WORDS_OF_A_NOTE} of {VOCABULARY:,} words, some of them far more often than "
        f"others, and a vector of {DIMENSIONS} numbers. A question has four words. Times are those "
        "of a REST request, with the vector of the question. The first search makes the agent's "
        "index.",
    ]
    return {"tables": [{"title": "", "head": head, "rows": rows}], "plots": [], "notes": notes}


def searched(bench, model, words, own, foreign):
    """Measures one agent's searches."""
    bench.tell(f"  {own:,} notes beside {foreign:,}")
    settings = {"THOUGHTWIRE_EMBEDDING": f"local:{model}"}
    start = servers.thoughtwire(bench.binary, settings=settings)
    with start(None) as server:
        for name, count in (("own", own), ("foreign", foreign)):
            call(server, "POST", "/v1/agents", {"name": name})
            fill(server, name, count, words)
        while any(
            call(server, "GET", f"/v1/agents/{name}")["memory"]["unembedded"]
            for name in ("own", "foreign")
        ):
            time.sleep(0.2)
        if foreign:
            find(server, "foreign", words[0])
        first = find(server, "own", words[0])
        both = [find(server, "own", question(words)) for _ in range(bench.some(300, 10))]
        memory = resident(server.pid) / (1 << 20)
    start = servers.thoughtwire(bench.binary)
    with start(None) as server:
        for name, count in (("own", own), ("foreign", foreign)):
            call(server, "POST", "/v1/agents", {"name": name})
            fill(server, name, count, words)
        find(server, "own", words[0])
        alone = [find(server, "own", question(words)) for _ in range(bench.some(300, 10))]
    return [
        f"{own:,}",
        f"{foreign:,}",
        *percentiles(alone),
        *percentiles(both),
        f"{first:.2f}",
        f"{memory:,.0f}",
    ]


def fill(server, agent, count, words):
    """Adds notes to an agent."""
    for at in range(0, count, PART):
        texts = [text(words, WORDS_OF_A_NOTE) for _ in range(min(PART, count - at))]
        notes = {"notes": [{"text": one} for one in texts]}
        call(server, "POST", f"/v1/agents/{agent}/archival", notes)


def find(server, agent, words):
    """Searches, and returns the seconds that it took."""
    begun = time.monotonic()
    query = urllib.parse.urlencode({"query": words})
    call(server, "GET", f"/v1/agents/{agent}/archival?{query}")
    return time.monotonic() - begun


def percentiles(seconds):
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return [f"{cuts[at] * 1000:.1f}" for at in (49, 98)]


def text(words, count):
    """Returns words, the first of the vocabulary more often."""
    return " ".join(words[int(random.random() ** 3 * len(words))] for _ in range(count))


def question(words):
    return " ".join(random.sample(words[50:], 4))


def vocabulary():
    """Returns words of two to four syllables."""
    random.seed(7)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    found = {}
    while len(found) < VOCABULARY:
        found["".join(random.choices(syllables, k=random.randint(2, 4)))] = None
    return list(found)


def write_model(folder, words):
    """Writes a Model2Vec model with a random vector for each word."""
    tokens = {"[UNK]": 0} | {word: at + 1 for at, word in enumerate(words)}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": tokens, "unk_token": "[UNK]"},
    }
    with open(f"{folder}/tokenizer.json", "w") as file:
        json.dump(tokenizer, file)
    with open(f"{folder}/config.json", "w") as file:
        json.dump({"normalize": True}, file)
    count = len(tokens) * DIMENSIONS
    numbers = struct.pack(f"<{count}f", *(random.gauss(0, 1) for _ in range(count)))
    tensor = {
        "dtype": "F32",
        "shape": [len(tokens), DIMENSIONS],
        "data_offsets": [0, len(numbers)],
    }
    header = json.dumps({"embeddings": tensor}).encode()
    with open(f"{folder}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + numbers)
