"""A server's address, and the key to show there."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

_WIRE = "/v1/ws"
_DEFAULT = "http://127.0.0.1:8282"
_SCHEMES = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}


@dataclass(frozen=True)
class Address:
    """A server's URLs, and the key for it.

    >>> at = Address.of("https://example.org/wire", key="tw-secret")
    >>> at.wire, at.rest
    ('wss://example.org/wire/v1/ws', 'https://example.org/wire')
    >>> Address.of("ws://127.0.0.1:8282/v1/ws").rest
    'http://127.0.0.1:8282'
    """

    #: The URL of the native wire.
    wire: str
    #: The base URL of REST.
    rest: str
    key: str | None = field(repr=False)

    @classmethod
    def of(cls, url: str | None = None, key: str | None = None) -> "Address":
        """Reads a server's URL, with or without the path of its native wire.

        Missing arguments come from ``THOUGHTWIRE_URL`` and ``THOUGHTWIRE_KEY``. The default is a
        server on this machine.

        :raises ValueError: when the URL's scheme is not http, https, ws or wss.
        """
        url = url or os.environ.get("THOUGHTWIRE_URL") or _DEFAULT
        parts = urlsplit(url)
        scheme = _SCHEMES.get(parts.scheme)
        if scheme is None or not parts.netloc:
            raise ValueError(f"{url!r} is not a server's URL; a valid one is {_DEFAULT}")
        path = parts.path.rstrip("/").removesuffix(_WIRE)
        return cls(
            wire=urlunsplit((scheme, parts.netloc, path + _WIRE, "", "")),
            rest=urlunsplit((scheme.replace("ws", "http"), parts.netloc, path, "", "")),
            key=key or os.environ.get("THOUGHTWIRE_KEY") or None,
        )

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, so that no proxy is needed."""
        return urlsplit(self.rest).hostname in ("127.0.0.1", "localhost", "::1")

    def explain_unauthorized(self, reason: str) -> str:
        """Explains why a server refuses our credentials, and what to do."""
        return reason if self.key else "this server wants a key: set THOUGHTWIRE_KEY or pass key=…"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}
