"""Name a sweep's data sets independently of the directory that holds them (--data_root)."""

from pathlib import Path

from jaxlabel import files

DATA_ROOT = "DATA_ROOT"  # the placeholder for --data_root in an experiment file


def in_other_folder(spec: str, folder: str, other: str) -> str:
    """Return a data set's spec with `other` in place of `folder`, if its location is in `folder`.

    The spec is unchanged if `folder` is only a part of a name, or comes later in the path.

    >>> in_other_folder("csv:data/shop/data.csv", "data/", "DATA_ROOT")
    'csv:DATA_ROOT/shop/data.csv'

    Args:
      spec: the data set, such as "idx:DIR".
      folder: the folder that is replaced.
      other: the folder that takes its place.
    """
    prefix, _, location = spec.partition(":")
    folder, other = folder.rstrip("/"), other.rstrip("/")
    if location.startswith(f"{folder}/"):
        return f"{prefix}:{other}/{location[len(folder) :].lstrip('/')}"
    return f"{prefix}:{other or '/'}" if folder and location == folder else spec


def data_roots(workdir: Path) -> list[str]:
    """Return all values of --data_root with which sweeps in a directory began.

    Args:
      workdir: the directory, which holds plan.json. Plans of earlier versions have the last value.
    """
    stored = files.read_json(workdir / "plan.json") or {}
    roots = stored.get("data_roots") or [stored.get("data_root")]
    return [root for root in roots if root]


def roots_of_same_data(workdir: Path, data_root: str) -> list[str]:
    """Return the values of --data_root under which a sweep's data were found so far, and today's.

    A directory of an earlier sweep that is still there, and is not today's, holds other data. Data
    of which the directory is gone are taken to have been moved, and a line is printed.

    Args:
      workdir: the directory of the sweep.
      data_root: today's value; empty if the experiment names no data in a directory.
    """
    kept, today = list[str](), Path(data_root).resolve()
    for root in data_roots(workdir):
        kept.append(root)
        if Path(root).exists() and Path(root).resolve() != today:
            kept.clear()
    if moved := [root for root in kept if not Path(root).exists()]:
        print(f"the data in {moved[-1]} are taken to be in {data_root} now, so finished runs on "
              "them count: if they are other data, choose another --workdir")  # fmt: skip
    return list(dict.fromkeys([*kept, data_root])) if data_root else kept


def is_same_data(spec: str, other: str, workdir: Path) -> bool:
    """Return True if two specs of data sets are equal but for the value of --data_root in them.

    Args:
      spec: the first data set, such as "idx:DIR".
      other: the second data set.
      workdir: the directory of a sweep; its file plan.json has the values of --data_root.
    """
    if spec == other:  # plan.json is long
        return True
    roots = data_roots(workdir)
    names, others = (
        {in_other_folder(text, root, DATA_ROOT) for root in roots} - {text}
        for text in (spec, other)
    )
    return bool(names & others)
