"""Trains the teacher. In: data/prepared (train, val). Out: models/teacher.safetensors, plots/teacher.csv.

From scratch, fine-tuned from given weights, or frozen with a new head: then the backbone runs over the images once.
"""

from pathlib import Path

from stages.kit import arrays, faults, lessons, named, network, params, prepared, runtime, seeds, views, work
from stages.kit.faults import Fault
from stages.kit.recipe import Recipe
from stages.kit.tables import whole

MODEL = Path("models/teacher.safetensors")


def main() -> None:
    teacher = params.load("teacher", network.TeacherParams)
    recipe = params.load("teacher_training", Recipe)
    task = params.word("data.task")
    if teacher.mode != "scratch" and teacher.weights == "none":
        raise Fault(f"params.yaml: teacher.mode is {teacher.mode}, which starts from trained weights; "
                    "set teacher.weights to imagenet or a .safetensors file, or the mode to scratch")
    score = named.module("tasks", task, "data.task").Score
    device = runtime.start("train_teacher")
    classes = len(prepared.classes())
    local = [Path(teacher.weights)] if teacher.weights not in ("none", "imagenet") else []
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "val", *(path for path in local if path.exists())]
    with work.folder("train_teacher", [teacher, recipe, task, classes, runtime.threads(), device], inputs) as place:
        fresh = lambda seed: network.build(teacher, classes, seed).to(device)  # noqa: E731
        save = lambda seed, trained: network.save(trained, place / f"kept-{seed}.safetensors")  # noqa: E731
        if teacher.mode == "frozen":
            histories = _train_head(fresh, save, recipe, score, place, device)
        else:
            histories = seeds.train("teacher", recipe, place, lambda seed: (
                fresh(seed), lessons.supervised(score, recipe.augment, seed, device),
                lessons.labels_alone(recipe.label_smoothing)), save)
        ranking = seeds.ranking(histories, recipe, score.primary)
        with whole(MODEL, "wb") as file:
            file.write((place / f"kept-{ranking['best']}.safetensors").read_bytes())
        seeds.write_curves(Path("plots/teacher.csv"), histories)
        seeds.write_timing(Path("metrics/timing/train_teacher.json"), histories, len(prepared.targets("train")), device)


def _train_head(fresh, save, recipe: Recipe, score, place: Path, device):
    """The backbone's features of image and mirror image, computed once; then a linear head on them alone."""
    import numpy as np
    import torch

    backbone = network.freeze(fresh(recipe.seeds[0]))
    parent, name, head = network.head(backbone.net)
    width = head.in_features
    setattr(parent, name, torch.nn.Identity())
    mirror = (False, True) if recipe.augment.flip else (False,)
    train = np.concatenate([_features(backbone, "train", flipped, width, recipe, place, device)[None] for flipped in mirror])
    val = _features(backbone, "val", False, width, recipe, place, device)
    labels, val_labels = prepared.targets("train"), torch.from_numpy(np.array(prepared.targets("val"))).to(device)
    as_tensor = lambda values: torch.from_numpy(values).to(device)  # noqa: E731

    def attempt(seed: int):
        def batch(samples, epoch):
            return as_tensor(train[views.mirrored(samples, recipe.augment, seed, epoch).astype(int), samples])

        lesson = lessons.Lesson(len(labels), len(labels), batch, lambda samples, epoch: as_tensor(labels[samples]),
                                lambda: [(as_tensor(val), val_labels)], score)
        return network.head(fresh(seed).net)[2], lesson, lessons.labels_alone(recipe.label_smoothing)

    def keep(seed: int, head) -> None:
        setattr(parent, name, head)
        save(seed, backbone)

    return seeds.train("teacher head", recipe, place, attempt, keep)


def _features(backbone, split: str, mirror: bool, width: int, recipe: Recipe, place: Path, device):
    """float32 (N,F): what the frozen backbone says of a split's images, kept in `place` for a resumed run."""
    import numpy as np
    import torch
    from tqdm import tqdm

    path = place / f"features-{split}-{'mirror' if mirror else 'plain'}.npy"
    if not path.exists():
        stored = views.Images(prepared.images(split))
        starts = range(0, len(stored), recipe.batch_size)

        @torch.inference_mode()
        def chunks():
            for start in tqdm(starts, desc=f"backbone over {split}", unit="batch", disable=None):
                rows = np.arange(start, min(start + recipe.batch_size, len(stored)))
                with runtime.precise(device, recipe.precision):
                    yield backbone(lessons.images(views.plain(stored, rows, mirror), device)).cpu().numpy()

        arrays.write(path, (len(stored), width), "float32", chunks())
    return np.load(path, mmap_mode="r")


if __name__ == "__main__":
    faults.run(main)
