"""What a branch changes, as Markdown for its pull request: parameters, metrics, budget, plots. Needs no data, no GPU.

    make diff BASE=main          or        python -m tools.pull_request main

In: the working tree, and the commit at which the branch left BASE. Out: Markdown on stdout. Exit status 1 if dvc.lock
is stale, which the first lines then say. --images URL shows pictures from URL/<commit>/<path>, which must be the raw
file of a commit, as https://github.com/OWNER/PROJECT/raw serves it.
"""

import argparse
import sys
from collections.abc import Mapping

from stages.core import errors, files, params
from stages.deployment import budget
from tools.comparison import differences, dvc_lock, git, metric_values
from tools.comparison.metric_values import MetricValue

QUALITY, SIZE = "metrics/quality.json", "metrics/size.json"
Pairs = Mapping[str, Mapping[str, differences.Pair]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pull_request",
                                     description="What this branch changes, as Markdown.")
    parser.add_argument("base", metavar="BASE", help="a branch, tag or commit")
    parser.add_argument("--images", metavar="URL", help="show pictures, from URL/<commit>/<path>")
    options = parser.parse_args()
    git.check_project_folder()
    since, stale = git.merge_base(options.base), dvc_lock.stale_stages()
    base = options.base[:7] if options.base == git.commit_hash(options.base) else options.base
    page = [f"## {git.commit_hash('HEAD')[:7]} compared with `{base}`", _moved_on(base, since),
            dvc_lock.describe(stale), *sections(base, since, not stale, options.images)]
    print("\n\n".join(filter(None, page)))
    sys.exit(bool(stale))


def _moved_on(base: str, since: str) -> str:
    count = int(git.run("rev-list", "--count", f"{since}..{base}", "--"))
    return f"`{base}` has moved on since this branch left it at {since[:7]}, which is what it is compared with " \
           f"({count} commit{'s' if count > 1 else ''})." if count else ""


def sections(base: str, since: str, is_fresh: bool, prefix: str | None) -> list[str]:
    """The rest of the page. If dvc.lock is not fresh, metrics are shown, but no conclusions are drawn from them."""
    pairs = differences.metric_pairs(since)
    repeatable, timed = differences.metrics_tables(pairs, base)
    details = f"<details><summary>Times and memory: they depend on the machine{_machines(pairs)}</summary>\n\n" \
              f"{timed}\n\n</details>" if timed else ""
    return [headline(pairs, base, same_test_images(since)) if is_fresh else "",
            "### Parameters", differences.params_table(since, base),
            "### Metrics", repeatable or "No metric differs.", details, "### Budget", budget_verdict(),
            "### Plots and report", differences.pictures(since, prefix)]


def _machines(pairs: Pairs) -> str:
    """What differs between the machines that measured the two sides, if anything does."""
    differing = [f"{name.removeprefix('machine.')} {before} → {now}"
                 for name, (before, now) in pairs.get(differences.SPEED, {}).items()
                 if name.startswith("machine.") and before is not None and before != now]
    return f", and it was another one ({', '.join(differing)})" if differing else ""


def same_test_images(since: str) -> bool | None:
    """Whether both sides were scored on the same test images, by dvc.lock; None if it doesn't tell."""
    before, now = (dvc_lock.entries(text).get("evaluate", {}).get("data/prepared/test")
                   for text in (git.read(since, dvc_lock.FILE), dvc_lock.read()))
    return None if None in (before, now) else before == now


