"""Fixtures that several test files share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import temporary_url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty label store: a SQLite file, and a schema of a PostgreSQL server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'labels.db'}"
    else:
        with temporary_url() as url:
            yield url
