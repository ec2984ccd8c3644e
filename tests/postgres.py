"""Temporary schemas on a PostgreSQL server for tests, if there is a server."""

import contextlib
import os
import uuid
from collections.abc import Iterator

import pytest

VARIABLE = "JAXLABEL_TEST_POSTGRES"
HOW = f'no PostgreSQL server: export {VARIABLE}="$(.ci/postgres.sh)" and test again'


def server_url() -> str:
    """Return the server's URL, or skip the test if there is no server."""
    url = os.environ.get(VARIABLE, "")
    if not url:
        pytest.skip(HOW)
    return url


@contextlib.contextmanager
def temporary_url() -> Iterator[str]:
    """Create a new schema, yield the server's URL with this schema, and drop the schema."""
    import psycopg

    url, name = server_url(), f"test_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        try:
            yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
        finally:
            connection.execute(f"DROP SCHEMA {name} CASCADE")
