"""Train FixMatch in PyTorch, as a peer of jaxlabel that `experiments/peers.py` runs.

    ENV/bin/python experiments/peers_fixmatch.py PROBLEM.npz ANSWER.npz    # ENV has torch and numpy

FixMatch is Sohn et al. 2020 (arXiv 2001.07685) with the settings of USB (Wang et al. 2022, arXiv
2208.07204): 64 labelled and 7 x 64 unlabelled images a step, threshold 0.95, SGD with Nesterov
momentum 0.9, learning rate 0.03 with a cosine decay, weight decay 5e-4, a moving average of the
weights. What is smaller: the network has four convolutions, and training ends after a number of
seconds, not after 2^20 steps. The schedule of the learning rate runs over these seconds, and the
average of the weights is shorter (0.99 for 0.999), because there are some thousand steps.

PROBLEM.npz has `images` (n, h, w, c) and `test_images`, both uint8, `indices` and `labels` of the
labelled images, `num_classes`, `seed`, `flip` (whether mirrored images are of the same class),
`processor_seconds` and `wall_seconds`: training ends when either is used up. ANSWER.npz gets the
`predictions` of the test images, `processor_seconds`, `wall_seconds`, `megabytes` and `steps`.
"""

import copy
import itertools
import math
import resource
import sys
import time

import numpy as np
import torch
from torch.nn import functional

BATCH, MU, THRESHOLD = 64, 7, 0.95
LEARNING_RATE, WEIGHT_DECAY, EMA = 0.03, 5e-4, 0.99


def make_network(channels: int, num_classes: int) -> torch.nn.Sequential:
    """Return a network of four 3x3 convolutions with batch normalisation and a mean over places.

    Blocks of 2x2 pixels become channels first, as in jaxlabel's network for the same images.
    """
    layers: list[torch.nn.Module] = [torch.nn.PixelUnshuffle(2)]
    for number, (width, wider) in enumerate(itertools.pairwise([4 * channels, 32, 64, 128, 128])):
        layers += [
            torch.nn.Conv2d(width, wider, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(wider), torch.nn.LeakyReLU(0.1),
        ]  # fmt: skip
        layers += [torch.nn.MaxPool2d(2)] if number == 1 else []
    pool = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, *pool, torch.nn.Linear(128, num_classes))


