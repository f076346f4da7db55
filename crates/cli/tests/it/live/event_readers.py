"""Reads a stream of events with the usual HTTP libraries, until an id has come."""

import asyncio
import sys

import aiohttp
import httpx
import requests

url, last = sys.argv[1:]
ACCEPT = {"accept": "text/event-stream"}


def ids(lines):
    """Returns the ids up to the last one."""
    found = []
    for line in lines:
        text = line if isinstance(line, str) else line.decode()
        if text.startswith("id: "):
            found.append(text[4:].strip())
            if found[-1] == last:
                return found
    raise AssertionError(f"the stream ended after {found[-1:]}")


def by_requests():
    with requests.get(url, headers=ACCEPT, stream=True, timeout=30) as answer:
        return answer.headers, ids(answer.iter_lines(chunk_size=1))


def by_httpx():
    with httpx.stream("GET", url, headers=ACCEPT, timeout=30) as answer:
        return answer.headers, ids(answer.iter_lines())


async def by_aiohttp():
    async with aiohttp.ClientSession() as session, session.get(url, headers=ACCEPT) as answer:
        lines = []
        async with asyncio.timeout(30):
            async for line in answer.content:
                lines.append(line)
                if line.decode().strip() == f"id: {last}":
                    break
        return answer.headers, ids(lines)


for headers, found in (by_requests(), by_httpx(), asyncio.run(by_aiohttp())):
    assert headers["content-encoding"] == "gzip", headers
    seqs = [int(name.rsplit(":", 1)[1]) for name in found]
    assert seqs == list(range(1, seqs[-1] + 1)), seqs
print("ok")
