"""How near the training loop comes to what the machine can do: images a second of the pipeline's own epochs, beside a
bare loop over batches that lie ready in the device's memory, and the share of the convolutions' peak that both reach.

    python -m benchmarks.engine [--shapes digits vehicles …] [--rounds 5] [--seconds 2]

Both train the same network with the same optimiser on the same device, an epoch in turn, in this one process. The bare
loop makes no batch, reads no loss and keeps no score. Where other work shares the cores, take the ratio of processor
times, which ignores that; what threads do beside the loop counts in it as if it took the loop's time.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from stages.core import errors
from stages.core.device import autocast, choose_device, thread_count
from stages.data import prepared
from stages.models import factory
from stages.tasks.classification.metric import Score
from stages.training.batches import Batch, ImageBatches
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe, build_optimizer
from stages.training.trainer import Trainer

CLASSES, DRAWN = 10, 256  # pictures of noise, which come again and again
LARGEST = 2**30  # bytes of images
PAD = {"crop": "pad", "padding": 4, "min_area": 1.0, "flip": True, "turns": False, "colour": 0.0}
COLOURED = PAD | {"crop": "resized", "min_area": 0.5, "colour": 0.3}
# (channels, side, images) of the convolutions whose best is called the peak
CONVOLUTIONS = ((64, 56, 16), (128, 28, 32), (256, 28, 16))


class Shape(NamedTuple):
    """A network and how it is trained, as a preset has it."""

    model: str
    options: dict
    size: int  # pixels
    batch: int
    precision: str  # on a CPU; a GPU computes all in bf16
    augment: dict


SMALL = {"depth": 10, "width": 32, "stride": 4}
SHAPES = {
    "digits": Shape("small_resnet", {"depth": 8, "width": 8, "stride": 2}, 32, 32, "fp32", PAD | {"flip": False}),
    "vehicles": Shape("small_resnet", SMALL, 96, 32, "bf16", PAD),
    "scenes": Shape("small_resnet", SMALL, 150, 64, "bf16", PAD),
    "scenes_coloured": Shape("small_resnet", SMALL, 150, 64, "bf16", COLOURED),
    "mobilenet": Shape("torchvision", {"architecture": "mobilenet_v2", "stem": "standard"}, 96, 32, "fp32", PAD),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="an epoch's length, about")
    options = parser.parse_args()
    device, here, peaks = choose_device("engine"), Path.cwd(), {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in options.shapes:
            shape = SHAPES[name] if device.type == "cpu" else SHAPES[name]._replace(precision="bf16")
            if shape.precision not in peaks:
                peaks[shape.precision] = peak(device, shape.precision)
            compare(name, shape, device, peaks[shape.precision], options.rounds, options.seconds)
        os.chdir(here)


def compare(name: str, shape: Shape, device: torch.device, limit: float, rounds: int, seconds: float) -> None:
    """Prints the two rates, their ratio, and what share of `limit` (FLOP/s) the bare loop reaches."""
    recipe = Recipe(seeds=[0], epochs=1, batch_size=shape.batch, optimizer="adamw", learning_rate=0.001,
                    weight_decay=0.01, warmup_epochs=0.0, label_smoothing=0.0, imbalance="none",
                    class_weight_power=0.5, dice_weight=0.0, ema_decay=0.0, patience=0, keep="last",
                    precision=shape.precision, augment=shape.augment)
    bare = Bare(shape, recipe, device)
    steps = min(bare.steps_in(seconds), LARGEST // (shape.batch * shape.size**2 * 3))
    prepare(steps * shape.batch, shape.size)
    with tempfile.TemporaryDirectory() as folder, tqdm(disable=True) as bar:
        trainer = Trainer(name, build(shape, device), ImageBatches(recipe, 0, device), LabelLoss(recipe, None), Score,
                          recipe, 0, Path(folder))
        ways = {"bare": lambda: bare.run(steps), "engine": lambda: trainer.train_epoch(0, bar)}
        spent = {way: [] for way in ways}
        for way in [*ways] * (rounds + 1):
            spent[way].append(clocked(ways[way], device))
    spent = {way: rows[1:] for way, rows in spent.items()}  # the first ones warm up
    pairs = list(zip(*spent.values(), strict=True))
    by_clock, by_processor = (statistics.median(bare[kind] / own[kind] for bare, own in pairs) for kind in (0, 1))
    rate = {way: steps * shape.batch / statistics.median(clock for clock, _ in rows) for way, rows in spent.items()}
    speed = bare.flops() * rate["bare"] / shape.batch
    where = f"{thread_count()} threads" if device.type == "cpu" else torch.cuda.get_device_name()
    print(f"{name}: {shape.size} px, batch {shape.batch}, {shape.precision}, {steps} steps, on {device.type} "
          f"({where})\n"
          f"  bare loop {rate['bare']:10.0f} images/s, {speed / 1e9:.0f} GFLOP/s: {speed / limit:.0%} of the "
          f"convolutions' peak, {limit / 1e9:.0f}\n"
          f"  pipeline  {rate['engine']:10.0f} images/s: {by_clock:.3f} of the bare loop"
          + (f", by processor time {by_processor:.3f}" if device.type == "cpu" else ""), flush=True)


class Bare:
    """A training loop over batches in memory."""

    def __init__(self, shape: Shape, recipe: Recipe, device: torch.device):
        self.network, self.recipe, self.device = build(shape, device).train(), recipe, device
        self.optimizer = build_optimizer(self.network, recipe)
        images = noise(4 * shape.batch, shape.size).reshape(4, shape.batch, shape.size, shape.size, 3)
        labels = torch.arange(shape.batch, device=device) % CLASSES
        self.batches = [Batch(torch.from_numpy(part).to(device).permute(0, 3, 1, 2), labels) for part in images]

    def run(self, steps: int) -> None:
        for step in range(steps):
            batch = self.batches[step % len(self.batches)]
            with autocast(self.device, self.recipe.precision):
                logits = self.network(batch.images)
            loss = functional.cross_entropy(logits.float(), batch.labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()

    def steps_in(self, seconds: float) -> int:
        self.run(3)
        return max(4, int(5 * seconds / min(clocked(lambda: self.run(5), self.device))))

    def flops(self) -> int:
        """Of a step: of multiplying and adding, in forward and backward."""
        with FlopCounterMode(display=False) as counter:
            self.run(1)
        return counter.get_total_flops()


def build(shape: Shape, device: torch.device) -> torch.nn.Module:
    params = factory.NetworkParams(model=shape.model, options=shape.options, weights="none")
    return factory.build(params, CLASSES, (shape.size, shape.size), 0).to(device)


def noise(count: int, size: int) -> np.ndarray:
    """uint8 (N,H,W,3)."""
    drawn = np.random.default_rng(0).integers(0, 256, (DRAWN, size, size, 3), np.uint8)
    return drawn[np.arange(count) % DRAWN]


def prepare(count: int, size: int) -> None:
    """data/prepared/train in the current folder."""
    folder = prepared.FOLDER / "train"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", noise(count, size))
    np.save(folder / "targets.npy", np.arange(count) % CLASSES)


def peak(device: torch.device, precision: str) -> float:
    """FLOP/s of the quickest of some 3×3 convolutions, forward and backward."""
    best = 0.0
    for channels, side, count in CONVOLUTIONS:
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device)
        layer.to(memory_format=torch.channels_last)
        count *= 1 if device.type == "cpu" else 64
        images = torch.randn(count, channels, side, side, device=device).to(memory_format=torch.channels_last)
        images.requires_grad_()

        def run(layer=layer, images=images) -> None:
            for _ in range(4):
                with autocast(device, precision):
                    layer(images).sum().backward()

        run()
        flops = 4 * 3 * 2 * 9 * channels**2 * side**2 * count
        best = max(best, *(flops / min(clocked(run, device)) for _ in range(3)))
    return best


def clocked(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds by the clock, and of all processors."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started, spent = time.perf_counter(), time.process_time()
    run()
    wait()
    return time.perf_counter() - started, time.process_time() - spent


if __name__ == "__main__":
    errors.run(main)
