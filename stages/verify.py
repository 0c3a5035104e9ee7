"""Proves that the deployed files are what they claim to be, so that no other reaches the scores and the report.

reads   models/{teacher,baseline,student}.onnx, models/student.int8.onnx, models/classes.txt; what they were made from:
        models/teacher.safetensors, models/baseline/, models/student/; what they are tried on: data/prepared/ (test,
        index.csv, classes.txt) and the same pictures in data/raw.zip; predict.py
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
    judge: Callable[[ModelUnderTest], CheckResult]
    advice: str  # for who sees it fail


class Finding(NamedTuple):
    name: str  # a key of onnx_files.DEPLOYED
    check: str
    outcome: CheckResult
    advice: str


VERIFIED = Path("metrics/verify.json")
AGAIN = "make it again with dvc repro -sf quantize"
CHECKS = {
    "onnx": Check(checks.well_formed, AGAIN),
    "strings": Check(checks.no_local_paths, f"{AGAIN}; if that doesn't help, mend `strip` of stages/deployment/onnx_model.py"),
    "card": Check(checks.card_matches, AGAIN),
    "batches": Check(checks.batch_invariant, f"{AGAIN}; if that doesn't help, choose another model in params.yaml"),
}
FLOAT = {"torch": Check(checks.same_as_torch, f"{AGAIN}; if that doesn't help, choose another model in params.yaml"
                                                   ", or raise verify.tolerance")}
SMALL = {"agreement": Check(checks.same_as_float, "python -m stages.quantize --explore finds better settings; or "
                                                       "lower verify.least_agreement in params.yaml")}


def main() -> None:
    settings = params.load("verify", VerifyParams)
    VERIFIED.unlink(missing_ok=True)  # an old one must not speak for new files
    sample, findings = Sample(settings.images), []
    with workdir.folder("verify", [], []) as scratch:
        for name in onnx_model.DEPLOYED:
            for finding in tried(ModelUnderTest(name, sample, settings), scratch):
                findings.append(finding)
                print(line(finding), file=sys.stderr)
    failed = [finding for finding in findings if not finding.outcome.passed]
    if failed:
        name, check, outcome, advice = failed[0]
        others = f" ({len(failed) - 1} more failed, see above)" if failed[1:] else ""
        raise errors.UserError(f"{onnx_model.DEPLOYED[name]}: {check}: {outcome.said}{others}; {advice}")
    files.write_json(VERIFIED, table(findings))


def tried(subject: ModelUnderTest, scratch: Path) -> Iterator[Finding]:
    """Up to the first check that fails: the later ones lean on the earlier."""
    for name, check in checks_of(subject, scratch).items():
        outcome = attempted(check.judge, subject)
        yield Finding(subject.name, name, outcome, check.advice)
        if not outcome.passed:
            return


def checks_of(subject: ModelUnderTest, scratch: Path) -> dict[str, Check]:
    """From the plain to the demanding."""
    if subject.name != "int8":
        return CHECKS | FLOAT
    return CHECKS | SMALL | {"predict": Check(
        partial(predict_check.same_as_prepared, folder=scratch / "alone"),
        "mend predict.py, which python -m tools.build_predict makes from predict/ and stages/data")}


def attempted(judge: Callable[[ModelUnderTest], CheckResult], subject: ModelUnderTest) -> CheckResult:
    """A check that can't be made has failed."""
    try:
        return judge(subject)
    except errors.UserError as fault:
        return CheckResult(False, errors.one_line(fault), {})
    except Exception as error:  # those of onnx, onnxruntime and torch share no base but this one
        if errors.out_of_memory(error) or errors.full_disk(error):
            raise
        return CheckResult(False, f"{type(error).__name__}, {errors.one_line(error)[:300]}", {})


def line(finding: Finding) -> str:
    passed, said, _ = finding.outcome
    return f"{finding.name:<8}  {finding.check:<9}  {'passed' if passed else 'FAILED'}  {said}"


def table(findings: list[Finding]) -> dict:
    """{file: {check: {figure: value, "passed": true}}, "passed": true}."""
    figures = {finding.name: {} for finding in findings}
    for finding in findings:
        figures[finding.name][finding.check] = finding.outcome.figures | {"passed": finding.outcome.passed}
    return figures | {"passed": all(finding.outcome.passed for finding in findings)}


if __name__ == "__main__":
    errors.run(main)
