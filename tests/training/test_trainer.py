"""The training loop on a tiny net: it learns, repeats itself, resumes to the same bytes, and stops where it must."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from torch import nn
from training_data import NET, image_batches, label_loss, recipe

from stages.core.errors import UserError
from stages.models import factory
from stages.tasks.classification.metric import Score
from stages.training import batches, trainer
from stages.training.optim import build_optimizer, learning_rate
from stages.training.trainer import READ_EVERY, LossSums, Trainer, evaluate, update_average


def learn(folder: Path, loss=None, net=None, **changes) -> tuple[nn.Module, list[dict]]:
    net = net or factory.build(NET, 3, (16, 16), seed=0)
    folder.mkdir(exist_ok=True)
    own = Trainer("test", net, image_batches(**changes), loss or label_loss(), Score, recipe(**changes), 0, folder)
    return net, own.fit()


def val_accuracy(net: nn.Module) -> float:
    return evaluate(net, image_batches(), Score, "fp32")["accuracy"]


def fingerprint(net: nn.Module) -> str:
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in net.state_dict().values())).hexdigest()


def test_it_learns(prepared_folder):
    net, history = learn(prepared_folder / "w", epochs=8)
    assert history[-1]["val_accuracy"] > 90 > history[0]["val_accuracy"]
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert val_accuracy(net) == history[-1]["val_accuracy"]


def test_the_same_seed_gives_the_same_bytes(prepared_folder):
    assert fingerprint(learn(prepared_folder / "a")[0]) == fingerprint(learn(prepared_folder / "b")[0])


@pytest.mark.parametrize("changes", [
    {}, {"optimizer": "adamw", "learning_rate": 0.003}, {"ema_decay": 0.9}, {"keep": "best"}, {"precision": "bf16"},
    {"imbalance": "weighted_sampler"}],
    ids=lambda changes: next(iter(changes.values()), "plain"))
def test_a_run_that_was_stopped_ends_in_the_same_bytes(prepared_folder, changes):
    """Stopped in the middle of the third epoch, by the loss itself."""
    whole, history = learn(prepared_folder / "whole", epochs=5, **changes)
    steps = 0

    def stop(*batch):
        nonlocal steps
        steps += 1
        if steps == 15:
            raise KeyboardInterrupt
        return label_loss()(*batch)

    with pytest.raises(KeyboardInterrupt):
        learn(prepared_folder / "stopped", stop, epochs=5, **changes)
    resumed, again = learn(prepared_folder / "stopped", epochs=5, **changes)
    assert steps == 15  # six steps an epoch: two epochs were done, and are not done again
    assert fingerprint(resumed) == fingerprint(whole)
    times = {"seconds": 0, "cpu_seconds": 0}
    assert [row | times for row in again] == [row | times for row in history]


@pytest.mark.parametrize("share, epochs", [(1e9, [1, 2, 3, 4]), (1e-9, [1, 4])], ids=["cheap", "dear"])
def test_the_first_and_the_last_epoch_are_kept_and_those_between_where_that_costs_little(
        prepared_folder, monkeypatch, share, epochs):
    kept, save = [], trainer.checkpoint.save
    monkeypatch.setattr(trainer, "SAVING", share)
    monkeypatch.setattr(trainer.checkpoint, "save",
                        lambda *state: kept.append(len(state[-1]["history"])) or save(*state))
    learn(prepared_folder / "w", epochs=4)
    assert kept == epochs


@pytest.mark.parametrize("changes", [{}, {"imbalance": "weighted_sampler"}], ids=["plain", "weighted_sampler"])
def test_batches_made_ahead_give_the_same_bytes(prepared_folder, monkeypatch, changes):
    alone, history = learn(prepared_folder / "alone", **changes)
    monkeypatch.setattr(batches, "prefetch_threads", lambda device: 2)
    ahead, again = learn(prepared_folder / "ahead", **changes)
    assert fingerprint(ahead) == fingerprint(alone)
    times = {"seconds": 0, "cpu_seconds": 0}
    assert [row | times for row in again] == [row | times for row in history]


@pytest.mark.parametrize("damage", ["emptied", "cut", "zeroed", "a flipped bit", "a flipped bit of the hash"])
def test_a_damaged_checkpoint_is_none(prepared_folder, capsys, damage):
    """The run starts anew, says so in one line, and ends in the same bytes."""
    whole, history = learn(prepared_folder / "whole", epochs=2)
    learn(prepared_folder / "damaged", epochs=2)
    path = prepared_folder / "damaged/seed-0.checkpoint"
    content = bytearray(path.read_bytes())
    if "bit" in damage:
        content[3 if "hash" in damage else len(content) // 2] ^= 1
    path.write_bytes({"emptied": b"", "cut": content[:-100], "zeroed": bytes(len(content))}.get(damage, content))
    capsys.readouterr()
    again, rows = learn(prepared_folder / "damaged", epochs=2)
    lines = [line for line in capsys.readouterr().err.splitlines() if "checkpoint" in line]
    assert lines == [f"test seed 0: {path} is damaged, so training starts anew"]
    assert fingerprint(again) == fingerprint(whole) and len(rows) == len(history) == 2


def test_best_keeps_the_epoch_with_the_highest_val_score(prepared_folder):
    """A loss that is minimised for four epochs of six steps, and maximised from then on."""
    steps = iter(range(48))

    def loss(logits, batch):
        return {"loss": label_loss()(logits, batch)["loss"] * (1 if next(steps) < 24 else -1)}

    net, history = learn(prepared_folder / "w", loss, epochs=8, keep="best")
    assert val_accuracy(net) == max(row["val_accuracy"] for row in history) > history[-1]["val_accuracy"]


def test_patience_stops(prepared_folder):
    _, history = learn(prepared_folder / "w", epochs=30, keep="best", patience=2)
    best = max(range(len(history)), key=lambda epoch: (history[epoch]["val_accuracy"], -epoch))
    assert len(history) == best + 3 < 30


def test_the_learning_rate_by_hand():
    rates = [learning_rate(recipe(epochs=3, warmup_epochs=1.0, learning_rate=1.0), step, 2) for step in range(6)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])


def test_the_optimizer_is_the_one_that_the_recipe_names():
    net = nn.Linear(2, 2)
    sgd, adamw = (build_optimizer(net, recipe(optimizer=name, learning_rate=0.25)) for name in ("sgd", "adamw"))
    assert isinstance(sgd, torch.optim.SGD) and sgd.defaults["nesterov"] and sgd.defaults["momentum"] == 0.9
    assert isinstance(adamw, torch.optim.AdamW) and adamw.defaults["lr"] == sgd.defaults["lr"] == 0.25


@pytest.mark.parametrize("name, of_torch", [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_takes_the_steps_of_torchs_own(name, of_torch):
    own, other = (nn.Linear(3, 2) for _ in range(2))
    other.load_state_dict(own.state_dict())
    first = build_optimizer(own, recipe(optimizer=name, learning_rate=0.25))
    groups = [group | {"params": [other.weight] if number == 0 else [other.bias]}
              for number, group in enumerate(first.param_groups)]
    for optimizer, net in ((first, own), (of_torch(groups), other)):
        for step in range(3):
            optimizer.zero_grad()
            net(torch.arange(6.0).view(2, 3) + step).square().sum().backward()
            optimizer.step()
    assert torch.equal(own.weight, other.weight) and torch.equal(own.bias, other.bias)


def test_training_imports_no_compiler():
    code = ("import sys, torch; from training_data import recipe; from stages.training.optim import build_optimizer\n"
            "net = torch.nn.Linear(2, 2); optimizer = build_optimizer(net, recipe(optimizer='adamw'))\n"
            "net(torch.ones(1, 2)).sum().backward(); optimizer.step(); optimizer.zero_grad()\n"
            "sys.exit(str([name for name in ('torch._dynamo', 'torch._inductor') if name in sys.modules]))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"})
    assert done.stderr.strip() == "[]"


def test_all_epochs_may_be_warm_up_and_no_more():
    assert recipe(epochs=3, warmup_epochs=3.0).warmup_epochs == 3.0
    with pytest.raises(ValueError, match=r"warmup_epochs is 3.5: more than the 3 epochs"):
        recipe(epochs=3, warmup_epochs=3.5)


def test_weight_decay_spares_biases_and_batch_norm():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    groups = build_optimizer(net, recipe(weight_decay=0.25)).param_groups
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert {name: decays[id(parameter)] for name, parameter in net.named_parameters()} == {
        "0.weight": 0.25, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0, "3.weight": 0.25, "3.bias": 0.0}


def test_the_moving_average_by_hand():
    """Its decay is (1 + step) / (10 + step) at first, and the given one from where that is larger."""
    average, net = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    for step, expected in ((0, 0.1 * 8 + 0.9 * 2), (2, 0.25 * 8 + 0.75 * 2), (1000, 0.9 * 8 + 0.1 * 2)):
        average.weight.data.fill_(8.0)
        net.weight.data.fill_(2.0)
        update_average(average, net, 0.9, step)
        assert float(average.weight) == pytest.approx(expected)


def test_the_moving_average_takes_batch_norms_statistics_along():
    average, net = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    net.running_mean.fill_(4.0)
    net.num_batches_tracked.fill_(7)
    update_average(average, net, 0.5, 1000)
    assert float(average.running_mean) == 2.0 and int(average.num_batches_tracked) == 7


def test_the_student_trains_in_train_mode_after_validation(prepared_folder):
    modes = []
    net = factory.build(NET, 3, (16, 16), seed=0)
    net.register_forward_hook(lambda module, *_: modes.append(module.training))
    learn(prepared_folder / "w", net=net, epochs=2)
    assert modes == ([True] * 6 + [False]) * 2
    assert not net.training


def test_a_loss_part_that_is_not_finite_stops_with_the_step(prepared_folder):
    calls = 0

    def broken(logits, batch):
        nonlocal calls
        calls += 1
        return {"loss": logits.mean(), "taught": torch.tensor(float("nan") if calls == 8 else 0.0)}

    with pytest.raises(UserError, match=r"taught is nan at epoch 2, step 2 \(learning rate .*lower learning_rate"):
        learn(prepared_folder / "w", broken)


def test_a_gpu_is_asked_for_the_loss_every_few_steps_and_the_first_step_that_is_not_finite_is_named():
    """Its sums are those of a CPU, which is asked at every step."""
    refused, values = [], torch.rand(READ_EVERY + 5)
    sums = {kind: LossSums(torch.device(kind), lambda *about: refused.append(about)) for kind in ("cpu", "cuda")}
    for step, value in enumerate(values):
        for own in sums.values():
            own.add({"loss": value, "part": 2 * value}, step, 0.5)
        if step == 3:
            assert "loss" in sums["cpu"].sums and not sums["cuda"].sums
    assert sums["cuda"].values() == sums["cpu"].values() == {
        "loss": sum(values.tolist()), "part": sum((2 * values).tolist())}
    assert not refused
    for step, value in enumerate([1.0, float("inf"), float("nan")]):
        sums["cuda"].add({"loss": torch.tensor(1.0), "part": torch.tensor(value)}, step, 0.5)
    assert not refused
    sums["cuda"].values()
    assert refused[0] == ("part", float("inf"), 1, 0.5)
