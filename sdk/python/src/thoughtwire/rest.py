"""The server's REST API, for requests that the native wire does not have."""

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

#: Time limit of a request, in seconds.
_TIMEOUT = 60.0


class Rest:
    """Sends requests to one server, each on a thread so that the event loop is not blocked."""

    def __init__(self, address: Address) -> None:
        self._address = address
        proxies = ProxyHandler({}) if address.is_local else ProxyHandler()
        self._opener: OpenerDirector = build_opener(proxies, HTTPHandler(), HTTPSHandler())

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, object] | None = None,
    ) -> Any:
        """Sends a request. Returns the parsed answer, or None for an empty one.

        :raises RefusedError: when the server refuses the request.
        :raises OSError: when the server cannot be reached.
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
        request = Request(url, content, headers, method=method)
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                text = answer.read()
        except HTTPError as error:
            raise self._refused(error) from None
        return json.loads(text) if text else None

    def _refused(self, error: HTTPError) -> RefusedError:
        with error:
            text = error.read().decode(errors="replace")
        # A body that is not a refusal may be a proxy's error page.
        code, reason = refusal(text) or (f"http_{error.code}", text[:200] or error.reason)
        if error.code == 401:
            reason = self._address.explain_unauthorized(reason)
        return RefusedError(code, reason, retry="Retry-After" in error.headers)


def path_segment(name: str) -> str:
    """Quotes a name as one segment of a path."""
    return quote(name, safe="")


def refusal(body: str) -> tuple[str, str] | None:
    """Returns the code and the reason in a refusal's body, or None for another body.

    >>> refusal('{"error":{"code":"unauthorized","reason":"the key is not known here"}}')
    ('unauthorized', 'the key is not known here')
    """
    try:
        error = json.loads(body)["error"]
        return str(error["code"]), str(error["reason"])
    except (ValueError, TypeError, KeyError):
        return None
