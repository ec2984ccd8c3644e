"""Archives, shards and tables give the same images as the folder that they were made of."""

import csv
import io
import json
import struct
import tarfile
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.data import archive, tables
from jaxlabel.data.dataset import Options
from jaxlabel.errors import DataError

LABELLED = Options(folder_labels=True)


def png(number):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two classes, train and test, and files that are no pictures."""
    root = tmp_path_factory.mktemp("pictures") / "pets"
    for number in range(9):
        split = "test" if number >= 6 else "train"
        place = root / split / ("cat" if number % 2 else "dog") / f"{8 - number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png(number))
    (root / "train" / "cat" / "notes.txt").write_text("no picture")
    return root


def zipped(folder, out, top):
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(folder.parent if top else folder))
    return f"zip:{out}"


def tarred(folder, out, top):
    with tarfile.open(out, "w:gz") as archive:
        archive.add(folder, folder.name if top else ".")
    return f"tar:{out}"


def files_of(folder):
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    return [(path.parts[0], path.parts[1], folder / path) for path in paths]


def as_csv(folder, out, top):
    with out.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Path", "Label", "split"])
        writer.writerows((path, label, split) for split, label, path in files_of(folder))
    return f"csv:{out}"


def as_parquet(folder, out, top):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"image": {"bytes": path.read_bytes(), "path": path.name} if top else str(path),
             "label": label, "split": split}
            for split, label, path in files_of(folder)]  # fmt: skip
    parquet.write_table(arrow.Table.from_pylist(rows), out)
    return f"parquet:{out}"


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("write", [zipped, tarred, as_csv, as_parquet])
def test_a_copy_gives_the_images_and_labels_of_the_folder(write, top, folder, tmp_path):
    spec, wanted = write(folder, tmp_path / "pets.x", top), f"folder:{folder}"
    read, original = data.load(spec, LABELLED), data.load(wanted, LABELLED)
    assert read.train_items.tolist() == original.train_items.tolist()
    assert np.array_equal(read.train_images, original.train_images)
    assert np.array_equal(read.test_images, original.test_images)
    assert read.classes == original.classes == ("cat", "dog")
    assert data.has_labels(spec, LABELLED)
    for load in (data.load_train_labels, data.load_test_labels):
        assert load(spec, LABELLED).tolist() == load(wanted, LABELLED).tolist()
    assert len(read.paths) == 6 and str(tmp_path) in read.paths[0]


def test_the_labels_of_an_archive_are_used_only_if_asked_for(folder, tmp_path):
    spec = zipped(folder, tmp_path / "pets.zip", True)
    plain = data.load(spec)
    assert plain.name == "pets" and plain.classes == () and not data.has_labels(spec)
    with pytest.raises(DataError, match="has no labels"):
        data.load_train_labels(spec)


@pytest.mark.parametrize("names", [
    ["train/a/0", "val/b/1", "test/a/2"], ["Train/a/0", "Test/b/1"], ["train/0", "bus/1", "test/2"],
    ["0", "1", "test/2"], ["0", "Training/a/1"],
])  # fmt: skip
@pytest.mark.parametrize("write", [zipped, tarred])
def test_the_folders_of_an_archive_are_splits_if_they_are_in_a_folder(write, names, tmp_path):
    for number, name in enumerate(names):
        path = tmp_path / "pets" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    spec = write(tmp_path / "pets", tmp_path / "pets.x", False)
    read, wanted = data.load(spec), data.load(f"folder:{tmp_path / 'pets'}")
    assert read.train_items.tolist() == wanted.train_items.tolist()
    assert len(read.test_images) == len(wanted.test_images)
    beside = {"train", "bus", "test"} <= {name.partition("/")[0] for name in names}
    assert ("test/, train/ beside bus/: taken as sub-folders" in " ".join(read.notes)) == beside
    if all("/" in name for name in names):
        assert data.load(spec, LABELLED).classes == (
            data.load(f"folder:{tmp_path / 'pets'}", LABELLED).classes
        )


def test_one_folder_of_pictures_in_an_archive_is_a_class(tmp_path):
    for number in range(2):
        (tmp_path / "cat").mkdir(exist_ok=True)
        (tmp_path / "cat" / f"{number}.png").write_bytes(png(number))
    spec = tarred(tmp_path / "cat", tmp_path / "cat.tgz", True)
    assert data.load(spec, LABELLED).classes == ("cat",)


def test_webdataset_shards_are_read_in_order(tmp_path):
    for shard in range(2):
        with tarfile.open(tmp_path / f"part-{shard:03d}.tar", "w") as archive:
            for number in range(3):
                key = f"{shard}{number:03d}"
                files = {"png": png(3 * shard + number), "json": json.dumps({"a": 1}).encode(),
                         "cls": str(11 - number).encode()}  # fmt: skip
                for ending, content in files.items():
                    entry = tarfile.TarInfo(f"{key}.{ending}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    for pattern in ("part-{000..001}.tar", "part-*.tar"):
        spec = f"webdataset:{tmp_path / pattern}"
        read = data.load(spec)
        wanted = [np.asarray(Image.open(io.BytesIO(png(number)))) for number in range(6)]
        assert np.array_equal(read.train_images, np.stack(wanted))
        assert read.classes == ("9", "10", "11") and data.has_labels(spec)
        assert data.load_train_labels(spec).tolist() == [2, 1, 0, 2, 1, 0]
    (tmp_path / "part [x].tar").write_bytes((tmp_path / "part-001.tar").read_bytes())
    assert len(data.load(f"webdataset:{tmp_path / 'part [x].tar'}").train_images) == 3
    for name in ("other-*.tar", "part-{000..002}.tar"):
        assert "there is no such file: " in refusal(f"webdataset:{tmp_path / name}")
    for name in ("part-{001..000}.tar", "part-{0..999999999999}.tar"):
        assert "the range {" in refusal(f"webdataset:{tmp_path / name}")


@pytest.mark.parametrize(("ending", "content"), [
    ("cls", b" \n"), ("json", b'{"label": null}'), ("json", b'{"label": ""}'),
])  # fmt: skip
def test_an_empty_label_in_a_shard_is_no_label(ending, content, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, held in (("0.png", png(0)), (f"0.{ending}", content)):
            entry = tarfile.TarInfo(name)
            entry.size = len(held)
            archive.addfile(entry, io.BytesIO(held))
    read = data.load(f"webdataset:{tmp_path / 'a.tar'}")
    assert read.classes == () and not data.has_labels(f"webdataset:{tmp_path / 'a.tar'}")


def test_a_dataset_of_hugging_face_is_read_from_disk(folder, tmp_path):
    import subprocess
    import sys

    if subprocess.run([sys.executable, "-c", "import datasets"], capture_output=True).returncode:
        pytest.skip("needs Hugging Face's datasets")
    script = """
