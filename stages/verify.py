"""Proves that the deployed files are what they claim to be, so that no others reach the scores and the report.

reads   models/{teacher,baseline,student}.onnx, models/{student,teacher}.int8.onnx, models/classes.txt; what they were
        made from: models/teacher.safetensors, models/baseline/, models/student/; what they are checked on:
        data/prepared/ (test, index.csv, classes.txt) and the same pictures in data/raw.zip; predict.py
writes  metrics/verify.json, and on stderr a line a check. Where one fails it writes no file, and ends with status 1.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from stages.core import errors, files, params, workdir
from stages.deployment import checks, onnx_model, predict_check
from stages.deployment.checks import CheckResult, ModelUnderTest, Sample, VerifyParams


class Check(NamedTuple):
    run: Callable[[ModelUnderTest], CheckResult]
    advice: str  # what to do where it fails


VERIFIED = Path("metrics/verify.json")
AGAIN = "make it again with dvc repro -sf quantize"
OTHER_MODEL = f"{AGAIN}; if that doesn't help, choose another model in params.yaml"
CHECKS = {
    "onnx": Check(checks.well_formed, AGAIN),
    "strings": Check(checks.no_local_paths,
                     f"{AGAIN}; if that doesn't help, mend `strip` of stages/deployment/onnx_model.py"),
    "card": Check(checks.card_matches, AGAIN),
    "batches": Check(checks.batch_invariant, OTHER_MODEL),
}
FLOAT = {"torch": Check(checks.same_as_torch, f"{OTHER_MODEL}, or raise verify.tolerance")}
SMALL = {"overflow": Check(checks.no_overflow, "set quantize.reduce_range to true, or verify.allow_overflow to "
                                                      "true if no such processor will run it"),
         "agreement": Check(checks.same_as_float, "python -m stages.quantize --explore finds better settings; or "
                                                  "lower verify.least_agreement in params.yaml")}


def main() -> None:
    settings = params.load("verify", VerifyParams)
    VERIFIED.unlink(missing_ok=True)  # an old one must not speak for new files
    sample = Sample(settings.images)
    table, failures = {name: {} for name in onnx_model.DEPLOYED}, []
    with workdir.folder("verify", [], []) as scratch:
        for name, path in onnx_model.DEPLOYED.items():
            for key, check, result in run_checks(ModelUnderTest(name, sample, settings), scratch):
                print(f"{name:<12}  {key:<9}  {'passed' if result.passed else 'FAILED'}  {result.message}",
                      file=sys.stderr)
                table[name][key] = result.figures | {"passed": result.passed}
                if not result.passed:
                    failures.append((f"{path}: {key}: {result.message}", check.advice))
    if failures:
        message, advice = failures[0]
        others = f" ({len(failures) - 1} more failed, see above)" if failures[1:] else ""
        raise errors.UserError(f"{message}{others}; {advice}")
    files.write_json(VERIFIED, table | {"passed": True})


def run_checks(subject: ModelUnderTest, scratch: Path) -> Iterator[tuple[str, Check, CheckResult]]:
    """Up to the first check that fails: later ones rely on earlier ones."""
    for key, check in checks_of(subject, scratch).items():
        result = run_check(check, subject)
        yield key, check, result
        if not result.passed:
            return


def checks_of(subject: ModelUnderTest, scratch: Path) -> dict[str, Check]:
    """The checks of this file, the most basic first."""
    if not subject.is_small:
        return CHECKS | FLOAT
    if subject.name != "int8":  # what it loses is a result, since it is there to be compared
        return CHECKS | {"overflow": SMALL["overflow"]}
    return CHECKS | SMALL | {"predict": Check(
        partial(predict_check.same_as_prepared, folder=scratch / "alone"),
        "mend predict.py, which python -m tools.build_predict makes from predict/ and stages/data")}


def run_check(check: Check, subject: ModelUnderTest) -> CheckResult:
    """A check that can't be made has failed."""
    try:
        return check.run(subject)
    except errors.UserError as error:
        return CheckResult(False, errors.one_line(error), {})
    except Exception as error:  # those of onnx, onnxruntime and torch share no base but this one
        if errors.out_of_memory(error) or errors.full_disk(error):
            raise
        return CheckResult(False, f"{type(error).__name__}, {errors.one_line(error)[:300]}", {})


if __name__ == "__main__":
    errors.run(main)
