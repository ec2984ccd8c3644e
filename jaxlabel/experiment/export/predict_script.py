"""Label images: python predict.py PICTURE_OR_FOLDER ... (needs onnxruntime, numpy and pillow)."""

import csv
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

CONFIG = json.loads(Path(__file__).with_name("config.json").read_text(encoding="utf-8"))
HEIGHT, WIDTH, CHANNELS = CONFIG["image"]["shape"]
LIGHT = 230  # a drawing whose channels are all at least so light cannot be seen on white
BATCH = 32  # larger arrays do not fit into a processor's cache


def pixels(file: Path) -> np.ndarray:
    """Return a picture as uint8 pixels (height, width, channels) of the model's input shape."""
    image = ImageOps.exif_transpose(Image.open(file))
    if image.mode.startswith(("I", "F")):  # more than 8 bits
        values = np.asarray(image, np.float32)
        if image.mode.startswith("I;16") and values.any() and not (values % 257).any():
            values = (values / 257).astype(np.uint8)  # 8 bits that were saved as 16
        image = Image.fromarray(values)  # mode "F", or "L" for uint8
    elif image.mode not in ("L", "1") and image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        opaque = rgba[..., 3] > 127
        visible = rgba[opaque if opaque.any() else rgba[..., 3] > 0][:, :3]
        vanishes = visible.size and visible.min() >= LIGHT and rgba[..., 3].min() < 128
        ground = Image.new("RGBA", image.size, "black" if vanishes else "white")
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    if image.mode != "F":
        image = image.convert("L" if image.mode in ("L", "1") else "RGB")
    if CONFIG["image"]["resize"]:
        image = image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    if image.size != (WIDTH, HEIGHT):
        raise ValueError(f"it has another size than the model's images, {WIDTH}x{HEIGHT}")
    if image.mode == "F":  # scaled after resizing, as the training images were
        image = in_8_bits(image)
    return np.asarray(image.convert("L" if CHANNELS == 1 else "RGB")).reshape(HEIGHT, WIDTH, -1)


def in_8_bits(image: Image.Image) -> Image.Image:
    """Scale a picture with more than 8 bits: LOW becomes 0 and HIGH becomes 255; NaN becomes 0."""
    low, high = map(float, (CONFIG["image"]["intensity"] or "0:65535").split(":"))
    values = np.nan_to_num(np.asarray(image, np.float64), nan=low, neginf=low, posinf=high)
    shares = np.clip((values - low) / (high - low), 0, 1)
    return Image.fromarray(np.floor(shares * 255 + 0.5).astype(np.uint8))


def readable(file: Path) -> np.ndarray | None:
    """Return the pixels of a picture; print a line and return None if it cannot be read."""
    try:
        return pixels(file)
    except Exception as error:  # Pillow raises many kinds for damaged files
        print(f"{file} cannot be read: {error}", file=sys.stderr)
        return None


def pictures(place: Path) -> list[Path]:
    """Return the files of pictures in a folder, without hidden ones, or the place itself."""
    found = sorted(place.rglob("*")) if place.is_dir() else [place]
    return [
        file for file in found
        if file.suffix.lower() in CONFIG["image"]["files"]
        and not any(part.startswith(".") for part in file.relative_to(place).parts)
    ]  # fmt: skip


def main(places: list[str]) -> None:
    """Predict the class of each picture named on the command line, and print it as a CSV line."""
    if missing := [place for place in places if not Path(place).exists()]:
        sys.exit(f"there is no file or folder {missing[0]}")
    files = [file for place in places for file in pictures(Path(place))]
    if not files:
        sys.exit(f"there is no picture in {', '.join(places)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # each processor core labels batches of its own
    session = onnxruntime.InferenceSession(
        str(Path(__file__).with_name("model.onnx")), options, providers=["CPUExecutionProvider"]
    )

    def label(part: list[Path]) -> list[tuple[Path, np.ndarray]]:
        read = [(file, image) for file in part if (image := readable(file)) is not None]
        if not read:
            return []
        rows = session.run(None, {"images": np.stack([image for _, image in read])})[0]
        return [(file, row) for (file, _), row in zip(read, rows, strict=True)]

    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(
        ["file", "label", "probability", *(f"probability {c}" for c in CONFIG["classes"])]
    )
    num_labelled = 0
    parts = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rows in pool.map(label, parts):
            for file, row in rows:
                numbers = [f"{number:.6f}" for number in row]
                table.writerow([file, CONFIG["classes"][row.argmax()], max(numbers), *numbers])
            num_labelled += len(rows)
    if num_labelled < len(files):
        sys.exit(f"{len(files) - num_labelled} of {len(files)} pictures cannot be read")


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
