"""Write the bundle of a finished run: a folder with its classifier in several file formats.

It also has a model card, the settings that a program needs to use the model, and the run's result.
"""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from jaxlabel import data, files, pretext
from jaxlabel.data.dataset import options_of
from jaxlabel.data.listing import EXTENSIONS
from jaxlabel.errors import DataError, JaxlabelError, UsageError
from jaxlabel.experiment.export import arrays
from jaxlabel.experiment.export.card import model_card
from jaxlabel.experiment.export.onnx_convert import to_onnx
from jaxlabel.experiment.export.onnx_graph import OPSET
from jaxlabel.experiment.export.tracing import Program
from jaxlabel.experiment.predict import Trained, load
from jaxlabel.nets.layers import compute_dtype
from jaxlabel.predictor import predict_probabilities
from jaxlabel.runlog.workdir import check_is_replaceable

# The packages that each format needs, by their names in Python.
FORMATS = {
    "safetensors": ("safetensors",),
    "onnx": ("onnx", "onnxruntime"),
    "stablehlo": ("flatbuffers",),
}
PARITY_IMAGES = 256
LIMIT = 1e-4  # if a probability differs by more, no bundle is written
# Settings with paths and addresses of the user.
PRIVATE = ("store", "account", "data_dir", "labels", "features")


def export(workdir: Path, out: Path, formats: str = ",".join(FORMATS)) -> str:
    """Write the bundle of a finished run, and return a message for the user.

    The bundle is a folder with the classifier in several file formats and a model card. Each
    exported file is loaded again, and its predictions for 256 images are compared with those of the
    network.

    Args:
      workdir: the directory of a finished run.
      out: the directory to write; a bundle in it is replaced.
      formats: names of file formats, separated by commas, such as "safetensors,onnx".

    Raises:
      UsageError: the run is not finished or its model does not predict classes or clusters, a
        package is missing, or `out` contains something that is no bundle.
      JaxlabelError: the network cannot be exported, or an exported file gives other predictions.
    """
    chosen = _formats(formats)
    check_free(out)
    trained = load(workdir)
    if isinstance(trained.model, pretext.Representation):
        raise UsageError(f"{workdir} learned features, no classes: there is nothing to export")
    if trained.config.outside_features:
        raise UsageError(f"{workdir} learned from features from outside, whose encoder jaxlabel "
                         "does not have, so no bundle can label pictures: use jaxlabel predict "
                         "--features=FILE")  # fmt: skip
    record = public_record(files.read_json(workdir / "result.json") or {})
    program = Program(trained.model, trained.shape)
    contents = _model_files(program, trained, record, chosen)
    images, origin = parity_images(trained)
    differences = compare(program, trained.model, contents, images)
    worst = max(differences.values())
    if worst > LIMIT:
        name = max(differences, key=lambda key: differences[key])
        raise JaxlabelError(f"{name} differs from the network by {worst:.1e} (limit {LIMIT:g}): "
                            "no bundle was written")  # fmt: skip
    parity = {"images": len(images), "of": origin, "max_difference": differences}
    settings = configuration(trained, record, chosen, parity)
    contents["config.json"] = files.json_text(settings).encode()
    contents["result.json"] = files.json_text(record).encode()
    contents["README.md"] = model_card(record, settings).encode()
    if "onnx" in chosen:
        contents["predict.py"] = Path(__file__).with_name("predict_script.py").read_bytes()
    files.replace_folder(
        out,
        lambda new: [(new / name).write_bytes(content) for name, content in contents.items()],
        check_free,
    )
    shown = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    return (f"{out}: {', '.join(sorted(contents))}\n"
            f"largest difference on {len(images)} {origin}: {shown}")  # fmt: skip


def _formats(given: str) -> list[str]:
    """Return the names of file formats in a text, such as "safetensors,onnx", as a list.

    Raises:
      UsageError: a format is unknown, or a package that it needs is not installed.
    """
    chosen = [name.strip() for name in given.split(",") if name.strip()]
    for name in chosen:
        if name not in FORMATS:
            raise UsageError(f"--formats={given}: it takes some of {', '.join(FORMATS)}")
        for package in FORMATS[name]:
            if importlib.util.find_spec(package) is None:
                raise UsageError(f"the format {name} needs the package {package}: "
                                 "pip install 'jaxlabel[export]'")  # fmt: skip
    if not chosen:
        raise UsageError(f"--formats is empty: it takes some of {', '.join(FORMATS)}")
    return chosen


def check_free(out: Path) -> None:
    """Check that a bundle (the files of an exported model) may be written to a directory.

    This is so if the directory does not exist, is empty, or contains a bundle.

    Raises:
      UsageError: `out` is a file, or contains something that is no bundle.
    """
    check_is_replaceable(out, "bundle", _is_bundle)


def _is_bundle(folder: Path) -> bool:
    return (files.read_json(folder / "config.json") or {}).get("kind") == files.BUNDLE


