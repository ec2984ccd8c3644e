"""The section on a generator: the same latents' samples over time, and what became of them."""

from typing import Any

from jaxlabel.report import figures
from jaxlabel.report.run import Run, artifact, percent

MEASURES = ("diversity", "class_entropy", "loss_ratio")
LONGEST = 280  # pixels of a sheet's side


def generated(run: Run) -> dict[str, Any] | None:
    """Sheets of samples, oldest first, each with its measures; None without a generator."""
    arrays = artifact(run, "generated", "steps", "images", *MEASURES)
    if arrays is None or not len(arrays["steps"]):
        return None
    sheets = []
    for index, step in enumerate(arrays["steps"].tolist()):
        diversity, entropy, loss = (percent(float(arrays[name][index])) for name in MEASURES)
        note = f"apart {diversity}, classes {entropy}, loss {loss}"
        uri = figures.data_uri(figures.sheet(arrays["images"][index]), longest=LONGEST)
        sheets.append({"uri": uri, "step": f"{step:,}", "note": note})
    text = (
        "What the generator makes of the same latents after so many steps. In percent of what "
        "real images have: how far apart the samples are in feature space, and the entropy of "
        "their classes; and the discriminator's loss in percent of that of chance."
    )
    return {"sheets": sheets, "text": text, "verdict": run.result.get("verdict", "")}
