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
BATCH = 32  # larger arrays do not fit into a processor's cache


def pixels(file: Path) -> np.ndarray:
    """Return a picture as uint8 pixels (height, width, channels) of the model's input shape."""
    image = ImageOps.exif_transpose(Image.open(file))
    if image.mode.startswith(("I", "F")):  # more than 8 bits: LOW and HIGH become 0 and 255
        low, high = map(float, (CONFIG["image"]["intensity"] or "0:65535").split(":"))
        shares = np.clip((np.asarray(image, np.float64) - low) / (high - low), 0, 1)
        image = Image.fromarray(np.floor(shares * 255 + 0.5).astype(np.uint8))
    if image.has_transparency_data:  # transparent pictures are drawn on white
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("L" if image.mode in ("L", "1") else "RGB")
    if CONFIG["image"]["resize"]:
        image = image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    if image.size != (WIDTH, HEIGHT):
        sys.exit(f"{file} has another size than the model's images, {WIDTH}x{HEIGHT}")
    return np.asarray(image.convert("L" if CHANNELS == 1 else "RGB")).reshape(HEIGHT, WIDTH, -1)


def main(places: list[str]) -> None:
    """Predict the class of each picture named on the command line, and print it as a CSV line."""
    found = [sorted(p.rglob("*")) if p.is_dir() else [p] for p in map(Path, places)]
    files = [f for group in found for f in group if f.suffix.lower() in CONFIG["image"]["files"]]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # each processor core labels batches of its own
    session = onnxruntime.InferenceSession(
        str(Path(__file__).with_name("model.onnx")), options, providers=["CPUExecutionProvider"]
    )

    def label(part: list[Path]) -> np.ndarray:
        return session.run(None, {"images": np.stack([pixels(file) for file in part])})[0]

    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(
        ["file", "label", "probability", *(f"probability {c}" for c in CONFIG["classes"])]
    )
    parts = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part, rows in zip(parts, pool.map(label, parts), strict=True):
            for file, row in zip(part, rows, strict=True):
                numbers = [f"{number:.6f}" for number in row]
                table.writerow([file, CONFIG["classes"][row.argmax()], max(numbers), *numbers])


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