def warp(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Apply one affine map per image, an array (batch, 2, 3), with linear interpolation."""
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def uniform(low: float, high: float, count: int) -> torch.Tensor:
    """Return random numbers between `low` and `high`."""
    return low + (high - low) * torch.rand(count)


def weak(images: torch.Tensor, flip: bool) -> torch.Tensor:
    """Shift each image by at most an eighth of its side, and mirror half of them if `flip`."""
    count = len(images)
    matrices = torch.zeros(count, 2, 3)
    matrices[:, 0, 0] = torch.where(torch.rand(count) < 0.5 * flip, -1.0, 1.0)
    matrices[:, 1, 1] = 1
    matrices[:, :, 2] = uniform(-0.25, 0.25, 2 * count).reshape(count, 2)
    return warp(images, matrices)


def strong(images: torch.Tensor, flip: bool) -> torch.Tensor:
    """Rotate, shear, scale and shift each image, change its grey values, and cut out a square.

    These are RandAugment's operations (Cubuk et al. 2020) for a whole batch: every image gets all
    of the geometric ones with random strength, and each other one with probability one half.
    """
    count, _, height, width = images.shape
    angles, shears = uniform(-0.5, 0.5, count), uniform(-0.3, 0.3, count)
    scales = uniform(0.8, 1.25, 2 * count).reshape(2, count)
    mirror = torch.where(torch.rand(count) < 0.5 * flip, -1.0, 1.0)
    matrices = torch.zeros(count, 2, 3)
    matrices[:, 0, 0] = mirror * scales[0] * angles.cos()
    matrices[:, 0, 1] = -scales[0] * angles.sin() + shears
    matrices[:, 1, 0] = mirror * scales[1] * angles.sin()
    matrices[:, 1, 1] = scales[1] * angles.cos()
    matrices[:, :, 2] = uniform(-0.3, 0.3, 2 * count).reshape(count, 2)
    seen = warp(images, matrices)
    chosen = (torch.rand(3, count) < 0.5)[:, :, None, None, None]
    contrast, brightness = uniform(0.3, 1.7, count), uniform(-0.3, 0.3, count)
    centred = seen.mean(dim=(1, 2, 3), keepdim=True)
    stretched = centred + contrast[:, None, None, None] * (seen - centred)
    seen = torch.where(chosen[0], stretched, seen)
    seen = torch.where(chosen[1], seen + brightness[:, None, None, None], seen)
    coarse = torch.floor(seen * 8) / 8  # posterise to 3 bits
    seen = torch.where(chosen[2], coarse, seen).clamp(0, 1)
    rows, columns = torch.rand(2, count, 1) * torch.tensor([height, width])[:, None, None]
    near_rows = (torch.arange(height) - rows).abs() < height / 4
    near_columns = (torch.arange(width) - columns).abs() < width / 4
    return seen.masked_fill((near_rows[:, :, None] & near_columns[:, None, :])[:, None], 0.5)


def to_floats(images: np.ndarray) -> torch.Tensor:
    """Return uint8 images NHWC as float32 NCHW in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def loss_of(
    network: torch.nn.Module, labelled: torch.Tensor, labels: torch.Tensor,
    unlabelled: torch.Tensor, flip: bool,
) -> torch.Tensor:  # fmt: skip
    """Return FixMatch's loss (equations 3 and 4); the guesses are made without gradients."""
    with torch.no_grad():
        confidence, guesses = network(weak(unlabelled, flip)).float().softmax(dim=1).max(dim=1)
    views = torch.cat([weak(labelled, flip), strong(unlabelled, flip)])
    known, changed = network(views).float().split([len(labelled), len(unlabelled)])
    each = functional.cross_entropy(changed, guesses, reduction="none")
    return functional.cross_entropy(known, labels) + (each * (confidence > THRESHOLD)).mean()


def train(problem: dict[str, np.ndarray]) -> tuple[torch.nn.Module, int]:
    """Train until the seconds are used up; return the averaged network and the number of steps."""
    torch.manual_seed(int(problem["seed"]))
    images, flip = problem["images"], bool(problem["flip"])
    labelled, labels = to_floats(images[problem["indices"]]), torch.tensor(problem["labels"])
    network = make_network(images.shape[-1], int(problem["num_classes"]))
    network = network.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(network)
    optimizer = torch.optim.SGD(
        network.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True,
        weight_decay=WEIGHT_DECAY,
    )  # fmt: skip
    start, wall_start = time.process_time(), time.perf_counter()
    steps, progress = 0, 0.0
    while progress < 1:
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * math.cos(7 * math.pi * progress / 16)
        chosen = torch.randint(len(labels), (BATCH,))
        others = to_floats(images[np.random.default_rng([int(problem["seed"]), steps]).integers(
            len(images), size=MU * BATCH)])  # fmt: skip
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(network, labelled[chosen], labels[chosen], others, flip)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        average(averaged, network, min(EMA, 1 - 1 / (steps + 1)))
        progress = max(
            (time.process_time() - start) / float(problem["processor_seconds"]),
            (time.perf_counter() - wall_start) / float(problem["wall_seconds"]),
        )
        if steps % 50 == 0:
            print(f"step {steps}: loss {loss.item():.3f}, {progress:.0%} of the time", flush=True)
    return with_statistics(averaged, images), steps


@torch.no_grad()
def average(averaged: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Move the averaged weights towards the trained ones."""
    for mean, current in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(current, 1 - decay)


def with_statistics(averaged: torch.nn.Module, images: np.ndarray) -> torch.nn.Module:
    """Return the averaged network with the statistics of its normalisation, from 5,000 images.

    Those that training collects are of strongly changed images and of other weights: with them the
    network would be wrong on most unchanged images.
    """
    parts = [to_floats(images[i : i + 500]) for i in range(0, min(5000, len(images)), 500)]
    torch.optim.swa_utils.update_bn(parts, averaged)
    return averaged.eval()


@torch.no_grad()
def predict(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Return the predicted class of each image."""
    parts = [to_floats(images[i : i + 1000]) for i in range(0, len(images), 1000)]
    return np.concatenate([network(part).argmax(dim=1).numpy() for part in parts])


def main() -> None:
    """Read the problem, train, and write the answer."""
    torch.set_num_threads(1)
    problem = dict(np.load(sys.argv[1]))
    start, wall_start = time.process_time(), time.perf_counter()
    network, steps = train(problem)
    predictions = predict(network, problem["test_images"])
    np.savez(
        sys.argv[2], predictions=predictions, steps=steps,
        processor_seconds=time.process_time() - start,
        wall_seconds=time.perf_counter() - wall_start,
        megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )  # fmt: skip


if __name__ == "__main__":
    main()
