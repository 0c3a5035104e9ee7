"""The training loop: one network, one stream of batches, one loss. Knows no task, no teacher and no file of images.

In: a network, `Batches`, a loss, a metric, a `Recipe`. Out: the trained network, and a row of numbers an epoch.
"""

import copy
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from stages.core import ranks
from stages.core.device import autocast
from stages.core.errors import UserError
from stages.data import parallel
from stages.data.prepared import IGNORED
from stages.training import checkpoint, distributed
from stages.training.batches import Batch, Batches
from stages.training.optim import Recipe, build_optimizer, learning_rate

# (logits float32 (B,C,*S), batch) → scalar parts by name; "loss" is what is minimised.
Loss = Callable[[torch.Tensor, Batch], dict[str, torch.Tensor]]
SAVING = 0.02  # share of the time that checkpoints may take, beside those of the first and the last epoch
READ_EVERY = 32  # steps: how many may follow on one whose loss is not finite, on a GPU
History = list[dict[str, float]]  # a row an epoch; "seconds" and "cpu_seconds" differ between any two runs


class NotFinite(UserError):
    """The loss is no number any more."""


class Trainer:
    """Trains one network for one seed; stopped at any moment, it goes on where it was and ends in the same bytes."""

    def __init__(self, name: str, network: nn.Module, batches: Batches, loss: Loss, metric: type, recipe: Recipe,
                 seed: int, folder: Path):
        """metric: a task's `Score`: update(logits, labels), values() in %, and which of them is `primary`.
        folder: where the checkpoint is kept.
        """
        distributed.check_size(batches.size, ranks.world())
        distributed.set_up(network)
        self.name, self.seed, self.recipe = name, seed, recipe
        self.network, self.batches, self.loss, self.metric = network, batches, loss, metric
        self.device = next(network.parameters()).device
        self.averaged = copy.deepcopy(network) if recipe.ema_decay else network  # moving average of the weights
        self.optimizer = build_optimizer(network, recipe)
        self.networks = {"network": network} | ({"averaged": self.averaged} if recipe.ema_decay else {})
        self.checkpoint = folder / f"seed-{seed}.checkpoint"

    def fit(self) -> History:
        """Train the network in place, from the checkpoint of an earlier run if there is one.

        Raises NotFinite when the loss, on a training batch or on val, is not finite.
        """
        best, history = self._restore()
        due = 0.0  # when the next checkpoint is: saving one waits for the disk, which may take as long as a short epoch
        with tqdm(total=self.recipe.epochs * self.batches.steps, initial=len(history) * self.batches.steps,
                  desc=f"{self.name} seed {self.seed}", unit="step", disable=None,
                  position=parallel.worker_number() if ranks.world() == 1 else 0) as bar:
            while not self._is_done(history):
                epoch = len(history)
                started, cpu_started = time.perf_counter(), time.process_time()
                row = {"epoch": epoch + 1} | self.train_epoch(epoch, bar) | self.validate(epoch)
                history.append(row | {"seconds": time.perf_counter() - started,
                                      "cpu_seconds": sum(ranks.numbers(time.process_time() - cpu_started))})
                if self.recipe.keep == "best" and self._best_epoch(history) == epoch:
                    best = {key: value.detach().clone() for key, value in self.averaged.state_dict().items()}
                if ranks.is_main() and (time.perf_counter() >= due or self._is_done(history)):
                    saving = time.perf_counter()
                    checkpoint.save(self.checkpoint, self.networks, self.optimizer, best, {"history": history})
                    due = time.perf_counter() + (time.perf_counter() - saving) / SAVING
                tqdm.write(self._summary(history[-1]), sys.stderr)
        self.network.load_state_dict(best or self.averaged.state_dict())
        self.network.to(self.device).eval()
        return history

    def train_epoch(self, epoch: int, bar: tqdm) -> dict[str, float]:
        """One pass; returns the means of the loss's parts and the score on the training batches."""
        # Dropout and stochastic depth draw from torch's own generator: reseeded each epoch, so that a resumed run draws
        # the same. Several processes draw apart.
        torch.manual_seed(self.seed * 1_000_003 + epoch + ranks.rank() * 2**40)
        self.network.train()
        sums, score, steps = LossSums(self.device, self._refuse), self.metric(), self.batches.steps
        for step, batch in enumerate(self.batches.epoch(epoch), epoch * steps):
            rate = learning_rate(self.recipe, step, steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            with autocast(self.device, self.recipe.precision):
                logits = self.network(batch.images)  # (B,C,*S)
            self._check_shapes(logits, batch.labels)
            logits, batch = distributed.whole(logits.float(), batch)
            parts = self.loss(logits, batch)
            sums.add(parts, step, rate)
            self.optimizer.zero_grad(set_to_none=True)
            parts["loss"].backward()
            distributed.add_gradients(self.network)
            self.optimizer.step()
            if self.recipe.ema_decay:
                update_average(self.averaged, self.network, self.recipe.ema_decay, step)
            score.update(logits.detach(), batch.labels)
            bar.update()
        distributed.average_buffers(self.networks.values())
        return {"learning_rate": rate, **{part: value / steps for part, value in sums.values().items()},
                **{f"train_{key}": value for key, value in score.values().items()}}

    def validate(self, epoch: int) -> dict[str, float]:
        numbers = evaluate(self.averaged, self.batches, self.metric, self.recipe.precision)
        if not math.isfinite(numbers["loss"]):
            raise NotFinite(f"{self.name}: the loss on val is {numbers['loss']} after epoch {epoch + 1} (seed "
                            f"{self.seed}); lower learning_rate, or use precision: fp32, in params.yaml")
        return {f"val_{key}": value for key, value in numbers.items()}

    def _restore(self) -> tuple[dict[str, torch.Tensor], History]:
        """The best weights so far and the history, with networks and optimizer as they were left.

        A checkpoint that is damaged counts as none.
        """
        best, history = self._restore_own()
        ranks.check_same(len(history), "checkpoints", self.checkpoint.parent)
        return best, history

    def _restore_own(self) -> tuple[dict[str, torch.Tensor], History]:
        if not self.checkpoint.exists():
            return {}, []
        try:
            best, progress = checkpoint.restore(self.checkpoint, self.networks, self.optimizer)
        except checkpoint.Unreadable as error:
            print(f"{self.name} seed {self.seed}: {error}, so training starts anew", file=sys.stderr)
            return {}, []
        return best, progress["history"]

    def _best_epoch(self, history: History) -> int:
        """Index of the epoch with the highest val score; of equals the first."""
        scores = [row[f"val_{self.metric.primary}"] for row in history]
        return scores.index(max(scores))

    def _is_done(self, history: History) -> bool:
        """After all epochs, or out of patience."""
        epochs, patience = self.recipe.epochs, self.recipe.patience
        return len(history) >= epochs or bool(
            patience and history and len(history) - 1 - self._best_epoch(history) >= patience)

    def _check_shapes(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        if logits.shape[2:] != labels.shape[1:]:
            kinds = ["one per pixel" if len(shape) else "one per image"
                     for shape in (logits.shape[2:], labels.shape[1:])]
            raise UserError(f"params.yaml: the network of {self.name} outputs {kinds[0]}, but the labels are "
                            f"{kinds[1]}; choose a model made for data.task")

    def _refuse(self, part: str, value: float, step: int, rate: float) -> None:
        """Raises NotFinite for a part of the loss that is not finite."""
        epoch, step = divmod(step, self.batches.steps)
        raise NotFinite(f"{self.name}: {part} is {value} at epoch {epoch + 1}, step {step + 1} (learning rate "
                        f"{rate:.4g}, seed {self.seed}); lower learning_rate, or use precision: fp32, in params.yaml")

    def _summary(self, row: dict[str, float]) -> str:
        numbers = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in row.items()
                            if key not in ("epoch", "seconds", "cpu_seconds", "learning_rate"))
        speed = self.batches.steps * self.batches.size / row["seconds"]
        return (f"{self.name} seed {self.seed}, epoch {row['epoch']}/{self.recipe.epochs}: {numbers}, "
                f"{speed:.0f} images/s")


class LossSums:
    """Sums of the loss's parts over an epoch. On a GPU they are read, and held to be finite, every few steps, since a
    reading waits for it; on a CPU at every step, before the weights change.
    """

    def __init__(self, device: torch.device, refuse: Callable[[str, float, int, float], None]):
        """refuse(part, value, step, learning rate) raises for a value that is not finite."""
        self.every, self.refuse = 1 if device.type == "cpu" else READ_EVERY, refuse
        self.unread, self.sums = [], {}  # of steps: its number, its learning rate, its parts by name

    def add(self, parts: dict[str, torch.Tensor], step: int, rate: float) -> None:
        self.unread.append((step, rate, {part: value.detach() for part, value in parts.items()}))
        if len(self.unread) == self.every:
            self._read()

    def values(self) -> dict[str, float]:
        self._read()
        return self.sums

    def _read(self) -> None:
        """One copy from the device for all that is unread."""
        if not self.unread:
            return
        numbers = iter(torch.stack([value for *_, parts in self.unread for value in parts.values()]).tolist())
        for step, rate, parts in self.unread:
            for part, value in zip(parts, numbers, strict=False):
                if not math.isfinite(value):
                    self.refuse(part, value, step, rate)
                self.sums[part] = self.sums.get(part, 0.0) + value
        self.unread = []


@torch.inference_mode()
def evaluate(network: nn.Module, batches: Batches, metric: type, precision: str) -> dict[str, float]:
    """Mean cross-entropy ("loss") and scores in % on val, in eval mode; the network's mode is put back afterwards."""
    was_training, device = network.training, next(network.parameters()).device
    network.eval()
    score, losses, counts = metric(), [], []  # read once, at the end: on a GPU each reading waits for it
    for batch in batches.validation():
        with autocast(device, precision):
            logits, batch = distributed.whole(network(batch.images).float(), batch)
        score.update(logits, batch.labels)
        is_labelled = batch.labels >= 0
        labels = batch.labels.masked_fill(~is_labelled, IGNORED)
        losses.append(functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
        counts.append(is_labelled.sum())
    network.train(was_training)
    loss, count = (sum(torch.stack(values).tolist()) for values in (losses, counts))
    if not count:
        raise UserError("data/prepared/val holds no label at all; look at its masks, and at data.masks in params.yaml")
    return {"loss": loss / count, **score.values()}


@torch.no_grad()
def update_average(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and BatchNorm statistics.

    The decay is at most (1 + step) / (10 + step), so that the first weights, which are random, are soon forgotten.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)
