"""Settings of the scikit-learn classifier that have no effect are refused."""

import dataclasses

import numpy as np
import pytest

from jaxlabel.api.classifier_settings import ADVICE, USED, checked_settings
from jaxlabel.errors import UsageError
from jaxlabel.methods import semisup
from jaxlabel.sklearn import FewLabelClassifier

SETTINGS = {field.name for field in dataclasses.fields(semisup.Config)}
VECTORS, Y = np.random.default_rng(0).random((20, 4)), [0, 1] * 10
TINY = {"objective": "supervised", "preset": "tiny", "width": 4, "steps": 2, "random_state": 0}


@pytest.mark.parametrize("name", sorted(SETTINGS - set(USED)))
def test_a_setting_that_a_fit_does_not_use_is_refused(name):
    value = getattr(semisup.Config(), name)
    with pytest.raises(UsageError, match=f"settings has '{name}', which .* does not use") as raised:
        FewLabelClassifier(settings={"mu": 1, name: value}, **TINY).fit(VECTORS, Y)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(ADVICE.get(name, "leave it out"))


def test_the_advice_names_settings_that_exist_and_are_not_used():
    assert set(ADVICE) <= SETTINGS - set(USED) and set(USED) <= SETTINGS
    assert "JAXLABEL_CPU_KERNELS" in ADVICE["cpu_kernels"]


def test_settings_that_a_fit_uses_are_taken():
    given = {name: getattr(semisup.Config(), name) for name in USED}
    assert checked_settings(given) == given and checked_settings(None) == {}
    others = {"mu": 1, "weight_decay": 0.1, "graph_targets": 0.5, "seed": 3, "steps": 3}
    classifier = FewLabelClassifier(settings=others, **TINY).fit(VECTORS, Y)
    assert classifier.n_iter_ == 3 and classifier.predict(VECTORS).shape == (20,)


@pytest.mark.parametrize("kind", ["digits", "clothes", "overhead", "objects"])
def test_feature_vectors_take_no_kind_of_images(kind):
    for options in ({"kind": kind}, {"settings": {"kind": kind}}):
        with pytest.raises(UsageError, match=f"kind is '{kind}', but X has feature vectors"):
            FewLabelClassifier(**TINY | options).fit(VECTORS, Y)
    images = FewLabelClassifier(image_shape=(2, 2), kind=kind, **TINY).fit(VECTORS, Y)
    mirrored = kind != "digits"
    shares = images.predict_proba(VECTORS)
    reverse = images.predict_proba(VECTORS.reshape(-1, 2, 2)[..., ::-1].reshape(-1, 4))
    assert np.allclose(shares, reverse, atol=1e-6) == mirrored


def test_feature_vectors_take_no_contrastive_encoder():
    with pytest.raises(UsageError, match="leave contrast_steps out of settings"):
        FewLabelClassifier(settings={"contrast_steps": 5}, **TINY).fit(VECTORS, Y)
