"""Where a server is, and what it is shown."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

_WIRE = "/v1/ws"
_DEFAULT = "http://127.0.0.1:8282"
_SCHEMES = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}


@dataclass(frozen=True)
class Address:
    """A server's place and the key for it.

    >>> at = Address.of("https://example.org/wire", key="tw-secret")
    >>> at.wire, at.rest
    ('wss://example.org/wire/v1/ws', 'https://example.org/wire')
    >>> Address.of("ws://127.0.0.1:8282/v1/ws").rest
    'http://127.0.0.1:8282'
    """

    wire: str
    rest: str
    key: str | None = field(repr=False)

    @classmethod
    def of(cls, url: str | None = None, key: str | None = None) -> "Address":
        """Reads a server's URL, with or without the path of its native wire.

        What is not given comes from ``THOUGHTWIRE_URL`` and ``THOUGHTWIRE_KEY``; the last resort is the
        server of this machine.

        :raises ValueError: when it is no URL of the schemes http, https, ws or wss.
        """
        url = url or os.environ.get("THOUGHTWIRE_URL") or _DEFAULT
        parts = urlsplit(url)
        scheme = _SCHEMES.get(parts.scheme)
        if scheme is None or not parts.netloc:
            raise ValueError(f"{url!r} is no server's URL; it looks like {_DEFAULT}")
        path = parts.path.rstrip("/").removesuffix(_WIRE)
        return cls(
            wire=urlunsplit((scheme, parts.netloc, path + _WIRE, "", "")),
            rest=urlunsplit((scheme.replace("ws", "http"), parts.netloc, path, "", "")),
            key=key or os.environ.get("THOUGHTWIRE_KEY") or None,
        )

    @property
    def is_here(self) -> bool:
        """Whether it is this machine's own, where no proxy stands in between."""
        return urlsplit(self.rest).hostname in ("127.0.0.1", "localhost", "::1")

    def no_entry(self, reason: str) -> str:
        """Why a server does not let us in, and what to do."""
        return reason if self.key else "this server wants a key: set THOUGHTWIRE_KEY or pass key=…"

    @property
    def headers(self) -> dict[str, str]:
        """What every request bears."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}
