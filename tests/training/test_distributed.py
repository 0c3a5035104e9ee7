"""Two processes that train one network: as one would, the same each time, also where one of them is killed."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import ROOT, Project
from torch import nn
from training_data import NET, build, image_batches, write_prepared

from stages.core import ranks
from stages.core.errors import UserError
from stages.core.files import read_csv, write_json
from stages.models import factory
from stages.training import distributed, sync_batch_norm

EPOCHS = 20
TOLERANCE = 0.001  # of numbers of the curves, as a share, and of the teacher's logits


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Project:
    """Trained by one process, with a loss that compares the samples of a batch; shares of 15 images are uneven."""
    project = Project(tmp_path_factory.mktemp("one"))
    write_prepared(project.folder)
    values = project.params()
    for section in ("teacher", "student"):
        values[section] |= NET.model_dump()
    values["student_training"] |= {"seeds": [0], "epochs": EPOCHS, "warmup_epochs": 1.0, "batch_size": 15,
                                   "optimizer": "sgd", "learning_rate": 0.005}
    values["targets"] |= {"mode": "views", "views": 2, "batch_size": 16}
    values["distill"] |= {"loss": "dist", "temperature": 1.0}
    project.write(values)
    with contextlib.chdir(project.folder):
        torch.set_num_threads(1)
        factory.save(build(NET, 3, 16), factory.TEACHER)
        for path in ("models/teacher.json", "models/baseline/seeds.json"):
            write_json(Path(path), {"best": 0, "val": {0: {"loss": 1.0, "accuracy": 50.0}}})
    shutil.copytree(project.folder, project.folder.with_name("untrained"))
    project.main("teacher_targets", "distill")
    return project


@pytest.fixture(scope="module")
def two(one, tmp_path_factory) -> Project:
    """The same by two."""
    project = Project(tmp_path_factory.mktemp("two"))
    shutil.copytree(one.folder.with_name("untrained"), project.folder, dirs_exist_ok=True)
    done = project.set("training.processes", 2).run("teacher_targets", "distill")
    assert done.returncode == 0 and done.stderr.count(f"epoch {EPOCHS}/{EPOCHS}") == 1, done.stderr
    return project


def weights(project: Project) -> bytes:
    return (project.folder / "models/student/seed-0.safetensors").read_bytes()


@pytest.mark.slow
def test_two_processes_learn_what_one_does(one, two):
    alone, together = (np.load(project.folder / "models/targets.npy").astype(float) for project in (one, two))
    assert together == pytest.approx(alone, abs=TOLERANCE) and np.ptp(alone) > 100 * TOLERANCE
    alone, together = (read_csv(project.folder / "plots/student.csv") for project in (one, two))
    assert len(together) == EPOCHS
    for own, other in zip(alone, together, strict=True):
        for key, value in own.items():  # sums are taken in another order: an image may be on the edge of two classes
            tolerance = {"abs": 4.2} if key.endswith("accuracy") else {"rel": TOLERANCE}
            assert float(other[key]) == pytest.approx(float(value), **tolerance), key


@pytest.mark.slow
def test_a_killed_process_ends_all_in_one_line_and_the_next_run_in_the_same_bytes(two):
    whole = weights(two)
    shutil.rmtree(two.folder / "models/student")
    run = subprocess.Popen([sys.executable, "-m", "stages.distill"], cwd=two.folder, stderr=subprocess.PIPE, text=True,
                           env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    while f"epoch 2/{EPOCHS}" not in run.stderr.readline():
        assert run.poll() is None
    workers = [child for child in psutil.Process(run.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    workers[-1].kill()
    *before, last = run.communicate(timeout=120)[1].splitlines()
    # The second where the pool learns of the death from the other process: it may miss that of the last it started.
    assert run.returncode == 1 and last.startswith(("distill: the system ended one of the processes",
                                                    "distill: another process of this run has ended")), last
    assert all(line.startswith("student seed 0, epoch") for line in before), before
    assert len(workers) == 2 and not psutil.wait_procs(workers, timeout=10)[1]
    again = two.run("distill")
    assert again.returncode == 0 and f"epoch 1/{EPOCHS}" not in again.stderr, again.stderr
    assert weights(two) == whole


def as_one_of(monkeypatch, rank: int, world: int) -> None:
    monkeypatch.setattr(ranks, "_rank", rank)
    monkeypatch.setattr(ranks, "_world", world)


def test_shares_by_hand(monkeypatch):
    """Every row is one process's, and none is without work."""
    assert ranks.share(7) == slice(0, 7)
    found = []
    for rank in range(3):
        as_one_of(monkeypatch, rank, 3)
        found.append([ranks.share(7), ranks.share(2), *ranks.shares(7, 2)])
    assert found == [[slice(0, 2), slice(0, 1), (slice(0, 2), 6), (slice(6, 7), 1)],
                     [slice(2, 4), slice(0, 1), (slice(2, 4), 6), (slice(6, 7), 1)],
                     [slice(4, 7), slice(1, 2), (slice(4, 6), 6), (slice(6, 7), 1)]]


