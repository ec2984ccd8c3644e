import numpy as np
import pytest

from jaxlabel import data
from jaxlabel.cli import main as cli
from jaxlabel.cluster.pca import fit_pca
from jaxlabel.errors import DataError
from jaxlabel.experiment import explore
from jaxlabel.report.evaluate import clustering_scores

RANDOM = np.random.default_rng(0)
# three kinds of image, far from each other: dark, bright on the left, bright on the right
KINDS = np.zeros((3, 6, 6, 1))
KINDS[1, :, :3], KINDS[2, :, 3:] = 200, 200
LABELS = np.repeat([0, 1, 2], [20, 15, 10])
IMAGES = (KINDS[LABELS] + RANDOM.integers(0, 20, (45, 6, 6, 1))).astype(np.uint8)
POINTS = IMAGES.reshape(45, -1) / np.float32(255)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "kinds.npz"
    np.savez(path, x_train=IMAGES, y_train=LABELS)
    return f"npz:{path}"


@pytest.fixture(autouse=True)
def few_counts(monkeypatch):
    monkeypatch.setattr(explore, "COUNTS", (3,))


def test_the_page_shows_labels_only_when_asked(spec, tmp_path, capsys, monkeypatch):
    assert cli.run(["data", "explore", f"--data={spec}", f"--out={tmp_path}", "--labels"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "explore.html")
    page = (tmp_path / "explore.html").read_text()
    shown = ("every training label", "20 images", "homogeneity", "inertia", "Scree plot", "t-SNE",
             "Principal components", "medoid", "training images in 3")  # fmt: skip
    for text in shown:
        assert text in page, text
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")

    monkeypatch.setattr(data, "load_train_labels", None)
    blind = explore.explore(spec, tmp_path / "blind").read_text()
    for text in ("every training label", "homogeneity", "Confusion matrix"):
        assert text not in blind, text
    assert "inertia" in blind and "cluster 2" in blind


def test_missing_labels_are_reported_in_one_line(tmp_path):
    np.savez(tmp_path / "bare.npz", x_train=IMAGES)
    with pytest.raises(DataError, match="brings no labels: explore it without --labels"):
        explore.explore(f"npz:{tmp_path / 'bare.npz'}", tmp_path, labels=True)


def test_clusters_of_three_kinds_are_the_kinds():
    found = explore.cluster_images(POINTS, 3, LABELS, seed=0)
    assert found.scores == clustering_scores(LABELS, LABELS)
    assert sorted(LABELS[found.medoids].tolist()) == [0, 1, 2]
    means = np.stack(
        [POINTS[:20].mean(axis=0), POINTS[20:35].mean(axis=0), POINTS[35:].mean(axis=0)]
    )
    assert found.inertia == pytest.approx(np.square(POINTS - means[LABELS]).sum(), rel=1e-3)
    table = explore.cluster_confusion(found, LABELS, "abc")
    assert [row["cells"][i]["count"] for i, row in enumerate(table["rows"])] == [20, 15, 10]
    assert table["pairs"] == []
    pairs = explore.cluster_pictures(found, IMAGES)["pairs"]
    assert [pair["size"] for pair in pairs] == ["20", "15", "10"]


def test_scree_plot_names_the_components_for_each_share():
    text = explore.scree_plot(fit_pca(POINTS, 5))["text"]
    assert text.startswith("Of 36 components: 50.0% takes 1, 90.0% takes 2,")


def test_the_nearest_number_of_clusters_is_taken():
    found = [explore.Clustering(k, 0.0, POINTS, LABELS, LABELS, None) for k in (4, 10, 36)]
    assert [explore.clustering_nearest_to(found, k).k for k in (1, 8, 144)] == [4, 10, 36]
