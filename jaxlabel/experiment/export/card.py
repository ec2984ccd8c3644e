"""Write the model card of an exported model: README.md for the Hugging Face Hub.

It begins with a YAML header, from which the Hub takes the model's properties.
"""

import json
from typing import Any

from jaxlabel.certificate.interval import at_least
from jaxlabel.report.run import labels_bought_earlier, labels_used


def model_card(record: dict[str, Any], settings: dict[str, Any]) -> str:
    """Return the text of an exported model's README.md.

    Args:
      record: the content of the run's result.json.
      settings: the content of the exported model's config.json.
    """
    title = f"{record['dataset']}: {len(settings['classes'])} {settings['gives']}"
    height, width, _ = settings["image"]["shape"]
    parity = max(settings["parity"]["max_difference"].values())
    sections = [
        _header(record),
        f"# {title}",
        f"A classifier of {width}x{height} {settings['image']['mode']} images, trained from "
        f"scratch by jaxlabel (recipe {record['method']}) with "
        f"{_num_labels(record)}. No pre-trained model was used.",
        f"Classes: {', '.join(settings['classes'])}.",
        "## Use",
        "```sh\npip install onnxruntime numpy pillow\n"
        "python predict.py PICTURE_OR_FOLDER > labels.csv\n```",
        "The input of `model.onnx` is uint8 (batch, height, width, channels) with values from 0 to "
        "255, the output is the probability of each class. `config.json` says how pictures are "
        "prepared.",
        f"At export the files were compared with the network on {settings['parity']['images']} "
        f"{settings['parity']['of']}: the largest difference of a probability is {parity:.1e}.",
        "## Data and labels",
        f"{record['num_train']:,} training images without labels. {_labels(record)}",
        _ledger(record),
        "## Accuracy",
        _accuracy(record),
        "## Intended use and limits",
        f"The model is meant for images like those of {record['dataset']}. It gives one of its "
        "classes to every image, also to one that shows something else. Its probabilities are not "
        "calibrated. With few labels, rare classes are learned worst.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(record: dict[str, Any]) -> str:
    """Return the YAML header of the model card; values are written as JSON, which is valid YAML."""
    lines = ["---", "library_name: jaxlabel", "pipeline_tag: image-classification",
             "tags: [few-labels, active-learning, semi-supervised, onnx]"]  # fmt: skip
    if record.get("test_accuracy") is not None:
        name, dataset = json.dumps(f"jaxlabel {record['method']}"), json.dumps(record["dataset"])
        lines += [
            "model-index:",
            f"- name: {name}",
            "  results:",
            "  - task: {type: image-classification}",
            f"    dataset: {{name: {dataset}, type: {dataset}}}",
            f"    metrics: [{{type: accuracy, value: {record['test_accuracy']:.4f}}}]",
        ]
    return "\n".join([*lines, "---"])


def _num_labels(record: dict[str, Any]) -> str:
    """Return the number of labels that the run used, in words."""
    if earlier := labels_bought_earlier(record):
        return f"{labels_used(record)} labels, {earlier} of them bought before this run"
    return f"{record['labels_spent']} bought labels"


def _labels(record: dict[str, Any]) -> str:
    text = f"{record['labels_spent']} labels were bought at a cost of {record['cost']:g}."
    if earlier := labels_bought_earlier(record):
        text += f" {earlier} more labels were free: the run's account had bought them before."
    if record.get("peeked"):
        text += " The run looked at labels that it did not buy."
    return text


def _ledger(record: dict[str, Any]) -> str:
    """Return a Markdown table of the number of labels that the run bought, by purpose and round."""
    if not record["ledger"]:
        return ""
    rows = [f"| {entry['purpose']} | {entry['round']} | {entry['labels']} | {entry['cost']:g} |"
            for entry in record["ledger"]]  # fmt: skip
    return "\n".join(["| purpose | round | labels | cost |", "|---|---:|---:|---:|", *rows])


def _accuracy(record: dict[str, Any]) -> str:
    lines = []
    if record.get("test_accuracy") is not None:
        low, high = record["test_accuracy_interval"]
        lines.append(f"{100 * record['test_accuracy']:.2f}% of the test images are right (95% "
                     f"interval {100 * low:.2f} to {100 * high:.2f}).")  # fmt: skip
    if record.get("certified"):
        pool = record["certified_of"] == "the pool"
        images = "the images that were not labelled for training" if pool else "new images"
        lines.append(
            f"Certified by an audit of {record['labels_to_certify']} labels: at least "
            f"{at_least(record['certified_low'], 2)} of {images} are right, with "
            f"{100 * record['config']['confidence']:g}% confidence."
        )
    return " ".join(lines) or "The accuracy was neither measured on test images nor certified."