def headline(pairs: Pairs, base: str, same_images: bool | None) -> str:
    """The shipped file's primary score, before and now, and what their difference shows; then gain and size."""
    before, now = (differences.one_side(pairs.get(QUALITY, {}), index) for index in (0, 1))
    score_name = now.get("test.named")
    old, new = (metric_values.find(values, f"int8.{now.get('test.primary')}") for values in (before, now))
    if new is None:
        return f"{QUALITY} is missing or holds no score: nothing to say about quality."
    if old is None:
        reason = f"was judged by {before['test.named']}" if "test.named" in before else "holds no such score"
        return f"**The shipped file's {score_name}: {new} %.** `{base}` {reason}: there is nothing to compare it with."
    if change := difference(old, new, now, same_images):
        lines = [f"**The shipped file's {score_name}: {old} % → {new} %**{change}"]
    else:
        lines = [f"**The shipped file's {score_name} is the same: {new} %.**"]
    lines.append(gain(before, now))
    size_before, size = pairs.get(SIZE, {}).get("int8.size_mb", (None, None))
    if size is not None:
        lines.append(f"Its file: {size} MB" + ("." if size_before is None else ", as before." if size_before == size
                                               else f" ({size_before} MB before)."))
    return "\n\n".join(filter(None, lines))


def difference(old: MetricValue, new: MetricValue, now: Mapping[str, object], same_images: bool | None) -> str:
    """How far apart two scores are, and whether their intervals show a difference; "" if there is none.

    now: quality.json of today, for the number of test images. same_images: as `same_test_images` returns it.
    """
    if old[:2] == new[:2] and same_images:  # metrics of an older commit may lack the interval
        return ""
    change = new.value - old.value
    size = f"{abs(change):.2f} points {'up' if change > 0 else 'down'}" if round(change, 2) else "level"
    if same_images is False:
        return f", {size}, but on other test images: the two cannot be compared."
    if same_images is None:
        return f", {size}, but {dvc_lock.FILE} doesn't say on both sides which test images these are: no conclusion " \
               "is drawn from the difference."
    images = f"the {now['test.images']} test images" if now.get("test.images") else "the test images"
    several_seeds = None not in (old.std, new.std)
    match metric_values.evidence(old, new):
        case (True, "interval"):
            reason = f"The 95 % intervals do not meet: chance in {images}" + (
                " and in the seeds hardly explains it." if several_seeds
                else " hardly explains it, but one seed says nothing of others.")
        case (False, "interval"):
            reason = "The 95 % intervals overlap: no difference is shown."
        case (True, "seeds"):
            reason = f"More than both ± together; but ± is of the seeds alone and says nothing of {images}: a hint, " \
                     "no proof."
        case (False, "seeds"):
            reason = "Within the ± of the seeds: no difference is shown."
        case _:
            reason = "Neither interval nor ± on both sides: it may be chance."
    return f", {size}. {reason}"


def gain(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """What distillation brought, before and now."""
    old, new = (metric_values.find(values, "distillation.gain") for values in (before, now))
    if new is None:
        return ""
    size, verb = (-new, "loses {} points against") if new.value < 0 else (new, "gains {} points over")
    text = f"Distillation {verb.format(size.rounded(2))} the same network alone"
    if old == new:
        text += " (as before)"
    elif old is not None:
        text += f" (lost {(-old).rounded(2)} before)" if old.value < 0 else f" (gained {old.rounded(2)} before)"
    if size.low is None:
        return f"{text}."
    return f"{text}: its 95 % interval " + ("is above 0." if size.low > 0 else "holds 0, so none is shown.")


def budget_verdict() -> str:
    """Whether the deployed file keeps to benchmark.budget, by the metrics in the working tree."""
    limits = params.load("benchmark.budget", budget.BudgetParams)
    try:
        verdicts = budget.verdicts(limits, *map(files.read_metrics, ("size", "speed", "quality")))
    except errors.UserError as error:
        return f"Cannot be told: {error}."
    if not verdicts:
        return budget.describe(verdicts) + "."
    word = "Kept" if all(verdict.met for verdict in verdicts) else "Not kept"
    return "\n".join([f"**{word}**, by the figures of the machine that measured them:", "",
                      *(f"- {verdict}" for verdict in verdicts)])


if __name__ == "__main__":
    errors.run(main)
