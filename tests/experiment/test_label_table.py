"""Whole runs that a user's own table answers: what is charged, left out, and never written."""

import sqlite3

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image
from postgres import server_url, temporary_url

import jaxlabel
from jaxlabel.errors import DataError, UsageError
from jaxlabel.experiment import run as experiment
from jaxlabel.label.project import begin
from jaxlabel.methods import representatives
from jaxlabel.oracle import LabelStore, table

QUICK = {"classifier": "dense", "steps": 3, "image_size": 8}
COLUMNS = "&id=file&label=class"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Write 24 pictures of two kinds in two folders, and return the folder."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("shop")
    for number in range(24):
        image = random.integers(0, 60, (8, 8), np.uint8)
        image[: 4 * (number % 2) or 8] += 150
        (folder / str(number % 3)).mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / str(number % 3) / f"{number:02}.png")
    return folder


def rows_of(pictures, without=()):
    files = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    return [
        (file, None if file in without else ("top", "end")[int(file[2:4]) % 2]) for file in files
    ]


def sqlite_table(path, rows, key="TEXT PRIMARY KEY"):
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE truth (file {key}, class TEXT)")
        connection.executemany("INSERT INTO truth VALUES (?, ?)", rows)
    connection.close()
    return f"sqlite:///{path}?table=truth{COLUMNS}"


def bought(workdir):
    store = LabelStore(f"sqlite:///{workdir}/labels.db")
    return [row for account in store.accounts() for row in store.ledger(account.name)]


def test_a_run_buys_from_the_table_and_leaves_out_what_has_no_label(pictures, tmp_path, capsys):
    without = {f"{number % 3}/{number:02}.png" for number in range(0, 24, 4)}
    rows = [row for row in rows_of(pictures, without) if row[0] != "1/01.png"]  # and one no row
    labels = sqlite_table(tmp_path / "truth.db", rows)
    before = (tmp_path / "truth.db").read_bytes()
    config = representatives.Config(
        **QUICK, data=f"folder:{pictures}", labels=labels, budget=12, select="random"
    )
    result = experiment.run(config, tmp_path / "run")
    assert sorted(result["classes"]) == ["end", "top"] and result["config"]["labels"] == labels
    spent = bought(tmp_path / "run")
    assert 0 < len(spent) <= 12 and result["labels_spent"] == len(spent) == result["cost"]
    truth, names = dict(rows), dict(zip(*names_of(config), strict=True))
    assert all(row.class_name == truth[names[row.item]] for row in spent)
    said = capsys.readouterr().err
    assert "the table truth of" in said and "has no label for" in said and "left out" in said
    assert (tmp_path / "truth.db").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"truth.db", "run"}


def names_of(config):
    from jaxlabel import data
    from jaxlabel.data.dataset import options_of
    from jaxlabel.experiment.label_table import picture_ids

    dataset = data.load(config.data, options_of(config))
    return dataset.train_items.tolist(), picture_ids(config.data, dataset, "path")


def test_a_table_that_does_not_match_is_refused_before_anything_is_bought(pictures, tmp_path):
    labels = sqlite_table(tmp_path / "truth.db", [("else.png", "top")])
    config = representatives.Config(**QUICK, data=f"folder:{pictures}", labels=labels, budget=5)
    with pytest.raises(UsageError, match=r"no row for any of 24 pictures, such as file = '0/00"):
        experiment.run(config, tmp_path / "run")
    assert not (tmp_path / "run/run.json").exists()
    config.labels = sqlite_table(tmp_path / "null.db", [(f, None) for f, _ in rows_of(pictures)])
    with pytest.raises(DataError, match="no label to begin with: nobody could label any of the"):
        experiment.run(config, tmp_path / "run")
    assert bought(tmp_path / "run") == []


