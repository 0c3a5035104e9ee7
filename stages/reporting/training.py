"""How the networks were trained, and what that took. In: params.yaml, metrics/timing/*.json, plots/*.csv as mappings.
Out: sentences and rows of tables.
"""

from collections.abc import Iterator, Mapping, Sequence

from stages.reporting.numbers import counted, escaped, listed

# What the words of params.yaml stand for; a word that isn't here is shown as it is.
LOSSES = {"kd": "the KL divergence from the teacher's soft targets (Hinton et al., 2015)",
          "dkd": "decoupled knowledge distillation (Zhao et al., 2022)",
          "dist": "(1 − the correlation of answers, between and within classes; Huang et al., 2022)",
          "cwd": "channel-wise distillation (Shu et al., 2021)"}
MODES = {"scratch": "trained from scratch", "finetune": "fine-tuned as a whole",
         "frozen": "frozen but for its new head, which is trained"}


def starts(section: Mapping) -> str:
    """Where a network's weights come from; section: `teacher` or `student`."""
    weights = {"none": "drawn at random", "imagenet": "torchvision's, of ImageNet"}.get(
        section["weights"], f"those of data/weights/{escaped(section['weights'])}")
    mode = MODES.get(section.get("mode"), "")
    return f"{weights}{mode and '; '}{mode}"


def taught(distill: Mapping, recipe: Mapping) -> str:
    """The student's loss; recipe: `student_training`."""
    labels = (f"(cross-entropy + {recipe['dice_weight']:g} × the Dice loss)" if recipe["dice_weight"]
              else "cross-entropy")
    loss = LOSSES.get(distill["loss"], f"`{distill['loss']}`")
    more = " Logits are standardised first (Sun et al., 2024)." if distill["standardise"] else ""
    if distill["debias"]:
        more += f" {100 * distill['debias']:g} % of the log class shares are taken off the teacher's logits."
    return (f"The student's loss is {distill['ce_weight']:g} × {labels} + {distill['kd_weight']:g} × "
            f"T² × {loss}, at a temperature T of {distill['temperature']:g}.{more}")


def asked(targets: Mapping, flip: bool) -> str:
    """What the teacher is asked about; flip: whether training mirrors images."""
    if targets["mode"] == "online":
        return "The teacher answers in every step on the very image that the student sees."
    if targets["mode"] == "views":
        return (f"The teacher was asked once, about {counted(targets['views'], 'view')} of each image, which the "
                "student sees in turn.")
    about = "each image as it is and mirrored" if flip else "each image as it is"
    return (f"The teacher was asked once, about {about}; what it said stands for every view that the student "
            "sees.")


def differs(settings: Mapping, splits: Sequence[tuple[str, int, int]]) -> list[str]:
    """What, beside the teacher, the student has otherwise than the baseline. splits: as preparation.table has them."""
    shown = {"clean": "", "views": f"the student sees {settings['targets']['views']} views of each image, the same for "
                                   "every seed, where the baseline sees new ones in each epoch",
             "online": "the student's views are the same for every seed, where each seed of the baseline has its own"}
    unlabelled = sum(count for name, count, _ in splits if name == "unlabelled")
    more = unlabelled and settings["distill"]["unlabelled"]
    return [said for said in (shown[settings["targets"]["mode"]],
                              f"the student also learns from {counted(unlabelled, 'unlabelled image')}" if more else "")
            if said]


def kept(recipe: Mapping, differing: Sequence[str]) -> str:
    """Which weights of a run count, of baseline and student; differing: as `differs` has it."""
    which = "the last epoch" if recipe["keep"] == "last" else "the epoch that is best on val"
    averaged = f", averaged over steps (`ema_decay` {recipe['ema_decay']:g})," if recipe["ema_decay"] else ""
    seeds = (f"Of {len(recipe['seeds'])} seeds each, the network that is best on val is deployed."
             if len(recipe["seeds"]) > 1 else "There is one seed each.")
    alone = (f". Beside the teacher, this differs: {listed(differing)}. The" if differing else
             ", so that the teacher is all that differs; the")
    return (f"Baseline and student share network, recipe and seeds{alone} weights{averaged} of {which} are kept. "
            f"{seeds}")


def settings(teacher: Mapping, student: Mapping, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, teacher's value, baseline's and student's value) of sections teacher_training and student_training."""
    for key, value in teacher.items():
        if isinstance(value, Mapping):
            yield from settings(value, student[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", written(value), written(student[key])


def written(value: object) -> str:
    """A value of params.yaml as a cell of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else escaped(value)


def ended(curves: Mapping[str, Sequence[Mapping[str, str]]], named: str) -> str:
    """Mean score on val in each seed's last epoch, of teacher, baseline, student."""
    scores, several = {}, False
    for model, rows in curves.items():
        last = {row["seed"]: float(row["val_score"]) for row in rows}
        scores[model], several = sum(last.values()) / len(last), several or len(last) > 1
    said = listed([f"{score:.2f} % ({model})" for model, score in scores.items()])
    return f"In the last epoch, {named} on val is {said}{', the mean of the seeds' if several else ''}."


def cost(timing: Mapping[str, Mapping]) -> str:
    """Of distillation, beside the baseline's training."""
    baseline, student, answers = (timing[name]["seconds"] for name in ("train_baseline", "distill", "teacher_targets"))
    return (f"Distillation took {student / baseline:.2f} times as long as the baseline, "
            f"{(student + answers) / baseline:.2f} times with the teacher's answers counted in.")
