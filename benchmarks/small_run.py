"""The default run made small, for scripts that run it a hundred times: every sixth digit, two seeds, little training.

All its stages do what they do in the default run; the scores are poor, and no budget or agreement is asked of them.
"""

import itertools
from pathlib import Path

import yaml

from benchmarks import copies
from stages.data import builtin
from stages.setup import presets

SOURCE = "some-digits"  # a folder in data/source/
EVERY = 6  # which of the embedded digits


def make(folder: Path) -> None:
    """A copy of the project in `folder`, without dvc.lock and outs, whose params.yaml and source are the small ones."""
    folder.mkdir(parents=True, exist_ok=True)
    copies.make_fresh(folder, None, sources=False)
    for path, content in itertools.islice(builtin.SETS["digits"](), None, None, EVERY):
        place = folder / "data/source" / SOURCE / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    (folder / "params.yaml").write_text(yaml.safe_dump(params(), sort_keys=False), encoding="utf-8")


def params() -> dict:
    values = presets.values("digits")
    values["data"]["source"] = SOURCE
    values["scan"]["folds"] = 2
    values["split"]["labelled_fraction"] = 0.5
    values["teacher"]["options"] = {"depth": 8, "width": 8, "stride": 4}
    values["student"]["options"] = {"depth": 8, "width": 4, "stride": 4}
    for section in ("teacher_training", "student_training"):
        values[section] |= {"epochs": 8, "warmup_epochs": 1.0}
    values["student_training"]["seeds"] = [0, 1]
    values["targets"]["batch_size"] = 16
    values["quantize"] |= {"calibration_images": 16, "remedy": "none", "max_drop": 100.0}
    values["verify"] |= {"images": 16, "least_agreement": 0.0}
    values["evaluate"]["resamples"] = 200
    values["benchmark"] |= {"rounds": 2, "warmup": 1, "seconds": 0.01, "batch_size": 8}
    values["benchmark"]["budget"] = dict.fromkeys(values["benchmark"]["budget"])
    return values