def test_pictures_may_be_named_by_their_number_and_a_person_takes_no_table(pictures, tmp_path):
    kinds = [(number, name) for number, (_, name) in enumerate(rows_of(pictures))]
    labels = sqlite_table(tmp_path / "truth.db", kinds, key="INTEGER PRIMARY KEY")
    config = representatives.Config(
        **QUICK, data=f"folder:{pictures}", labels=f"{labels}&match=number", budget=4
    )
    assert experiment.run(config, tmp_path / "run")["labels_spent"] == 4
    truth = dict(zip(names_of(config)[0], (name for _, name in kinds), strict=True))
    assert all(row.class_name == truth[row.item] for row in bought(tmp_path / "run"))
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8), np.uint8)
    with pytest.raises(UsageError, match="have no file names: add match=number"):
        jaxlabel.fit(images, labels=labels, budget=4, preset="tiny")
    with pytest.raises(UsageError, match="leave `ask` out"):
        jaxlabel.fit(images, [0] * 12, labels=labels, budget=4)
    with pytest.raises(UsageError, match=r"that answers: call jaxlabel\.fit"):
        jaxlabel.Session(images, labels=labels, budget=4)
    with pytest.raises(UsageError, match="a table that answers: use jaxlabel train"):
        begin(config, tmp_path / "page")


def test_a_password_is_in_no_file_and_no_message(pictures, tmp_path, capsys, monkeypatch):
    user = f"u{tmp_path.name[-8:].replace('-', '').lower()}x{np.random.default_rng().integers(1e9)}"
    with temporary_url() as url:
        engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        schema = url.rpartition("%3D")[2]
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE truth (file text PRIMARY KEY, class text)"))
            connection.execute(sa.text("INSERT INTO truth VALUES (:f, :c)"),
                               [{"f": f, "c": c} for f, c in rows_of(pictures)])  # fmt: skip
            connection.execute(sa.text(f"CREATE ROLE {user} LOGIN PASSWORD 's3cret-word'"))
            connection.execute(sa.text(f"GRANT USAGE ON SCHEMA {schema} TO {user}"))
        try:
            place = sa.make_url(server_url()).set(username=user, password="s3cret-word")
            labels = f"{place.render_as_string(False)}?table={schema}.truth{COLUMNS}"
            monkeypatch.setattr("sys.argv", ["jaxlabel", f"--config.labels={labels}"])
            config = representatives.Config(
                **QUICK, data=f"folder:{pictures}", labels=labels, budget=6
            )
            with pytest.raises(jaxlabel.errors.StoreError, match="grant this user the right") as no:
                experiment.run(config, tmp_path / "run")
            with engine.begin() as connection:
                connection.execute(sa.text(f"GRANT SELECT ON truth TO {user}"))
            result = experiment.run(config, tmp_path / "run")
        finally:
            with engine.begin() as connection:
                connection.execute(sa.text(f"DROP OWNED BY {user}"))
                connection.execute(sa.text(f"DROP ROLE {user}"))
            engine.dispose()
    assert len(bought(tmp_path / "run")) == result["labels_spent"] > 0
    written = b"".join(
        path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()
    )
    said = str(no.value) + "".join(capsys.readouterr())
    assert b"s3cret" not in written and "s3cret" not in said and b":***@" in written


@pytest.mark.parametrize("buys", [False, True])
def test_a_class_that_another_run_adds_meanwhile_starts_the_run_again(
    pictures, tmp_path, monkeypatch, capsys, buys
):
    labels = sqlite_table(tmp_path / "truth.db", rows_of(pictures))
    store, read, calls = LabelStore(f"sqlite:///{tmp_path}/store.db"), table.read_labels, []

    def read_labels(source, ids):
        """Store the same labels as another run, before this run stores them or buys them."""
        found = read(source, ids)
        if not calls:
            items = [item_of[one] for one in found]
            store.add_named(store.account("team").label_set, items, list(found.values()))
            if buys:
                store.buy("team", items, purpose="train", round=0, asked_by="another run")
        calls.append(ids)
        return found

    config = representatives.Config(
        **QUICK, data=f"folder:{pictures}", labels=labels, budget=6, select="random",
        store=f"sqlite:///{tmp_path}/store.db", account="team",
    )  # fmt: skip
    items, ids = names_of(config)
    item_of = dict(zip(ids, items, strict=True))
    monkeypatch.setattr(table, "read_labels", read_labels)
    result = experiment.run(config, tmp_path / "run")
    assert sorted(result["classes"]) == ["end", "top"]
    assert "2 classes are known now" in capsys.readouterr().err
