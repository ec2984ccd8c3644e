"""A user's own table of labels is only read, and every fault of it is one line."""

import uuid
from urllib.parse import quote_plus

import psycopg
import pytest
import sqlalchemy as sa
from postgres import server_url, temporary_url

from jaxlabel.errors import DataError, JaxlabelError, StoreError, UsageError
from jaxlabel.oracle.table import has_rows, open_table, read_labels

ROWS = [("a.png", "cat"), ("b/a.png", "dog"), ("it's \"odd\".png", " Oil  tank"), ("null", None),
        ("blank", "  "), ("twice", "cat"), ("twice", "cat"), ("both", "cat"), ("both", "dog"),
        ("long", "x" * 201)]  # fmt: skip
NAME, KEY, LABEL = 'my "labels"; DROP TABLE x', "pic id", "select"


def make(url, name, rows, *types, key=KEY, label=LABEL, indexed=True):
    """Create a table with two columns and these rows in the database of a URL."""
    engine = sa.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool
    )
    kinds = types or (sa.Text, sa.Text)
    table = sa.Table(name, sa.MetaData(), sa.Column(key, kinds[0], index=indexed),
                     sa.Column(label, kinds[1]))  # fmt: skip
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(sa.insert(table), [{key: i, label: value} for i, value in rows])


def address(url, table=NAME, id=KEY, label=LABEL, more=""):
    names = "&".join(f"{part}={quote_plus(name)}" for part, name in
                     (("table", table), ("id", id), ("label", label)))  # fmt: skip
    return f"{url}{'&' if '?' in url else '?'}{names}{more}"


@pytest.fixture
def opened():
    """A function like open_table; its tables are closed after the test."""
    tables = []
    yield lambda url: tables.append(open_table(url)) or tables[-1]
    for table in tables:
        table.close()


def refusal(url, kind=JaxlabelError):
    with pytest.raises(kind) as error:
        open_table(url)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    return str(error.value)


def test_a_batch_is_one_select_and_names_are_quoted(store_url, opened):
    make(store_url, NAME, ROWS)
    table = opened(address(store_url))
    statements = []

    @sa.event.listens_for(table.engine, "before_cursor_execute")
    def note(_connection, _cursor, text, values, _context, _many):
        statements.append((text, values))

    ids = ["a.png", "b/a.png", 'it\'s "odd".png', "null", "blank", "none", "twice"]
    assert read_labels(table, ids) == {
        "a.png": "cat", "b/a.png": "dog", "it's \"odd\".png": "Oil tank", "twice": "cat"
    }  # fmt: skip
    ((text, values),) = statements
    assert text.startswith("SELECT") and "odd" not in text and "odd" in str(values)
    assert has_rows(table, ["none", "null"]) and not has_rows(table, ["none", "' OR 1=1 --"])
    with pytest.raises(DataError, match="labels 'cat' and 'dog' for the pic id 'both'"):
        read_labels(table, ["both"])
    with pytest.raises(DataError, match="the label of the pic id 'long' is no class name"):
        read_labels(table, ["a.png", "long"])
    assert table.is_indexed and table.match == "path"


def test_nothing_can_be_written(store_url, opened):
    make(store_url, NAME, ROWS, indexed=False)
    table = opened(address(store_url))
    assert not table.is_indexed
    for change in (sa.delete(table.source), sa.text("CREATE TABLE made_by_us (x INTEGER)")):
        with pytest.raises(sa.exc.SQLAlchemyError, match=r"read-?only"), table.engine.begin() as c:
            c.execute(change)
    assert read_labels(table, ["a.png"]) == {"a.png": "cat"}


def test_ids_may_be_numbers_and_labels_too(store_url, opened):
    make(store_url, "n", [(7, 3), (8, 4), (9, None)], sa.SmallInteger, sa.BigInteger)
    table = opened(address(store_url, "n", more="&match=stem"))
    ids = ["007", "8", "9", "10", "photo", "1_0", "9" * 30]
    assert read_labels(table, ids) == {"007": "3", "8": "4"} and table.match == "stem"


def test_what_is_missing_is_named_in_one_line(store_url):
    make(store_url, "labels", [("a", "cat")])
    assert "no table 'label' (did you mean labels?)" in refusal(address(store_url, "label"))
    assert "has no column 'ID', but pic id, select" in refusal(
        address(store_url, "labels", id="ID")
    )
    make(store_url, "dates", [(None, "cat")], sa.Date, sa.Text)
    assert "pic id is of type DATE: take one of text" in refusal(address(store_url, "dates"))
    for wrong in ("labels.csv", "mysql://h/d?table=a&id=b&label=c", "a:/:b@", "sqlite://?table=a"):
        assert "write postgresql://" in refusal(wrong, UsageError)
    assert "says no label" in refusal("sqlite:///a.db?table=a&id=b")
    assert "or more than one" in refusal("sqlite:///a.db?table=a&id=b&id=c&label=d")
    assert "takes one of path, stem" in refusal(address(store_url, more="&match=name"))


def test_no_file_is_made_of_a_missing_one(tmp_path):
    url = address(f"sqlite:///{tmp_path}/none.db")
    assert "none.db: unable to open" in refusal(url, StoreError)
    (tmp_path / "none.db").write_text("no database, " * 100)
    assert "not a database; name a SQLite file" in refusal(url, StoreError)
    assert [path.name for path in tmp_path.iterdir()] == ["none.db"]


def test_a_server_without_the_user_or_gone_is_one_line():
    url = sa.make_url(server_url())
    wrong = url.set(password="guess7").render_as_string(hide_password=False)
    text = refusal(address(wrong), StoreError)
    assert "correct the user and the password" in text and "guess7" not in text
    assert "is the server running" in refusal(address("postgresql://a:b@127.0.0.1:1/x"), StoreError)
    nowhere = url.set(database="nowhere").render_as_string(hide_password=False)
    assert '"nowhere" does not exist; correct the database' in refusal(address(nowhere), StoreError)


def test_postgresql_uuids_and_schemas(opened):
    with temporary_url() as url:
        one = uuid.uuid4()
        make(url, "u", [(one, "cat")], sa.Uuid, sa.String(20))
        schema = url.rpartition("%3D")[2]
        table = opened(address(server_url(), f"{schema}.u"))
        assert read_labels(table, [str(one), "no uuid"]) == {str(one): "cat"}
        make(url, "v", [("abcdef", "cat")], sa.String(8), sa.Text)
        table = opened(address(url, "v"))  # a longer id is not cut to the column's length
        assert read_labels(table, ["abcdef", "abcdefghi"]) == {"abcdef": "cat"}


def test_a_connection_that_the_server_has_closed_is_opened_again(opened):
    with temporary_url() as url:
        make(url, "labels", [("a", "cat")])
        table = opened(address(url, "labels"))
        with table.engine.connect() as connection:
            pid = connection.connection.dbapi_connection.info.backend_pid
        with psycopg.connect(server_url(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        assert read_labels(table, ["a"]) == {"a": "cat"}


def test_ids_that_the_database_finds_equal_are_matched(tmp_path, opened):
    url = f"sqlite:///{tmp_path / 'truth.db'}"
    rows = [("Cat1.PNG", "cat"), ("b.png ", "dog")]
    make(url, "truth", rows, sa.Text(collation="NOCASE"), sa.Text, key="file", label="class")
    table = opened(address(url, "truth", "file", "class"))
    assert read_labels(table, ["cat1.png"]) == {"cat1.png": "cat"}
    assert read_labels(table, ["Cat1.PNG", "gone.png"]) == {"Cat1.PNG": "cat"}