import sys, datasets
from jaxlabel import data
folder, out = sys.argv[1:]
datasets.load_dataset("imagefolder", data_dir=folder, cache_dir=out + "/c").save_to_disk(out + "/d")
from jaxlabel.data.dataset import Options
read, wanted = data.load(f"hf:{out}/d"), data.load(f"folder:{folder}", Options(folder_labels=True))
assert sorted(read.train_items.tolist()) == sorted(wanted.train_items.tolist())
assert read.classes == ("cat", "dog") and len(read.test_images) == 3
names = dict(zip(read.train_items.tolist(), data.load_train_labels(f"hf:{out}/d").tolist()))
labels = data.load_train_labels(f"folder:{folder}", Options(folder_labels=True)).tolist()
assert names == dict(zip(wanted.train_items.tolist(), labels))
"""
    done = subprocess.run([sys.executable, "-c", script, folder, tmp_path], capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]


def test_the_training_part_of_a_hugging_face_dataset_says_whether_it_has_labels(monkeypatch):
    kinds = {name: type(name, (), {})() for name in ("Image", "ClassLabel")}

    class Part:
        def __init__(self, **columns):
            self.features = {name: kinds[kind] for name, kind in columns.items()}

    parts = {"test": Part(image="Image"), "train": Part(image="Image", label="ClassLabel")}
    monkeypatch.setattr(tables, "_load_hub", lambda location: parts)
    assert data.has_labels("hf:pets")
    monkeypatch.setattr(tables, "_load_hub", lambda location: {"validation": parts["test"]})
    assert not data.has_labels("hf:pets")


def refusal(spec):
    """Return the message with which a data set is refused within two seconds of processor time."""
    start = time.process_time()
    with pytest.raises(DataError) as error:
        data.load(spec)
    assert time.process_time() - start < 2 and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name", ["../x.png", "/etc/x.png", "a/../../x.png", "C:/x.png", "..\\x.png"]
)
def test_names_outside_of_the_archive_are_refused(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("ok.png", png(0))
        archive.writestr(name, png(1))
    assert "outside of its own folder" in refusal(f"zip:{tmp_path / 'a.zip'}")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(png(1))
        archive.addfile(entry, io.BytesIO(png(1)))
    assert "outside of its own folder" in refusal(f"tar:{tmp_path / 'a.tar'}")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("x.png")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    assert "is a link or a device" in refusal(f"tar:{tmp_path / 'a.tar'}")


def test_bombs_are_refused(tmp_path):
    zeros = bytes(300 << 20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("x.png", zeros)
    assert "unpacks to far more than it is" in refusal(f"zip:{tmp_path / 'a.zip'}")
    with tarfile.open(tmp_path / "a.tgz", "w:gz", compresslevel=1) as archive:
        entry = tarfile.TarInfo("x.png")
        entry.size = len(zeros)
        archive.addfile(entry, io.BytesIO(zeros))
    assert "unpacks to far more than it is" in refusal(f"tar:{tmp_path / 'a.tgz'}")


def test_a_million_empty_entries_are_refused(tmp_path, monkeypatch):
    header = tarfile.TarInfo("x.txt").tobuf()
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with (tmp_path / "a.tgz").open("wb") as file:
        for _ in range(100):
            file.write(packer.compress(header * 10_000))
        file.write(packer.flush())
    assert "entries without an image" in refusal(f"tar:{tmp_path / 'a.tgz'}")
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[20] * 2, *[0] * 7, 1, *[0] * 6) + b"x"
    entries = 1_000_000
    start = struct.pack("<4s5HLLL2H", b"PK\3\4", 20, *[0] * 7, 1, 0) + b"x"
    directory = entry * entries
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries,
                         len(directory), len(start))  # fmt: skip
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(start) + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "a.zip").write_bytes(start + directory + record + locator + end)
    assert "has 1,000,000 entries, more than 500,000" in refusal(f"zip:{tmp_path / 'a.zip'}")
    assert archive._count_zip_entries(tmp_path / "a.zip") == entries


def test_damaged_archives_are_named_in_one_line(folder, tmp_path):
    spec = zipped(folder, tmp_path / "a.zip", True)
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content[: len(content) // 2])
    assert "cannot be read" in refusal(spec)
    (tmp_path / "a.tar").write_bytes(content)
    assert "cannot be read" in refusal(f"tar:{tmp_path / 'a.tar'}")
    assert "there is no such file" in refusal(f"zip:{tmp_path / 'b.zip'}")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as made:
        made.writestr("ok.png", png(0))
        made.writestr("bad.png", b"no picture")
    assert "bad.png cannot be read" in refusal(f"zip:{tmp_path / 'c.zip'}")
    read = data.load(f"zip:{tmp_path / 'c.zip'}", Options(skip_unreadable=True))
    assert len(read.train_images) == 1


def as_zip_of_classes(pictures, out):
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in pictures:
            archive.writestr(name, content)
    return f"zip:{out}"


def as_table(pictures, out):
    lines = ["path,split,label"]
    for name, content in pictures:
        (out.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (out.parent / name).write_bytes(content)
        lines.append(",".join((name, *name.split("/")[:2])))
    out.write_text("\n".join(lines))
    return f"csv:{out}"


@pytest.mark.parametrize("write", [as_zip_of_classes, as_table])
def test_skipped_pictures_are_named_with_the_reason(write, tmp_path, caplog):
    cut = png(3)[:50]
    pictures = [
        ("train/ant/0.png", b"no picture"),
        *((f"train/{name}/{number}.png", png(number))
          for number, name in enumerate(("bee", "bee", "cat"))),
        ("test/cat/3.png", png(3)),
        ("test/cat/4.png", cut),
    ]  # fmt: skip
    spec = write(pictures, tmp_path / "pets")
    options = Options(folder_labels=True, skip_unreadable=True)
    read = data.load(spec, options)
    assert len(read.train_images) == 3 and len(read.test_images) == 1
    assert [(one.split, one.file[-14:]) for one in sorted(read.unread)] == [
        ("test", "test/cat/4.png"), ("train", "rain/ant/0.png")
    ]  # fmt: skip
    by_split = {one.split: one.reason for one in read.unread}
    assert by_split["train"] == "not an image format that Pillow can read"
    assert "2 pictures cannot be read and are left out" in read.notes
    assert len(caplog.records) == 2 and "0.png: not an image format" in caplog.text
    # The class "ant" has no picture that can be read, and keeps its number.
    assert data.label_names(spec, options) == read.classes == ("ant", "bee", "cat")
    assert data.load_train_labels(spec, options).tolist() == [1, 1, 2]
    assert data.load_test_labels(spec, options).tolist() == [2]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_without_a_file_that_can_be_read_are_skipped_with_the_reason(kind, tmp_path):
    rows = {"path": ["gone.png", "0.png", "", "sub", "1.png"],
            "label": ["ant", "bee", "cat", "dog", "cat"]}  # fmt: skip
    (tmp_path / "sub").mkdir()
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    table = tmp_path / f"pets.{kind}"
    if kind == "csv":
        lines = [",".join(row) for row in zip(*rows.values(), strict=True)]
        table.write_text("\n".join(["path,label", *lines]))
    else:
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table(rows), table)
    spec, skip = f"{kind}:{table}", Options(skip_unreadable=True)
    with pytest.raises(DataError, match=r"row 1: .*gone\.png cannot be read: No such file or "
                       "directory: set skip_unreadable to skip it"):  # fmt: skip
        data.load(spec)
    read = data.load(spec, skip)
    assert [path.rpartition("/")[2] for path in read.paths] == ["0.png", "1.png"]
    reasons = {one.file.removeprefix(f"{table}/"): one.reason for one in read.unread}
    assert reasons == {
        "000000000/gone.png": f"{tmp_path / 'gone.png'} cannot be read: No such file or directory",
        "000000002/": "the row has no picture",
        "000000003/sub": f"{tmp_path / 'sub'} cannot be read: Is a directory",
    }
    assert read.classes == data.label_names(spec, skip) == ("ant", "bee", "cat", "dog")
    assert data.load_train_labels(spec, skip).tolist() == [1, 2]


def test_an_archive_without_a_readable_picture_says_so(tmp_path):
    spec = as_zip_of_classes([("0.png", b""), ("1.png", b"no")], tmp_path / "a.zip")
    with pytest.raises(DataError, match="no images to train on: 2 pictures cannot be read"):
        data.load(spec, Options(skip_unreadable=True))


def test_tables_say_what_they_lack(tmp_path):
    (tmp_path / "a.csv").write_text("name,size\nx,1\n")
    assert "has no column of pictures, but name, size" in refusal(f"csv:{tmp_path / 'a.csv'}")
    (tmp_path / "a.csv").write_text("path,label\nmissing.png,cat\n")
    assert "missing.png cannot be read: No such file" in refusal(f"csv:{tmp_path / 'a.csv'}")
    (tmp_path / "x.png").write_bytes(png(0))
    (tmp_path / "a.csv").write_text("path,label\nx.png,cat\nx.png,\n")
    with pytest.raises(DataError, match="has no label"):
        data.load_train_labels(f"csv:{tmp_path / 'a.csv'}")
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    pytest.importorskip("pyarrow")
    assert "cannot be read" in refusal(f"parquet:{tmp_path / 'a.parquet'}")


@pytest.mark.parametrize(("text", "message"), [
    ('path,label\nx.png,"cat\nx.png,dog\n', "line 3 is not CSV: .*is a quote missing"),
    ('path,label\nx.png,"cat\nx.png,dog"\n', "row 1: the label has several lines"),
    ("path,Split\nx.png,tset\n", "row 1: the split 'tset' is none of train, test"),
    ("path\nx.png\n\0.png\n", "row 2: .* cannot be read: "),
    ("path,label\nx.png,cat\n ,cat\n", "row 2: the row has no picture"),
    ("path\n~1.png\n", "~1.png cannot be read: No such file"),
    ("path\nü.png\n".encode("latin-1"), "save it as CSV UTF-8"),
])  # fmt: skip
def test_a_faulty_row_of_a_table_is_named(text, message, tmp_path):
    (tmp_path / "x.png").write_bytes(png(0))
    (tmp_path / "a.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        data.load(f"csv:{tmp_path / 'a.csv'}")


@pytest.mark.parametrize("content", [
    b"\nsep=;\nPath;Label;SPLIT\nx.png;cat;\ny.png;dog;Test\n;;\n",
    "Path\tLabel\tSplit\nx.png\tcat\ttrain\ny.png\tdog\tvalidation\n".encode("utf-16"),
])  # fmt: skip
def test_a_table_of_a_spreadsheet_program_is_read(content, tmp_path):
    for number, name in enumerate("xy"):
        (tmp_path / f"{name}.png").write_bytes(png(number))
    (tmp_path / "a.csv").write_bytes(content)
    read = data.load(f"csv:{tmp_path / 'a.csv'}")
    assert read.classes == ("cat", "dog")
    assert len(read.train_images) == len(read.test_images) == 1


def test_names_of_classes_and_paths_may_be_written_on_different_machines(tmp_path):
    (tmp_path / "old").mkdir()
    for number in range(6):
        (tmp_path / "old" / f"{number}.png").write_bytes(png(number))
    labels = ["K\xe4fer", "Ka\u0308fer", " K\xe4\u200bfer", "Cat", "cat", "nan"]
    rows = "".join(f"old\\{number}.png,{label}\n" for number, label in enumerate(labels))
    (tmp_path / "a.csv").write_text(f"path,label\n{rows}")
    read = data.load(f"csv:{tmp_path / 'a.csv'}")
    assert read.classes == ("Cat", "K\xe4fer", "cat", "nan")
    assert data.load_train_labels(f"csv:{tmp_path / 'a.csv'}").tolist() == [1, 1, 1, 0, 2, 3]
    assert [note.split(":")[0] for note in read.notes] == [
        "'Cat' and 'cat' differ only in upper and lower case or in similar signs",
        "'nan' is taken for the name of a class, not for a missing label",
    ]
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for number, label in enumerate(labels[:3]):
            for end, content in ((".png", png(number)), (".cls", label.encode())):
                member = tarfile.TarInfo(f"{number}{end}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    assert data.load(f"webdataset:{tmp_path / 'a.tar'}").classes == ("K\xe4fer",)


def test_a_long_number_is_a_class_like_any_other(tmp_path):
    (tmp_path / "x.png").write_bytes(png(0))
    (tmp_path / "a.csv").write_text(f"path,label\nx.png,{'9' * 5000}\nx.png,7\n")
    assert data.load(f"csv:{tmp_path / 'a.csv'}").classes == ("7", "9" * 5000)


def test_archives_damaged_inside_are_named_in_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as made:
        made.writestr("0.png", bytes(range(256)) * 40)
    content = (tmp_path / "a.zip").read_bytes()
    for place in range(30, 60):  # the properties and the first bytes of the compressed picture
        damaged = content[:place] + b"\xff" * 4 + content[place + 4 :]
        (tmp_path / "a.zip").write_bytes(damaged)
        assert "cannot be read" in refusal(f"zip:{tmp_path / 'a.zip'}")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as made:
        made.writestr("ü.png", png(0))
    content = (tmp_path / "b.zip").read_bytes().replace("ü".encode(), b"\xff\xff")
    (tmp_path / "b.zip").write_bytes(content)
    assert "cannot be read" in refusal(f"zip:{tmp_path / 'b.zip'}")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_prices_of_a_table_are_read_and_counted(kind, folder, tmp_path):
    def table(column, prices):
        columns = {"path": [str(path) for *_, path in files_of(folder)[: len(prices)]],
                   column: prices}  # fmt: skip
        if kind == "csv":
            with (tmp_path / "a.csv").open("w", newline="") as file:
                csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
        else:
            arrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
            parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
        return data.load(f"{kind}:{tmp_path}/a.{kind}")

    read = table("Cost", [2.5, None, 0.0])
    assert read.costs.tolist() == [2.5, 1, 0]
    some = "2 of 3 training labels have a price, from 0 to 2.5; the others cost 1"
    assert some in read.notes
    assert "3 of 3 training labels have a price, from 2 to 4" in table("cost", [2, 3, 4]).notes
    other = table("Price", [2, 3, 4])
    assert other.costs is None
    assert "the column Price is not read: the column of prices is called cost" in other.notes
    with pytest.raises(DataError, match="row 2: the cost '-1' is no price"):
        table("cost", [2, -1, 3])
