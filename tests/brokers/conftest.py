"""What tests of engines ask for: a place for a store, and a way to hold the one that writes it."""

from pathlib import Path

import pytest

from tests.brokers.stores import Gate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)
