"""Which classes the small student does worst on, and which it confuses. In: rows of plots/test/classes.csv and
confused.csv as mappings. Out: rows of them, and sentences, a function each.
"""

from collections.abc import Mapping, Sequence

from stages.evaluation.confusion import NAMED
from stages.reporting import numbers
from stages.reporting.numbers import counted, escaped, listed

WEAKEST = 10  # classes in the table of the weakest
Row = Mapping[str, str]


def weakest(rows: Sequence[Row], score: str) -> list[Row]:
    """The rows of classes.csv of the small student's lowest-scoring classes, scores rounded as printed; empty where all
    classes score the same.
    """
    own = [row for row in rows if row["model"] == "int8" and int(row["support"])]
    lowest = min((_rounded(row, score) for row in own), default=0.0)
    worst = [row for row in own if _rounded(row, score) == lowest]
    return worst if len(worst) < len(own) else []


def weakest_classes(rows: Sequence[Row], score: str) -> list[Row]:
    """The rows of classes.csv of the WEAKEST classes of the small student, of equal ones those with more images, where
    there are too many for a picture of all; else none.
    """
    own = [row for row in rows if row["model"] == "int8" and int(row["support"])]
    by_score = sorted(own, key=lambda row: (float(row[score]), -int(row["support"])))
    return by_score[:WEAKEST] if len(own) > NAMED else []


def weakest_class(rows: Sequence[Row], score: str, label: str, unit: str) -> str:
    """Empty where no class is weaker than another."""
    weak = weakest(rows, score)
    if not weak:
        return ""
    names = numbers.few([row["class"] for row in weak])
    support = "each" if len(weak) > 1 else f"on {counted(int(weak[0]['support']), f'test {unit}')}"
    return f"The small student does worst on {names}: {label} {_rounded(weak[0], score)} % {support}."


def most_frequent(pairs: Sequence[Row], unit: str) -> list[Row]:
    """The rows of confused.csv with the highest count."""
    highest = max((int(pair[f"{unit}s"]) for pair in pairs), default=0)
    return [pair for pair in pairs if int(pair[f"{unit}s"]) == highest]


def most_confused(pairs: Sequence[Row], unit: str) -> str:
    """Which class is most often taken for which. pairs: rows of confused.csv."""
    if not pairs:
        return "The small student confuses no two classes on the test images."
    top = most_frequent(pairs, unit)
    count = counted(int(top[0][f"{unit}s"]), f"test {unit}")
    names = [f"{escaped(pair['actual'])} for {escaped(pair['predicted'])}" for pair in top[:numbers.MAX_NAMES]]
    share = " each" if len(top) > 1 else f", {float(top[0]['percent_of_actual']):.1f} % of the class"
    return f"Most often it takes {listed(names + ['others'] * (len(top) > len(names)))}: {count}{share}."


def _rounded(row: Row, score: str) -> float:
    return round(float(row[score]), 1)
