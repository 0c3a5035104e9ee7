"""Trains the teacher. In: data/prepared (train, val). Out: models/teacher.safetensors, plots/teacher.csv.

From scratch, fine-tuned from given weights, or frozen with a new head: then the backbone runs over the images once.
"""

import time
from functools import partial
from pathlib import Path

from stages.core import errors, files, params, plugins, workdir
from stages.core.device import autocast, choose_device, thread_count
from stages.core.errors import UserError
from stages.core.files import atomic_write
from stages.data import augmentation, prepared
from stages.models import factory
from stages.training import batches, multi_seed
from stages.training.optim import Recipe
from stages.training.trainer import Loss


def main() -> None:
    teacher = params.load("teacher", factory.TeacherParams)
    recipe = params.load("teacher_training", Recipe)
    task = params.load_word("data.task")
    varied = recipe.augment.crop != "none" or recipe.augment.colour or recipe.augment.turns
    if teacher.mode == "frozen" and varied:
        raise UserError("params.yaml: teacher.mode is frozen, so the backbone sees each image and its mirror image once; "
                    "set teacher_training.augment.crop to none, colour to 0.0 and turns to false, or teacher.mode to "
                    "finetune")
    score = plugins.module("tasks/*/metric", task, "data.task").Score
    device = choose_device("train_teacher")
    classes = len(prepared.classes())
    counts = prepared.class_counts(classes) if recipe.imbalance != "none" else None
    chances, loss = batches.chances("teacher_training", recipe, counts), batches.labels_alone(recipe, counts)
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "val", factory.WEIGHTS]
    with workdir.folder("train_teacher", [teacher, recipe, task, classes, thread_count(), device], inputs) as place:
        def fresh(seed: int):
            return factory.build(teacher, classes, prepared.image_size(), seed).to(device)

        def kept(seed: int) -> Path:
            return place / f"kept-{seed}.safetensors"

        if teacher.mode == "frozen":
            histories = _train_head(fresh, kept, recipe, score, loss, chances, place)
        else:
            histories = multi_seed.train("teacher", recipe, place, lambda seed: (
                fresh(seed), batches.supervised(score, recipe.augment, seed, device, chances=chances), loss,
            ), lambda seed, trained: factory.save(trained, kept(seed)))
        best = multi_seed.ranking(histories, recipe, score.primary)["best"]
        with atomic_write(factory.TEACHER, "wb") as file:
            file.write(kept(best).read_bytes())
        multi_seed.write_curves(Path("plots/teacher.csv"), histories, score.primary)
        multi_seed.write_timing(Path("metrics/timing/train_teacher.json"), histories, prepared.labelled_count(), device,
                           before=sum(float(path.read_text()) for path in place.glob("*.seconds")))


def _train_head(fresh, kept, recipe: Recipe, score, loss: Loss, chances, place: Path):
    """The backbone's features of image and mirror image, computed once; then a linear head on them alone."""
    import numpy as np
    import torch

    backbone = factory.freeze(fresh(recipe.seeds[0]))
    device = next(backbone.parameters()).device
    parent, name, head = factory.head(backbone.net)
    setattr(parent, name, torch.nn.Identity())
    ask = partial(_features, backbone, width=head.in_features, recipe=recipe, place=place, device=device)
    train = ask("train", (False, True) if recipe.augment.flip else (False,))
    val = ask("val", (False,))[0]
    labels, val_labels = prepared.targets("train"), prepared.targets("val")

    def tensor(values) -> torch.Tensor:
        return torch.from_numpy(np.array(values)).to(device)

    def batch(seed: int, samples, epoch: int) -> torch.Tensor:
        return tensor(train[augmentation.is_flipped(samples, recipe.augment, seed, epoch).astype(int), samples])

    def validation():
        for start in range(0, len(val), batches.VALIDATION_BATCH):
            rows = slice(start, start + batches.VALIDATION_BATCH)
            yield tensor(val[rows]), tensor(val_labels[rows])

    def attempt(seed: int):
        lesson = batches.Lesson(len(labels), len(labels), partial(batch, seed),
                                lambda samples, epoch: tensor(labels[samples]), validation, score, chances=chances)
        return factory.head(fresh(seed).net)[2], lesson, loss

    def keep(seed: int, trained) -> None:
        setattr(parent, name, trained)
        factory.save(backbone, kept(seed))

    return multi_seed.train("teacher head", recipe, place, attempt, keep)


def _features(backbone, split: str, mirror: tuple[bool, ...], width: int, recipe: Recipe, place: Path, device):
    """float32 (passes,N,F), mapped: what the frozen backbone says of a split's images, as stored and mirrored.

    Kept in `place` for a resumed run.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    path = place / f"features-{split}.npy"
    if not path.exists():
        stored = augmentation.ImageArrays(prepared.images(split))
        started = time.perf_counter()
        asked = [(flipped, start) for flipped in mirror for start in range(0, len(stored), recipe.batch_size)]

        @torch.inference_mode()
        def chunks():
            for flipped, start in tqdm(asked, desc=f"backbone over {split}", unit="batch", disable=None):
                rows = np.arange(start, min(start + recipe.batch_size, len(stored)))
                with autocast(device, recipe.precision):
                    yield backbone(batches.images(augmentation.unaugmented(stored, rows, flipped), device)).cpu().numpy()

        files.write_array(path, (len(mirror), len(stored), width), "float32", chunks())
        path.with_suffix(".seconds").write_text(str(time.perf_counter() - started))
    return np.load(path, mmap_mode="r")


if __name__ == "__main__":
    errors.run(main)