def test_the_shares_of_a_batch_are_the_batch(prepared_folder, monkeypatch):
    """With each sample's augmentation."""
    whole = next(image_batches().epoch(1))
    parts = []
    for rank in range(3):
        as_one_of(monkeypatch, rank, 3)
        parts.append(next(image_batches().epoch(1)))
    assert [len(part.images) for part in parts] == [2, 3, 3] and {part.total for part in parts} == {8}
    for name in ("images", "labels"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_gathered_rows_leave_out_what_no_process_was_to_compute(monkeypatch):
    as_one_of(monkeypatch, 1, 3)
    sent = []

    def all_gather(tensor: torch.Tensor) -> list[torch.Tensor]:
        sent.append(tensor)
        return [tensor + 10 * rank for rank in range(3)]

    monkeypatch.setattr(ranks, "all_gather", all_gather)
    assert ranks.gather(torch.tensor([[1, 2], [3, 4]]), 7).tolist() == [
        [1, 2], [3, 4], [11, 12], [13, 14], [21, 22], [23, 24], [20, 20]]
    assert sent[0].tolist() == [[1, 2], [3, 4], [0, 0]]
    assert ranks.gather(torch.tensor([9]), 2).tolist() == [19, 29]  # of rows for two of three


def test_a_batch_too_small_to_be_shared_is_refused():
    distributed.check_size(1, 1)
    distributed.check_size(8, 4)
    with pytest.raises(UserError, match=r"7 images is too small to be shared by 4 processes.*raise batch_size"):
        distributed.check_size(7, 4)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_synchronised_batch_norm_by_torchs_own(monkeypatch, momentum):
    """Of two processes, one of which holds three images of a batch and the other two: what torch makes of all five."""
    generator = torch.Generator().manual_seed(0)
    images, incoming = (torch.randn(5, 3, 4, 2, generator=generator) * 2 + 1 for _ in range(2))
    single = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum))
    with torch.no_grad():
        single[0].weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
        single[0].bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    shares = (slice(0, 3), slice(3, 5))
    own = [nn.Sequential(nn.BatchNorm2d(3, momentum=momentum)) for _ in shares]
    for network in own:
        network.load_state_dict(single.state_dict())
        sync_batch_norm.convert(network)
        assert type(network[0]) is sync_batch_norm.SyncBatchNorm and network[0].training
    expected = run(single, images, incoming)
    # What each process would send is noted in a first pass; in the second each hears both.
    noted = {"gathered": [], "added": []}
    monkeypatch.setattr(ranks, "all_gather", lambda tensor: noted["gathered"].append(tensor) or [tensor])
    monkeypatch.setattr(ranks, "add_up", lambda tensor: None)
    for share in shares:
        run(own[0], images[share], incoming[share])
    own[0].load_state_dict(own[1].state_dict())
    monkeypatch.setattr(ranks, "all_gather", lambda tensor: noted["gathered"])
    monkeypatch.setattr(ranks, "add_up", lambda tensor: noted["added"].append(tensor.clone()))
    for share in shares:
        run(own[0], images[share], incoming[share])
    own[0].load_state_dict(own[1].state_dict())
    monkeypatch.setattr(ranks, "add_up", lambda tensor: tensor.copy_(sum(noted["added"])))
    found = [run(network, images[share], incoming[share]) for network, share in zip(own, shares, strict=True)]
    for name in ("output", "input"):
        torch.testing.assert_close(torch.cat([part[name] for part in found]), expected[name])
    for name in ("weight", "bias"):
        torch.testing.assert_close(sum(part[name] for part in found), expected[name])
    for network in own:
        torch.testing.assert_close(network.state_dict(), single.state_dict())
        torch.testing.assert_close(network.eval()(images), single.eval()(images))


def run(network: nn.Sequential, images: torch.Tensor, incoming: torch.Tensor) -> dict[str, torch.Tensor]:
    """Output, and the gradients of input, weight and bias."""
    network.zero_grad()
    images = images.clone().requires_grad_()
    output = network.train()(images)
    output.backward(incoming)
    return {"output": output.detach(), "input": images.grad, "weight": network[0].weight.grad.clone(),
            "bias": network[0].bias.grad.clone()}


def test_layers_that_activate_as_well_go_on_doing_so():
    """timm's BatchNorm layers; those of an unknown kind are refused."""
    from timm.layers import BatchNormAct2d

    network = nn.Sequential(nn.Conv2d(3, 4, 1), BatchNormAct2d(4, act_layer=nn.ReLU6), nn.BatchNorm2d(4)).eval()
    images = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    expected, names = network(images), list(network.state_dict())
    sync_batch_norm.convert(network)
    assert torch.equal(network(images), expected) and list(network.state_dict()) == names
    assert isinstance(network[1], sync_batch_norm.SyncBatchNorm)
    assert network[1](torch.full((1, 4, 2, 2), -3.0)).min() >= 0

    class Odd(nn.BatchNorm2d):
        pass

    with pytest.raises(UserError, match=r"Odd .* set training\.batch_norm to local"):
        sync_batch_norm.convert(nn.Sequential(Odd(4)))
