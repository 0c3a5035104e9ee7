"""What the numbers allow to be said. In: metrics/quality.json as a mapping. Out: sentences no stronger than that."""

from collections.abc import Mapping

SIGNIFICANT = 0.05  # the p-value below which a difference is called one


def spread(row: Mapping[str, float], metric: str, digits: int) -> str:
    """97.12 ± 0.30, or 97.12 where there is a single seed."""
    std = row.get(f"{metric}_std")
    return f"{row[metric]:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def distillation(quality: Mapping) -> list[str]:
    """What the teacher brought, whether chance explains it, how far the student got."""
    return [_gain(quality), _chance(quality), _gap(quality)]


def _gain(quality: Mapping) -> str:
    gain, seeds, named = quality["distillation"]["gain"], quality["test"]["seeds"], quality["test"]["named"]
    student, baseline = (spread(quality[name], quality["test"]["primary"], 2) for name in ("student", "baseline"))
    over = f"Over {seeds} seeds, the" if seeds > 1 else "With one seed, the"
    how = f"{points(gain)} {'above' if gain > 0 else 'below'}" if round(gain, 2) else "level with"
    return (f"{over} distilled student's {named} is {how} the same network's trained without a teacher "
            f"({student} % against {baseline} %).")


def _chance(quality: Mapping) -> str:
    images, p, paired = quality["test"]["images"], *(quality["distillation"][key] for key in ("p_value", "paired_gain"))
    student, baseline = quality["student"]["deployed"], quality["baseline"]["deployed"]
    said = (f"The two networks that are deployed have {student:.2f} % and {baseline:.2f} %: ",
            f"({quality['test']['paired_test']}, p {'< 0.0001' if p < 0.0001 else f'= {p:.4f}'})")
    if p >= SIGNIFICANT:
        return f"{said[0]}no difference can be shown with {images} test images {said[1]}."
    if paired * (student - baseline) < 0:  # a mean over images and a score of all images together may part ways
        return (f"{said[0]}but image by image the student is {points(paired)} {'ahead' if paired > 0 else 'behind'} on "
                f"average, and chance hardly explains that {said[1]}.")
    return f"{said[0]}a difference that chance hardly explains with {images} test images {said[1]}."


def _gap(quality: Mapping) -> str:
    table, test = quality["distillation"], quality["test"]
    teacher = f"{quality['teacher'][test['primary']]:.2f}"
    agree = f"Student and teacher say the same about {table['teacher_agreement']:.1f} % of the {test['counted']}."
    recovered = table.get("gap_recovered")
    if recovered is None:
        return f"The teacher ({teacher} %) is not ahead of the baseline: there is no gap to recover. {agree}"
    if recovered <= 0:
        return f"Of the gap between baseline and teacher, nothing is recovered. {agree}"
    if recovered > 100:
        return f"The student is past its teacher ({teacher} %). {agree}"
    return f"The student recovers {recovered:.0f} % of the gap between baseline and teacher. {agree}"


def small(quality: Mapping, quantisation: Mapping) -> list[str]:
    """What being small costs, on test and, where that is more than was allowed, on val; metrics/quantisation.json."""
    drop, val, kept = quality["distillation"]["int8_drop"], quantisation["val"], len(quantisation["float_layers"])
    how = {"int8": "In int8", "int8 weights": "With int8 weights", "fp16 weights": "With half-float weights"}[
        quantisation["form"]]
    told = "is as good as in float" if not round(drop, 2) else f"{'loses' if drop > 0 else 'gains'} {points(drop)}"
    said = [f"{how} the student {told}."]
    if kept:
        said.append(f"{kept} of its layers {'stay' if kept > 1 else 'stays'} in float, since int8 spoilt them.")
    if val["drop"] > val["max_drop"]:
        said.append(f"**On val it is {points(val['drop'])} behind, more than quantize.max_drop allows "
                    f"({val['max_drop']:g}).**")
    return said


def points(difference: float) -> str:
    size = f"{abs(difference):.2f}"
    return f"{size} point{'' if size == '1.00' else 's'}"
