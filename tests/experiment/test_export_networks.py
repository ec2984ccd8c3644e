"""The exported networks compute what the networks compute."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxlabel import nets
from jaxlabel.errors import JaxlabelError
from jaxlabel.experiment.export import arrays
from jaxlabel.experiment.export.onnx_convert import to_onnx
from jaxlabel.experiment.export.tracing import Program
from jaxlabel.methods.clusters import NearestCentroid
from jaxlabel.nets import linear
from jaxlabel.predictor import predict_probabilities
from jaxlabel.scan.heads import Assigner

onnxruntime = pytest.importorskip("onnxruntime")

GREY, ODD = (12, 12, 1), (11, 9, 3)


def encoder(name, shape):
    return nets.make_encoder(name, shape, nnx.Rngs(0), 8)


def classifier(name):
    return lambda shape: nets.Classifier(encoder(name, shape), 4, nnx.Rngs(1))


def with_random_arrays(model):
    """Fill a model whose parameters start at zero."""
    leaves, structure = jax.tree.flatten(model)
    draw = np.random.default_rng(0)
    filled = [jnp.asarray(draw.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    return jax.tree.unflatten(structure, filled)


NETWORKS = {
    **{name: classifier(name) for name in nets.ENCODERS},
    "small convolutions": lambda shape: nets.ConvClassifier(shape, 4, nnx.Rngs(0), width=8),
    "discriminator": lambda shape: nets.ConvDiscriminator(shape, 4, nnx.Rngs(0), width=8),
    "gradient discriminator": lambda shape: nets.GradientConvDiscriminator(
        shape, 4, nnx.Rngs(0), width=8
    ),
    "mirrored ensemble": lambda shape: linear.Ensemble(
        [classifier("dense")(shape), classifier("conv")(shape)], mirror=True
    ),
    "distances": lambda shape: with_random_arrays(linear.LinearClassifier(shape, 4, 5)),
    "centroids": lambda shape: with_random_arrays(NearestCentroid(shape, 6, 5)),
    "clustering head": lambda shape: Assigner(
        encoder("conv", shape), nnx.Linear(32, 4, rngs=nnx.Rngs(2))
    ),
}


def run_onnx(content, images):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_gives_the_probabilities_of_the_network(name):
    shape = ODD if name in nets.ENCODERS or "ensemble" in name else GREY
    model = NETWORKS[name](shape)
    images = np.random.default_rng(1).integers(0, 256, (7, *shape)).astype(np.uint8)
    content = to_onnx(Program(model, shape))
    wanted = predict_probabilities(model, images)
    assert wanted.std() > 1e-3 and wanted.shape[0] == 7
    got = run_onnx(content, images)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    np.testing.assert_allclose(run_onnx(content, images[:1]), wanted[:1], atol=1e-5)


def test_stablehlo_takes_any_number_of_images_and_names_three_platforms():
    model = NETWORKS["conv"](ODD)
    images = np.random.default_rng(1).integers(0, 256, (5, *ODD)).astype(np.uint8)
    exported = jax.export.deserialize(bytearray(Program(model, ODD).stablehlo()))
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}
    for count in (1, 5):
        wanted = predict_probabilities(model, images[:count])
        np.testing.assert_allclose(exported.call(images[:count]), wanted, atol=1e-6)


class HalfPrecision(nnx.Module):
    """A network that computes in bfloat16, as all do on a GPU, and calls len of its input."""

    def __init__(self):
        self.weights = nnx.Param(jnp.linspace(-1, 1, 12 * 12 * 3).reshape(144, 3))

    def __call__(self, images):
        flat = images.reshape(len(images), -1).astype(jnp.bfloat16)
        return (flat @ self.weights[...].astype(jnp.bfloat16)).astype(jnp.float32)


def test_an_export_computes_in_float32_where_the_network_computes_in_half_precision():
    model = HalfPrecision()
    images = np.random.default_rng(1).integers(0, 256, (6, *GREY)).astype(np.uint8)
    logits = (images.reshape(6, -1) / 255.0) @ np.asarray(model.weights[...], np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    wanted = shares / shares.sum(1, keepdims=True)
    program = Program(model, GREY)
    assert "bf16" not in str(program.jaxpr)
    np.testing.assert_allclose(run_onnx(to_onnx(program), images), wanted, atol=1e-5)
    np.testing.assert_allclose(jax.jit(program)(images), wanted, atol=1e-5)
    assert np.abs(predict_probabilities(model, images) - wanted).max() > 1e-4


class Sorting(nnx.Module):
    """A network with a primitive that the ONNX writer does not know."""

    def __call__(self, images):
        return jnp.sort(images.reshape(len(images), -1), axis=1)[:, :3]


def test_an_unknown_primitive_is_named_and_the_other_formats_work():
    program = Program(Sorting(), GREY)
    with pytest.raises(JaxlabelError, match=r"uses sort, .*--formats=safetensors,stablehlo"):
        to_onnx(program)
    images = np.zeros((2, *GREY), np.uint8)
    exported = jax.export.deserialize(bytearray(program.stablehlo()))
    np.testing.assert_allclose(exported.call(images), np.full((2, 3), 1 / 3), atol=1e-6)


def test_safetensors_hold_named_arrays_bit_for_bit(tmp_path):
    model = NETWORKS["conv"](GREY)
    path = tmp_path / "model.safetensors"
    path.write_bytes(arrays.to_safetensors(model, {"made_by": "a test"}))
    assert "encoder.convolutions.0.kernel" in arrays.names_of(model)
    other = NETWORKS["conv"](GREY)
    other = jax.tree.map(jnp.zeros_like, other)
    restored = arrays.restore(path, other)
    for left, right in zip(jax.tree.leaves(restored), jax.tree.leaves(model), strict=True):
        assert np.array_equal(left, right)
    with pytest.raises(JaxlabelError, match="is missing or has another shape"):
        arrays.restore(path, NETWORKS["conv"](ODD))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(JaxlabelError, match="cannot be read"):
        arrays.restore(path, other)


def test_the_onnx_graph_consists_of_the_operators_that_are_fast():
    """A transposition at each layer, or a norm made of sums, halves the speed."""
    onnx = pytest.importorskip("onnx")
    content = to_onnx(Program(NETWORKS["gradient_conv"](GREY), GREY))
    kinds = Counter(node.op_type for node in onnx.load_from_string(content).graph.node)
    # 4 convolutions of the network, one for each norm's scale, one for gradients, two for cells
    assert kinds["Conv"] == 4 + 4 + 1 + 2
    assert kinds["InstanceNormalization"] == kinds["LeakyRelu"] == 4
    assert kinds["AveragePool"] == 1 and kinds["Transpose"] == 1  # before the dense layer


class CallsLen(nnx.Module):
    """A network with a norm that calls len of its input, which has no length while it is traced."""

    def __init__(self):
        self.norm = nets.GroupNorm(4)

    def __call__(self, images):
        stacked = jnp.concatenate([images, -images, images**2, 1 - images], axis=-1)
        hidden = self.norm(stacked, negative_slope=0.1)[:, ::2]
        return hidden.reshape(len(images), -1)[:, :3]


def test_a_network_that_asks_for_the_number_of_images_is_exported():
    model = CallsLen()
    images = np.random.default_rng(1).integers(0, 256, (3, *GREY)).astype(np.uint8)
    wanted = predict_probabilities(model, images)
    np.testing.assert_allclose(run_onnx(to_onnx(Program(model, GREY)), images), wanted, atol=1e-5)
