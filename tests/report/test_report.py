import base64
import html.parser
import io
import re
import struct

import numpy as np
import pytest
from PIL import Image

from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.report import figures, write_report
from jaxlabel.runlog import open_workdir

RNG = np.random.default_rng(0)
CLASSES = ("sólo & <b>bold</b>", "日本", "</script><script>alert(1)</script>")
GUARD = {
    "size_entropy": 1.0, "vanished_clusters": 0, "confident_share": 1.0,
    "neighbour_agreement": 1.0,
}  # fmt: skip
VOID = ("meta", "img", "br")


class Page(html.parser.HTMLParser):
    """The text, addresses and headings of an HTML page; tags that do not match raise an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.text, self.tags, self.alts = [], [], "", [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href", "srcset")]
        if tag == "img":
            self.alts.append(dict(attributes).get("alt"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def make(
    workdir, classes=CLASSES, *, finish=True, channels=1, side=8, count=9, bought=None, **result
):
    k = len(classes)
    labels = np.arange(count) % k
    images = RNG.integers(0, 256, (count, side, side, channels), np.uint8)
    with open_workdir(workdir, {"data": "digits", "seed": 3, "store": ""}) as log:
        log.scalars("autoencoder", 100, {"loss": 2.5})
        log.scalars("autoencoder", 200, {"loss": 1.25})
        log.scalars("rounds", 1, {"clusters": 4, "labels_spent": 4, "estimate": float("nan")})
        rounds = {"estimate": 0.5, "estimate_low": 0.25, "estimate_high": 0.75}
        log.scalars("rounds", 2, {"clusters": 8, "labels_spent": 11, **rounds})
        known = np.ones(count, bool) if bought is None else np.asarray(bought)
        central = labels if known.any() else np.full(count, -1)
        log.arrays("medoids", images=images, labels=central, sizes=np.arange(count) + 1,
                   bought=known)  # fmt: skip
        log.arrays("reconstructions", originals=images, reconstructions=255 - images)
        log.arrays("map", points=RNG.normal(size=(50, 2)), labels=np.arange(50) % k - (k > 2))
        if finish:
            matrix = np.eye(k, dtype=int) * 7
            matrix[0, 1] = 5
            log.arrays("confusion", matrix=matrix)
            log.finish({
                "method": "medoids", "dataset": "digits", "seed": 3, "labels_spent": 11,
                "labels_by_purpose": {"train": 11}, "test_accuracy": 0.9375,
                "test_accuracy_interval": [0.9, 0.96], "train_label_accuracy": 0.8,
                "seconds": 75.0, "device": "two cores", "versions": {"jax": "0.10"},
                "commit": "abcdef0123456789+", "classes": list(classes), "stopped_by": "target",
                "ledger": [{"purpose": "train", "round": 1, "labels": 11, "cost": 11.0}], **result,
            })  # fmt: skip
    return Page(write_report(workdir).read_text()), (workdir / "report.html").read_text()


def test_report_of_a_finished_run_shows_its_figures(tmp_path):
    page, _ = make(tmp_path)
    for fact in (
        "93.8%", "95% interval 90.0% to 96.0%", "of 45 images (24.4%)", "75.0 s", "two cores",
        "commit abcdef012345+ · jax 0.10", "stopped by target", "80.0%",
        "3 labelled, for 12 images",
    ):  # fmt: skip
        assert fact in page.text, fact
    assert "sólo & <b>bold</b> predicted as 日本: 5 of 12" in page.text
    assert "PEEKED" not in page.text and "not finished" not in page.text
    assert page.text.count("autoencoder/loss") == 1 and "1.25 at the end" in page.text


def test_central_images_without_a_label_are_not_called_labelled(tmp_path):
    assert "The labelled images" in make(tmp_path)[0].text
    some, none = np.arange(9) < 4, np.zeros(9, bool)
    page, _ = make(tmp_path / "some", bought=some)
    assert "The central images of the clusters" in page.text and "3 clusters, for 12" in page.text
    assert "(medoid) of each of 9 clusters, of which 4 were labelled." in page.text
    page, _ = make(tmp_path / "none", bought=none)
    assert "of which 0 were labelled" in page.text and "9 clusters, for 45 images" in page.text
    assert "labelled, for" not in page.text


def test_labels_that_were_bought_before_the_run_are_shown(tmp_path):
    page, _ = make(tmp_path, num_train=440, labels_bought_earlier=11)
    assert "and 11 bought before, together 22 of 440 images (5.0%)" in page.text
    assert "The labels include 11 that were bought before this run." in page.text
    assert "test accuracy at the end: 0.9375 at 22" in page.text
    assert "In all 11 labels" in page.text  # the ledger is that of this run
    page, _ = make(tmp_path / "free", num_train=440, labels_spent=0, labels_bought_earlier=11)
    assert "test accuracy at the end: 0.9375 at 11" in page.text
    page, _ = make(tmp_path / "none", num_train=440)
    assert "bought before" not in page.text and "at the end: 0.9375 at 11" in page.text


def test_report_of_an_audited_run_shows_confidence_and_audits(tmp_path):
    with open_workdir(tmp_path, {"data": "digits", "target": 0.9}) as log:
        log.scalars("rounds", 0, {"labels_spent": 10, "belief": 0.625})
        log.scalars("rounds", 1, {"labels_spent": 30, "belief": 0.875})
        log.scalars("audit", 0, {
            "estimate": 0.95, "low": 0.8, "high": 0.99, "labels": 40, "labels_spent": 70
        })  # fmt: skip
        log.finish({
            "certified": 1.0, "certified_low": 0.90199, "verdict": "certified: at least 90.19%",
            "labels_to_train": 30, "labels_to_certify": 40, "labels_spent": 70,
        })  # fmt: skip
    page = Page(write_report(tmp_path).read_text())
    for fact in ("mean confidence of the networks", "62.5%", "audits, with their interval",
                 "the target",
                 "Labels drawn by each audit: 40.", "at least 90.1%"):  # fmt: skip
        assert fact in page.text, fact
    assert "audit/estimate" not in page.text and "at least 90.2%" not in page.text


def test_the_page_needs_nothing_from_outside_and_runs_nothing(tmp_path):
    page, text = make(tmp_path)
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert len(page.addresses) == 9 + 2 * 9
    assert "http" not in re.sub(r"http-equiv|http://www.w3.org/2000/svg", "", text)
    assert "script" not in page.tags and "b" not in page.tags and "@import" not in text
    assert all(page.alts)
    assert len(text) < 3e6


def test_images_can_be_decoded_from_their_data_uris():
    image = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    content = base64.b64decode(figures.data_uri(image).partition(",")[2])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), image)
    large = figures.data_uri(np.zeros((200, 100, 1), np.uint8))
    header = base64.b64decode(large.partition(",")[2])[16:24]
    assert struct.unpack(">II", header) == (32, 64)


def test_an_unfinished_run_says_so(tmp_path):
    page, _ = make(tmp_path, finish=False)
    assert "not finished" in page.text and "Test accuracy" not in page.text
    assert "class 1" in page.text  # nobody wrote the names down yet
    with open_workdir(tmp_path, {"data": "digits", "seed": 3, "store": ""}) as log:
        log.arrays("classes", names=np.array(CLASSES))
    assert "日本" in Page(write_report(tmp_path).read_text()).text


def test_losses_are_shown_first_if_there_are_many_metrics(tmp_path):
    with open_workdir(tmp_path, {"data": "digits", "seed": 0, "store": ""}) as log:
        for number in range(12):
            values = {"loss": 1.5, "labelled": 0.5, "unlabelled": 1.0}
            log.scalars(f"round_{number}", 10, values)
    text = Page(write_report(tmp_path).read_text()).text
    assert all(f"round_{number}/loss" in text for number in range(12))
    assert "round_0/labelled" in text and "round_11/labelled" not in text


def test_report_of_a_run_that_has_just_started(tmp_path):
    open_workdir(tmp_path, {"data": "digits"}).close()
    page = Page(write_report(tmp_path).read_text())
    assert "not finished" in page.text and page.addresses == []


def test_report_marks_peeking(tmp_path):
    assert "PEEKED" in make(tmp_path / "a", peeked=True)[0].text
    with open_workdir(tmp_path / "b", {"data": "digits"}) as log:
        log.scalars("rounds", 1, {"clusters": 2, "labels_spent": 2, "peek_accuracy": 0.25})
    page = Page(write_report(tmp_path / "b").read_text())
    assert "PEEKED" in page.text and "25.0%" in page.text


def test_report_without_test_set(tmp_path):
    page, _ = make(tmp_path, test_accuracy=None, test_accuracy_interval=None)
    assert "Test accuracy" not in page.text and "Labels spent" in page.text


def test_a_hundred_classes_and_many_large_images_stay_small(tmp_path):
    names = [f"klasse {i}" for i in range(100)]
    page, text = make(tmp_path, names, channels=3, side=96, count=300)
    assert len(text) < 3e6
    shown = re.search(r"The (\d+) that stand for the most are shown", page.text)
    assert 20 < int(shown[1]) < 300
    assert "Confusion matrix, a row per true class and a column per predicted class" in page.alts


def test_every_cluster_gets_pictures_however_large_they_are(tmp_path):
    images = RNG.integers(0, 256, (20 * 12, 64, 64, 3), np.uint8)
    with open_workdir(tmp_path, {"data": "digits"}) as log:
        log.arrays(
            "clusters", images=images, numbers=np.repeat(np.arange(20), 12),
            sizes=np.full(20, 12), confident=np.ones(20), agreement=np.ones(20),
            names=np.full(20, -1), warnings=np.array([], str),
        )  # fmt: skip
        log.scalars("guard", 0, GUARD)
        log.scalars("guard", 1, GUARD)
        log.finish({
            "matched_accuracy": 0.875, "knn_accuracy": 0.625, "gives": "clusters",
            "self_labelling": "refused: too few", "labels_spent": 0,
        })  # fmt: skip
    text = write_report(tmp_path).read_text()
    section = text.partition("The clusters</h2>")[2].partition("</section>")[0]
    groups = section.split("<h3>")[1:]
    shown = [group.count("<img") for group in groups]
    assert len(shown) == 20 and min(shown) >= 1 and max(shown) - min(shown) <= 1
    assert len(text) < 1e6 and "least confident images" in text
    assert text.count("self-labelled (refused)") == 1
    page = Page(text).text
    assert "Matched accuracy87.5%measured with labels that only the evaluator read" in page
    assert "kNN accuracy62.5%measured with labels that only the evaluator read" in page


def test_the_error_names_a_broken_file(tmp_path):
    make(tmp_path)
    path = tmp_path / "artifacts" / "map.npz"
    zeros = io.BytesIO()
    np.savez_compressed(zeros, points=np.zeros((99, 2)), labels=np.zeros(99, int))
    damaged = bytearray(zeros.getvalue())
    damaged[60:70] = b"\xff" * 10  # within the compressed array
    for content in (b"PK\x03\x04 half", bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(JaxlabelError, match=r"map\.npz is broken"):
            write_report(tmp_path)
    with pytest.raises(UsageError, match="is not a work directory"):
        write_report(tmp_path / "artifacts")
    path.unlink()
    (tmp_path / "session.json").write_bytes(b"")  # as after a power cut
    write_report(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1}\n')
    with pytest.raises(JaxlabelError, match=r"metrics\.jsonl is broken: line \d+ has no phase"):
        write_report(tmp_path)
