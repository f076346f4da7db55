"""The server's REST, for what the native wire does not have."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import (
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from .address import Address
from .errors import RefusedError

_WITHIN = 60.0


class Rest:
    """Requests to one server, each on a thread so that nobody waits for it in the loop."""

    def __init__(self, address: Address) -> None:
        self._address = address
        proxies = ProxyHandler({}) if address.is_here else ProxyHandler()
        self._opener: OpenerDirector = build_opener(proxies, HTTPHandler(), HTTPSHandler())

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, object] | None = None,
    ) -> Any:
        """Gives the parsed answer; nothing when there is none.

        :raises RefusedError: when the server says no.
        :raises OSError: when it cannot be reached.
        """
        return await asyncio.to_thread(self._ask, method, path, body, query or {})

    def _ask(self, method: str, path: str, body: object, query: Mapping[str, object]) -> Any:
        asked = urlencode({key: value for key, value in query.items() if value is not None})
        headers = dict(self._address.headers)
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        url = f"{self._address.rest}{path}{'?' if asked else ''}{asked}"
        try:
            with self._opener.open(
                Request(url, content, headers, method=method), timeout=_WITHIN
            ) as answer:
                text = answer.read()
        except HTTPError as error:
            raise self._refused(error) from None
        return json.loads(text) if text else None

    def _refused(self, error: HTTPError) -> RefusedError:
        with error:
            text = error.read().decode(errors="replace")
        # What is no refusal may be a proxy's page.
        code, reason = refusal(text) or (f"http_{error.code}", text[:200] or error.reason)
        if error.code == 401:
            reason = self._address.no_entry(reason)
        return RefusedError(code, reason, retry="Retry-After" in error.headers)


def part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def refusal(body: str) -> tuple[str, str] | None:
    """The code and the sentence of a refusal, as the server answers a request with it.

    >>> refusal('{"error":{"code":"unauthorized","reason":"the key is not known here"}}')
    ('unauthorized', 'the key is not known here')
    """
    try:
        no = json.loads(body)["error"]
        return str(no["code"]), str(no["reason"])
    except (ValueError, TypeError, KeyError):
        return None
