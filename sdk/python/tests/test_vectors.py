"""The vectors that all languages test against: each row is read, and written the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from thoughtwire.codec import BadFrame, decode_client_frame, decode_server_frame, encode

VECTORS = Path(__file__).parents[3] / "vectors"


def rows(name: str) -> list[Any]:
    return [
        json.loads(line) for line in (VECTORS / f"{name}.jsonl").read_text().strip().split("\n")
    ]


@pytest.mark.parametrize("row", rows("native"), ids=lambda row: f"{row['from']}: {row['note']}")
def test_native_row(row: dict[str, Any]) -> None:
    def there_and_back(wire: str) -> Any:
        if row["from"] == "client":
            return json.loads(encode(decode_client_frame(wire)))
        return json.loads(encode(decode_server_frame(wire)))

    if "error" in row:
        with pytest.raises(BadFrame) as refused:
            there_and_back(row["wire"])
        assert refused.value.code == row["error"]["code"]
    else:
        assert there_and_back(row["wire"]) == row["ok"]
        assert there_and_back(json.dumps(row["ok"])) == row["ok"]


@pytest.mark.parametrize("event", rows("events"), ids=lambda event: event.get("kind", "?"))
def test_event_row(event: dict[str, Any]) -> None:
    frame = {
        "type": "event",
        "session": "s-1",
        "seq": 1,
        "at": "2026-01-01T00:00:00.000Z",
        "event": event,
    }
    assert json.loads(encode(decode_server_frame(json.dumps(frame)))) == frame
