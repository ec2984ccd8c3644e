"""The model card claims no more than the run has measured and certified."""

from jaxlabel.experiment.export.card import model_card

RECORD = {
    "method": "flagship", "dataset": "shop", "num_train": 5000, "labels_spent": 200, "cost": 200.0,
    "ledger": [{"purpose": "train", "round": 0, "labels": 200, "cost": 200.0}],
    "test_accuracy": None, "config": {"confidence": 0.95},
}  # fmt: skip
SETTINGS = {
    "classes": ["a", "b"], "gives": "classes", "image": {"shape": [8, 8, 1], "mode": "grey"},
    "parity": {"max_difference": {"onnx": 1e-7}, "images": 10, "of": "test images"},
}  # fmt: skip


def test_free_labels_are_counted_as_used_and_cost_nothing():
    card = model_card(RECORD | {"labels_bought_earlier": 100}, SETTINGS)
    assert "with 300 labels, 100 of them bought before this run. No pre-trained" in card
    assert "200 labels were bought at a cost of 200. 100 more labels were free: the run's" in card
    assert "| train | 0 | 200 | 200 |" in card
    card = model_card(RECORD, SETTINGS)
    assert "with 200 bought labels. No pre-trained" in card and "free" not in card


def test_the_certified_bound_is_rounded_down():
    certified = {"certified": 1.0, "certified_low": 0.901999, "certified_of": "new images",
                 "labels_to_certify": 100}  # fmt: skip
    card = model_card(RECORD | certified, SETTINGS)
    assert "100 labels: at least 90.19% of new images are right, with 95% confidence" in card
    card = model_card(RECORD | certified | {"certified_of": "the pool"}, SETTINGS)
    assert "90.19% of the images that were not labelled for training are right" in card
