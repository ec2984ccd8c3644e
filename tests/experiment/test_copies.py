"""Copies of an image whose label was bought have this label."""

import numpy as np

from jaxlabel.experiment.copies import with_bought_labels
from jaxlabel.oracle import LabelStore
from jaxlabel.predictor import Predictor


def test_copies_have_the_bought_label_and_other_images_their_prediction(tmp_path):
    with LabelStore(f"sqlite:///{tmp_path / 'labels.db'}") as store:
        store.define("pets", ["cat", "dog"])
        store.add_labels("pets", ["x", "y", "z"], [1, 0, 0])
        store.open_account("run", "pets", 2)
        store.buy("run", ["x", "y"], purpose="train", round=0, asked_by="")
        items, predicted = np.array(["x", "y", "x", "z", "x"]), np.array([1, 0, 0, 1, 1], np.int32)
        found = with_bought_labels(
            Predictor(None, predicted, None, "budget", {}), items, store, "run"
        )
        np.testing.assert_array_equal(found.train_labels, [1, 0, 1, 1, 1])
        none = Predictor(None, None, None, "budget", {})
        assert with_bought_labels(none, items, store, "run").train_labels is None
