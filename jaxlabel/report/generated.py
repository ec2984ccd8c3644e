"""Show how the samples of a generator develop during training."""

from typing import Any

from jaxlabel.report import figures
from jaxlabel.report.run import Run, artifact, percent

MEASURES = ("diversity", "class_entropy", "loss_ratio")
LONGEST = 280  # pixels of a sheet's side


def generated(run: Run) -> dict[str, Any] | None:
    """Return the section on generated images: a sheet of samples per snapshot, the oldest first.

    Returns:
      The template's values; None if the run trained no generator.
    """
    arrays = artifact(run, "generated", "steps", "images", *MEASURES)
    if arrays is None or not len(arrays["steps"]):
        return None
    sheets = []
    for index, step in enumerate(arrays["steps"].tolist()):
        diversity, entropy, loss = (percent(float(arrays[name][index])) for name in MEASURES)
        note = f"diversity {diversity}, class entropy {entropy}, loss {loss}"
        uri = figures.data_uri(figures.sheet(arrays["images"][index]), longest=LONGEST)
        sheets.append({"uri": uri, "step": f"{step:,}", "note": note})
    text = (
        "Samples of the generator for fixed latents over the training steps. Diversity is the "
        "distance between samples in feature space, in percent of that between real images. "
        "Class entropy is in percent of that of real images, and the discriminator's loss in "
        "percent of the loss of a guess."
    )
    return {"sheets": sheets, "text": text, "verdict": run.result.get("verdict", "")}
