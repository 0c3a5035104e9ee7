"""How the networks were trained, and how long that took. In: params.yaml, metrics/timing/*.json, plots/*.csv as
mappings. Out: sentences and rows of tables.
"""

from collections.abc import Iterator, Mapping, Sequence

from stages.reporting.numbers import cell, counted, escaped, flattened, listed
from stages.reporting.preparation import unlabelled_count

# Of the words of params.yaml; one that is not here is printed as it is.
LOSSES = {"kd": "the KL divergence from the teacher's soft targets (Hinton et al., 2015)",
          "dkd": "decoupled knowledge distillation (Zhao et al., 2022)",
          "dist": "(1 − the correlation with the teacher's probabilities, between and within classes; Huang et al., "
                  "2022)",
          "cwd": "channel-wise distillation (Shu et al., 2021)"}
WEIGHTS = {"none": "random", "imagenet": "pre-trained on ImageNet"}
MODES = {"scratch": "trained from scratch", "finetune": "fine-tuned as a whole", "frozen": "frozen except the new head"}


def initial_weights(section: Mapping) -> str:
    """Where a network's weights come from. section: `teacher` or `student`, of which the latter has no mode."""
    weights = WEIGHTS.get(section["weights"], f"those of data/weights/{escaped(section['weights'])}")
    mode = MODES.get(section.get("mode"), "")
    return f"{weights}{mode and '; '}{mode}"


def loss(distill: Mapping, recipe: Mapping) -> str:
    """The student's loss. recipe: section `student_training`."""
    labels = (f"(cross-entropy + {recipe['dice_weight']:g} × the Dice loss)" if recipe["dice_weight"]
              else "cross-entropy")
    teacher = LOSSES.get(distill["loss"], f"`{distill['loss']}`")
    more = " Logits are standardised first (Sun et al., 2024)." if distill["standardise"] else ""
    if distill["debias"]:
        more += (f" {100 * distill['debias']:g} % of the logarithm of the class frequencies is subtracted from the "
                 "teacher's logits.")
    features = ""
    if distill["feature_weight"]:
        features = (f" + {distill['feature_weight']:g} × (1 − the cosine between the teacher's standardised features "
                    "and a linear map of the student's, which is trained with it and dropped)")
    return (f"The student's loss is {distill['ce_weight']:g} × {labels} + {distill['kd_weight']:g} × T² × {teacher}"
            f"{features}, at a temperature T of {distill['temperature']:g}.{more}")


def targets(params: Mapping, flip: bool) -> str:
    """Which images the teacher's logits are of. params: section `targets`; flip: whether training mirrors images."""
    if params["mode"] == "online":
        return "In every step, the teacher predicts on exactly the augmented images that the student sees."
    if params["mode"] == "views":
        return (f"The teacher's logits were computed once, for {counted(params['views'], 'augmented view')} of each "
                "image, which the student sees in turn.")
    return (f"The teacher's logits were computed once, for each image without augmentation{' and mirrored' * flip}; "
            "they are the targets for every view that the student sees.")


def differences(settings: Mapping, splits: Sequence[tuple[str, int, int]]) -> list[str]:
    """What differs between baseline and student besides the teacher. splits: as preparation.table returns them."""
    views = {"clean": "",
             "views": f"the student sees {settings['targets']['views']} views of each image, the same for every seed, "
                      "whereas the baseline sees new ones in each epoch",
             "online": "the student's views are the same for every seed, whereas each seed of the baseline has its own"}
    count = unlabelled_count(splits)
    unlabelled = (f"the student also learns from {counted(count, 'unlabelled image')}"
                  if count and settings["distill"]["unlabelled"] else "")
    return [*filter(None, (views[settings["targets"]["mode"]], unlabelled))]


def kept(recipe: Mapping, differing: Sequence[str]) -> str:
    """Which weights of baseline and student are kept. differing: as `differences` returns them."""
    epoch = "the last epoch" if recipe["keep"] == "last" else "the epoch that is best on val"
    averaged = (f", an exponential moving average over steps (`ema_decay` {recipe['ema_decay']:g}),"
                if recipe["ema_decay"] else "")
    seeds = (f"Of {len(recipe['seeds'])} seeds each, the network that is best on val is deployed."
             if len(recipe["seeds"]) > 1 else "There is one seed each.")
    differ = (f". Besides the teacher, this differs: {listed(differing)}. The" if differing else
              ", so that the teacher is the only difference; the")
    return (f"Baseline and student share network, training settings and seeds{differ} weights{averaged} of {epoch} are "
            f"kept. {seeds}")


def settings(teacher: Mapping, student: Mapping) -> Iterator[tuple[str, str, str]]:
    """(key, teacher's value, baseline's and student's value) of sections teacher_training and student_training."""
    students = dict(flattened(student))
    for key, value in flattened(teacher):
        yield key, cell(value), cell(students[key])


def last_epoch(curves: Mapping[str, Sequence[Mapping[str, str]]], metric: str) -> str:
    """Mean score on val in each seed's last epoch, of teacher, baseline, student."""
    last = {model: {row["seed"]: float(row["val_score"]) for row in rows} for model, rows in curves.items()}
    means = listed([f"{sum(scores.values()) / len(scores):.2f} % ({model})" for model, scores in last.items()])
    averaged = ", averaged over the seeds" if any(len(scores) > 1 for scores in last.values()) else ""
    return f"In the last epoch, {metric} on val is {means}{averaged}."


def cost(timing: Mapping[str, Mapping]) -> str:
    """The time of distillation relative to the baseline's training: where the CPU computed, its time, which a busy
    machine does not change.
    """
    on_cpu = all(timing[name]["device"] == "cpu" for name in ("train_baseline", "distill", "teacher_targets"))
    baseline, student, answers = (timing[name]["cpu_seconds" if on_cpu else "seconds"]
                                  for name in ("train_baseline", "distill", "teacher_targets"))
    took = "times the CPU time of training the baseline" if on_cpu else "times as long as training the baseline"
    return (f"Distillation took {student / baseline:.2f} {took}, {(student + answers) / baseline:.2f} times with the "
            "teacher's answers included.")
