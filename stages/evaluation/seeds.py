"""How the seeds of a network did on val. In: models/<role>/seeds.json, as training leaves it. Out: scores in %.

{"best": the seed that is best on val, "val": {seed: {"loss": …, "<primary score>": …}}}
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from stages.core import files

MODELS = Path("models")


def path(role: str) -> Path:
    """role: teacher | baseline | student."""
    return MODELS / role / "seeds.json" if role != "teacher" else MODELS / "teacher.json"


def read(role: str) -> dict:
    return files.read_json(path(role), ("best", "val"))


def best_weights(role: str) -> Path:
    """Of the seed that is best on val. role: baseline | student."""
    return MODELS / role / f"seed-{read(role)['best']}.safetensors"


def mean_score(ranking: Mapping, primary: str) -> float:
    """Over the seeds, in %. ranking: as `read` returns it."""
    return fmean(scores[primary] for scores in ranking["val"].values())


def best_score(ranking: Mapping, primary: str) -> float:
    """Of the seed that is best on val, in %."""
    return ranking["val"][str(ranking["best"])][primary]
