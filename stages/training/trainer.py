"""The training engine: one network, one stream of batches, one loss. Knows no task, no teacher and no file of images.

In: `Lesson` (what to learn from), `Recipe`. Out: the network with its weights, and a row of numbers an epoch.
"""

import copy
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from stages.core.device import autocast
from stages.core.errors import UserError
from stages.data import rng
from stages.data.prepared import IGNORED
from stages.training import checkpoint
from stages.training.optim import Recipe, learning_rate, optimiser

# (logits (B,C,*S), targets (B,*S), samples (B,), epoch) → named scalar parts; "loss" is what is minimised.
Loss = Callable[[torch.Tensor, torch.Tensor, np.ndarray, int], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Lesson:
    """What a network learns from and is validated on."""

    samples: int  # N: labelled and unlabelled
    labelled: int  # how many of them are labelled: they make the length of an epoch
    batch: Callable[[np.ndarray, int], torch.Tensor]  # (samples (B,), epoch) → the network's input (B,…)
    targets: Callable[[np.ndarray, int], torch.Tensor]  # (samples (B,), epoch) → int64 (B,*S)
    validation: Callable[[], object]  # → iterator of (input (B,…), targets (B,*S)), the same every time
    score: Callable[[], object]  # → a fresh scorer of the task: update(logits, targets), values() in %
    begin_epoch: Callable[[int], None] = lambda epoch: None
    chances: np.ndarray | None = None  # float64 (N,): how much more often than another a sample comes up; None: alike


@dataclass(frozen=True)
class _Run:
    """What stays the same from epoch to epoch; the networks and the optimiser learn in place."""

    name: str
    seed: int
    network: nn.Module
    averaged: nn.Module  # the moving average of its weights, or itself
    optimizer: torch.optim.Optimizer
    lesson: Lesson
    loss: Loss
    recipe: Recipe

    @property
    def steps(self) -> int:
        return max(1, self.lesson.labelled // self.recipe.batch_size)

    @property
    def batch_size(self) -> int:
        return min(self.recipe.batch_size, self.lesson.labelled)

    def batches(self, epoch: int) -> np.ndarray:
        """int64 (steps, batch_size): which samples each step of an epoch shows; by seed and epoch alone."""
        count, lesson = self.steps * self.batch_size, self.lesson
        rows = (rng.permutation(self.seed, epoch, lesson.samples)[:count] if lesson.chances is None
                else rng.weighted_sample(lesson.chances, self.seed, epoch, count))
        return rows.reshape(self.steps, self.batch_size)


def fit(network: nn.Module, lesson: Lesson, loss: Loss, recipe: Recipe, seed: int, work: Path, name: str) -> list[dict]:
    """Train `network` in place; returns its history, a row an epoch (with seconds, which no two runs agree on).

    Resumes from `work` when an earlier run was stopped. Raises UserError when a part of the loss is not finite.
    """
    device = next(network.parameters()).device
    averaged = copy.deepcopy(network) if recipe.ema_decay else network
    networks = {"network": network} | ({"averaged": averaged} if recipe.ema_decay else {})
    optimizer = optimiser(network, recipe)
    run = _Run(name, seed, network, averaged, optimizer, lesson, loss, recipe)
    state = work / f"seed-{seed}.safetensors"
    best, progress = checkpoint.restore(state, networks, optimizer) if state.exists() else ({}, {"history": []})
    history = progress["history"]
    if lesson.labelled < 2:
        raise UserError(f"{name}: there is {lesson.labelled} labelled training image, but BatchNorm needs two at once; add "
                    "images, or raise split.labelled_fraction")
    with tqdm(total=recipe.epochs * run.steps, initial=len(history) * run.steps, desc=f"{name} seed {seed}",
              unit="step", disable=None) as bar:
        for epoch in range(len(history), recipe.epochs):
            if _stopped(history, recipe, lesson):
                break
            started = time.perf_counter()
            lesson.begin_epoch(epoch)
            row = {"epoch": epoch + 1} | _epoch(run, epoch, bar) | validate(averaged, lesson, recipe.precision)
            if not math.isfinite(row["val_loss"]):
                raise UserError(f"{name}: the loss on val is {row['val_loss']} after epoch {epoch + 1} (seed {seed}); "
                            "lower learning_rate, or use precision: fp32, in params.yaml")
            row["seconds"] = time.perf_counter() - started
            history.append(row)
            if recipe.keep == "best" and _best(history, lesson) == epoch:
                best = {key: value.detach().clone() for key, value in averaged.state_dict().items()}
            checkpoint.save(state, networks, optimizer, best, {"history": history})
            tqdm.write(_line(run, row), sys.stderr)
    network.load_state_dict(best or averaged.state_dict())
    network.to(device).eval()
    return history


def _epoch(run: _Run, epoch: int, bar: tqdm) -> dict[str, float]:
    """One pass; returns the means of the loss's parts and the score on the training batches."""
    device, steps, lesson = next(run.network.parameters()).device, run.steps, run.lesson
    # Dropout and stochastic depth draw from torch's own generator: it starts anew each epoch, so that a resumed
    # run draws the same.
    torch.manual_seed(run.seed * 1_000_003 + epoch)
    run.network.train()
    sums, score = {}, lesson.score()
    for step, samples in enumerate(run.batches(epoch)):
        rate = learning_rate(run.recipe, epoch * steps + step, steps)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        inputs, targets = lesson.batch(samples, epoch), lesson.targets(samples, epoch)
        with autocast(device, run.recipe.precision):
            logits = run.network(inputs)
        if logits.shape[2:] != targets.shape[1:]:
            kinds = ["one for each pixel" if len(shape) else "one for an image"
                     for shape in (logits.shape[2:], targets.shape[1:])]
            raise UserError(f"params.yaml: the network of {run.name} gives answers of another kind ({kinds[0]}) than the "
                        f"labels ({kinds[1]}); choose a model made for data.task")
        parts = run.loss(logits.float(), targets, samples, epoch)
        for part, tensor in parts.items():
            value = float(tensor.detach())
            if not math.isfinite(value):
                raise UserError(f"{run.name}: {part} is {value} at epoch {epoch + 1}, step {step + 1} (learning rate "
                            f"{rate:.4g}, seed {run.seed}); lower learning_rate, or use precision: fp32, in "
                            "params.yaml")
            sums[part] = sums.get(part, 0.0) + value
        run.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        run.optimizer.step()
        if run.recipe.ema_decay:
            _average(run.averaged, run.network, run.recipe.ema_decay, epoch * steps + step)
        score.update(logits.detach(), targets)
        bar.update()
    return {"learning_rate": rate, **{part: value / steps for part, value in sums.items()},
            **{f"train_{key}": value for key, value in score.values().items()}}


@torch.inference_mode()
def validate(network: nn.Module, lesson: Lesson, precision: str) -> dict[str, float]:
    """Mean cross-entropy and scores (in %) on val, in eval mode; the network's mode is as it was afterwards."""
    mode, device = network.training, next(network.parameters()).device
    network.eval()
    score, loss, count = lesson.score(), 0.0, 0
    for inputs, targets in lesson.validation():
        with autocast(device, precision):
            logits = network(inputs).float()
        score.update(logits, targets)
        known = targets.masked_fill(targets < 0, IGNORED)
        loss += float(functional.cross_entropy(logits, known, ignore_index=IGNORED, reduction="sum"))
        count += int((targets >= 0).sum())
    network.train(mode)
    if not count:
        raise UserError("data/prepared/val holds no label at all; look at its masks, and at data.masks in params.yaml")
    return {"val_loss": loss / count, **{f"val_{key}": value for key, value in score.values().items()}}


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and statistics, young at first: decay ≤ (1 + step) / (10 + step)."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)


def _best(history: list[dict], lesson: Lesson) -> int:
    """Index of the epoch with the highest val score; of equals the first."""
    key = f"val_{lesson.score().primary}"
    return max(range(len(history)), key=lambda epoch: (history[epoch][key], -epoch))


def _stopped(history: list[dict], recipe: Recipe, lesson: Lesson) -> bool:
    return bool(recipe.patience and history and len(history) - 1 - _best(history, lesson) >= recipe.patience)


def _line(run: _Run, row: dict) -> str:
    numbers = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in row.items()
                        if key not in ("epoch", "seconds", "learning_rate"))
    speed = run.steps * run.batch_size / row["seconds"]
    return f"{run.name} seed {run.seed}, epoch {row['epoch']}/{run.recipe.epochs}: {numbers}, {speed:.0f} images/s"