def public_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a run's result.json without private settings.

    These are the paths and addresses of the user's images and labels.
    """
    config = {name: "" if name in PRIVATE else value for name, value in record["config"].items()}
    if ":" in str(config.get("data", "")):
        config["data"] = f"{config['data'].partition(':')[0]}:{record['dataset']}"
    return files.with_version("result.json", record | {"config": config})


def _model_files(
    program: Program, trained: Trained, record: dict[str, Any], chosen: list[str]
) -> dict[str, bytes]:
    """Return the bytes of the exported model in each format, by file name ("model.onnx")."""
    about = f"jaxlabel {record['method']} on {record['dataset']}"
    make = {
        "safetensors": lambda: arrays.to_safetensors(trained.model, {"made_by": about}),
        "onnx": lambda: to_onnx(program, about),
        "stablehlo": program.stablehlo,
    }
    return {f"model.{name}": make[name]() for name in chosen}


def parity_images(trained: Trained) -> tuple[UInt8[np.ndarray, "n h w c"], str]:
    """Return images on which to compare an exported model with the network, and a name for them.

    They are the first 256 test images of the run; without test images, the first training images;
    or random pixels if the run's images cannot be read. The name is "test images", for example.
    """
    options = options_of(trained.config)
    try:
        dataset = data.load(trained.config.data, options)
    except DataError:
        dataset = None
    if dataset is not None and dataset.train_images.shape[1:] == trained.shape:
        both = [(dataset.test_images, "test images"), (dataset.train_images, "training images")]
        images, origin = next(pair for pair in both if len(pair[0]))
        return images[:PARITY_IMAGES], origin
    drawn = np.random.default_rng(0).integers(0, 256, (PARITY_IMAGES, *trained.shape))
    return drawn.astype(np.uint8), "images of random pixels"


def compare(
    program: Program, model: Any, contents: dict[str, bytes], images: UInt8[np.ndarray, "n h w c"]
) -> dict[str, float]:
    """Return how far the probabilities of each exported file differ from those of the network.

    If the device computes in half precision, the network is computed in float32 on the CPU.

    Args:
      program: the network as a program of JAX primitives.
      model: the network.
      contents: the bytes of each exported file, by its name.
      images: the images for which the class probabilities are compared.

    Returns:
      The largest absolute difference of a probability, by file name.
    """
    if compute_dtype() == np.float32:
        wanted = predict_probabilities(model, images)
    else:
        with jax.default_device(jax.devices("cpu")[0]):
            wanted = np.asarray(jax.jit(program)(images))
    readers: dict[str, Callable[..., np.ndarray]] = {
        "model.onnx": _run_onnx, "model.stablehlo": _run_stablehlo,
               "model.safetensors": functools.partial(_run_safetensors, model)}  # fmt: skip
    return {name: float(np.abs(readers[name](content, images) - wanted).max())
            for name, content in contents.items()}  # fmt: skip


def _run_onnx(content: bytes, images: np.ndarray) -> Float[np.ndarray, "n classes"]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


def _run_stablehlo(content: bytes, images: np.ndarray) -> Float[np.ndarray, "n classes"]:
    return np.asarray(jax.export.deserialize(bytearray(content)).call(images))


def _run_safetensors(
    model: Any, content: bytes, images: np.ndarray
) -> Float[np.ndarray, "n classes"]:
    from safetensors.numpy import load

    saved = load(content)
    leaves = [jax.numpy.asarray(saved[name]) for name in arrays.names_of(model)]
    copy = jax.tree.unflatten(jax.tree.structure(model), leaves)
    if compute_dtype() == np.float32:
        return predict_probabilities(copy, images)
    return np.asarray(jax.jit(Program(copy, images.shape[1:]))(images))


def configuration(
    trained: Trained, record: dict[str, Any], formats: list[str], parity: dict[str, Any]
) -> dict[str, Any]:
    """Return the content of config.json, which tells programs how to use an exported model.

    It has the class names, the image shape, and the names of input, output and files.

    Args:
      trained: the model of the run.
      record: the content of the run's result.json.
      formats: the file formats of the exported model.
      parity: how far the exported files' probabilities differ from those of the network.
    """
    clusters = int(record.get("clusters", 0)) if trained.gives == "clusters" else 0
    names = trained.output_names(clusters or len(trained.classes))
    return {
        "kind": files.BUNDLE,
        "version": files.VERSIONS[files.BUNDLE],
        "classes": list(names),
        "gives": trained.gives,
        "image": {
            "shape": list(trained.shape),
            "mode": "grey" if trained.shape[-1] == 1 else "rgb",
            "resize": bool(trained.config.image_size),
            "filter": "bilinear",
            "intensity": trained.intensity,
            "files": list(EXTENSIONS),
        },
        "input": {"name": "images", "dtype": "uint8", "axes": "batch height width channels",
                  "scaling": "none: the model divides by 255"},
        "output": {"name": "probabilities", "dtype": "float32", "axes": "batch classes"},
        "files": [f"model.{name}" for name in formats],
        "onnx_opset": OPSET,
        "parity": parity,
        "made_with": record.get("versions", {}),
    }  # fmt: skip
