"""What a branch changes, as Markdown for a pull request: parameters, metrics, budget, plots. Needs no data and no GPU.

    make diff BASE=main          or        python -m tools.pull_request main

In: the working tree, and the commit at which the branch left BASE. Out: Markdown on stdout; exit status 1 where
dvc.lock is stale, which the first lines then say. --images URL puts pictures in: URL/<commit>/<path> has to bring a
file of a commit, as https://github.com/OWNER/PROJECT/raw does.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from stages.core import errors, files, params
from stages.deployment import budget
from tools import differences, figures, history, lock

QUALITY, SIZE = "metrics/quality.json", "metrics/size.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pull_request",
                                     description="What this branch changes, as Markdown.")
    parser.add_argument("base", metavar="BASE", help="a branch, tag or commit")
    parser.add_argument("--images", metavar="URL", help="put pictures in, from URL/<commit>/<path>")
    asked = parser.parse_args()
    history.check_place()
    since = history.parting(asked.base)
    found, base = lock.stale(), asked.base[:7] if asked.base == history.commit(asked.base) else asked.base
    differences.show([f"## {history.commit('HEAD')[:7]} compared with `{base}`", _moved(base, since), lock.said(found),
                      *sections(base, since, not found, asked.images)])
    sys.exit(bool(found))


def _moved(base: str, since: str) -> str:
    ahead = history.ahead(base, since)
    return f"`{base}` has moved on since this branch left it at {since[:7]}, which is what it is compared with " \
           f"({ahead} commit{'s' if ahead > 1 else ''})." if ahead else ""


def sections(base: str, since: str, fresh: bool, prefix: str | None) -> list[str]:
    """The rest of the page. Figures that don't belong to this code (not fresh) are shown, but nothing is said of them.
    """
    pairs = differences.metrics(since)
    repeated, timed = differences.metrics_tables(pairs, base)
    apart = f"<details><summary>Times and memory: they depend on the machine{_machines(pairs)}</summary>\n\n" \
            f"{timed}\n\n</details>" if timed else ""
    return [headline(pairs, base, same_test(since)) if fresh else "",
            "### Parameters", differences.params_table(since, base), "### Metrics", repeated or "No metric differs.",
            apart, "### Budget", verdict(), "### Plots and report", differences.pictures(since, prefix)]


def _machines(pairs: Mapping[str, Mapping[str, differences.Pair]]) -> str:
    """What differs between the machines that measured the two sides, if anything does."""
    differing = [f"{name.removeprefix('machine.')} {before} → {now}"
                 for name, (before, now) in pairs.get(differences.TIMED, {}).items()
                 if name.startswith("machine.") and before is not None and before != now]
    return f", and it was another one ({', '.join(differing)})" if differing else ""


def same_test(since: str) -> bool | None:
    """Whether both were scored on the same test images, by dvc.lock; None where it doesn't say."""
    before, now = (lock.entries(text).get("evaluate", {}).get("data/prepared/test")
                   for text in (history.text(since, lock.FILE), lock.text()))
    return None if None in (before, now) else before == now


def headline(pairs: Mapping[str, Mapping[str, differences.Pair]], base: str, same_images: bool | None) -> str:
    """The int8 student's leading score, before and now, and what may be said of the difference; then gain and size."""
    before, now = (differences.side(pairs.get(QUALITY, {}), number) for number in (0, 1))
    primary, named = (now.get(f"test.{key}") for key in ("primary", "named"))
    name = f"int8.{primary}"
    new, old = (figures.score(values, name) for values in (now, before))
    if new is None:
        return f"{QUALITY} is missing or holds no score: nothing to say about quality."
    if old is None:
        there = f"was judged by {before['test.named']}" if "test.named" in before else "holds no such score"
        return f"**The int8 student's {named}: {new} %.** `{base}` {there}: there is nothing to compare it with."
    said = difference(old, new, now, same_images)
    first = f"**The int8 student's {named}: {old} % → {new} %**" if said else \
        f"**The int8 student's {named} is the same: {new} %.**"
    lines = [f"{first}{said}", gain(before, now)]
    smaller, small = pairs.get(SIZE, {}).get("int8.size_mb", (None, None))
    if small is not None:
        known = "" if smaller is None else ", as before" if smaller == small else f" ({smaller} MB before)"
        lines.append(f"Its file: {small} MB{known}.")
    return "\n\n".join(filter(None, lines))


def difference(old: figures.Score, new: figures.Score, now: Mapping[str, object],
               same_images: bool | None) -> str:
    """How far apart two scores are, and no more about it than their chances allow."""
    if old[:2] == new[:2] and same_images:  # an older commit may lack the interval
        return ""
    change = new.value - old.value
    how = f"{abs(change):.2f} points {'up' if change > 0 else 'down'}" if round(change, 2) else "level"
    if not same_images:
        return f", {how}, but " + (
            "on other test images: the two cannot be compared." if same_images is False else
            f"{lock.FILE} doesn't say on both sides which test images these are: nothing is said of the difference.")
    known = figures.evidence(old, new)
    images = now.get("test.images")
    among = f"the {images} test images" if images else "the test images"
    seeds = "" if None in (old.std, new.std) else " and in the seeds"
    why = {("interval", True): f"The 95 % intervals do not meet: chance in {among}{seeds} hardly explains it"
                               f"{'' if seeds else ', but one seed says nothing of others'}.",
           ("interval", False): "The 95 % intervals overlap: no difference is shown.",
           ("seeds", True): f"More than both ± together; but ± is of the seeds alone and says nothing of {among}: a "
                            "hint, no proof.",
           ("seeds", False): "Within the ± of the seeds: no difference is shown.",
           }.get((known.by, known.shown), "Neither interval nor ± on both sides: nothing tells it from chance.")
    return f", {how}. {why}"


def gain(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """What distillation brought, before and now."""
    old, new = (figures.score(values, "distillation.gain") for values in (before, now))
    if new is None:
        return ""
    lost = new.value < 0
    won = -new if lost else new
    said = f"Distillation {'loses' if lost else 'gains'} {won.rounded(2)} points " \
           f"{'against' if lost else 'over'} the same network alone"
    if old == new:
        said += " (as before)"
    elif old is not None:
        said += f" (lost {(-old).rounded(2)} before)" if old.value < 0 else f" (gained {old.rounded(2)} before)"
    if won.low is None:
        return said + "."
    return f"{said}: its 95 % interval " + ("is above 0." if won.low > 0 else "holds 0, so none is shown.")


def verdict() -> str:
    """Whether the deployed file keeps to benchmark.budget, as committed here."""
    limits = params.load("benchmark.budget", budget.BudgetParams)
    try:
        measured = [files.read_json(Path("metrics", f"{name}.json")) for name in ("size", "speed", "quality")]
        found = budget.verdicts(limits, *measured)
    except (OSError, ValueError, KeyError) as error:
        return f"Cannot be told: metrics/ is not complete ({errors.one_line(error)}); run dvc repro."
    if not found:
        return budget.describe(found) + "."
    kept = all(one.met for one in found)
    return "\n".join([f"**{'Kept' if kept else 'Not kept'}**, by the figures of the machine that measured them:", "",
                      *(f"- {one}" for one in found)])


if __name__ == "__main__":
    errors.run(main)
