"""How the data came to what a network sees. In: metrics/data.json, params.yaml as mappings, data/prepared/index.csv.
Out: sentences.
"""

from collections.abc import Mapping, Sequence

from stages.data.prepared import SPLITS
from stages.reporting.numbers import counted, few, listed


def found(data: Mapping) -> str:
    images = data["images"]
    left = f"{images['dropped']} of them left out" if images["dropped"] else "none of them left out"
    return (f"{counted(images['found'], 'image')} {_were(images['found'])} found and {left}; `data/decisions.csv` says "
            "for each finding what was done, and why.")


def reported(data: Mapping) -> str:
    """Findings that changed nothing; empty where there is none."""
    left = sum(data["findings"].values()) - sum(data["acted_on"].values())
    if not left:
        return ""
    return (f"{counted(left, 'finding')} {_were(left)} only reported: `params.yaml`, section `clean`, says which "
            "kinds are acted on.")


def copies(data: Mapping) -> str:
    """What else has seen a picture of val or test, as the end of a sentence; empty where nothing has."""
    left = {issue: data["findings"][issue] - data["acted_on"].get(issue, 0) for issue in (
        "leak", "near_leak", "duplicate", "conflicting_label", "near_duplicate", "near_conflict")}
    across = left.pop("leak") + left.pop("near_leak")
    said = []
    if across:
        are = "is a copy" if across == 1 else "are copies"
        said.append(f"{counted(across, 'image')} of other splits {are}, or nearly, of val or test images")
    # Splits that are drawn may part two images that are alike.
    if inside := sum(left.values()) if {"val", "test"} - set(data["before"]) else 0:
        like = "it is" if inside == 1 else "they are"
        said.append(f"{counted(inside, 'image')} may have been drawn into another split than one that {like} like")
    return f" (but {', and '.join(said)})" if said else ""


def labels(data: Mapping) -> str:
    """How far doubts about labels can be trusted; empty where none was judged."""
    if "labels" not in data:
        return ""
    return (f"Of {counted(data['labels']['judged'], 'label')}, {data['labels']['out_of_fold_accuracy']:.1f} % were "
            "foretold by a simple classifier that had not seen them (its out-of-fold accuracy): so far can its doubts "
            "about the others be trusted.")


def balance(data: Mapping) -> str:
    """Of the images that training draws from; empty where a class can't be told of an image."""
    kept = data["after"]
    counts = kept["train"] if "train" in kept else kept["undivided"]
    if len(counts) < 2:
        return ""
    least, most = min(counts.values()), max(counts.values())
    if least == most:
        return f"Every class has {counted(most, 'image')} after cleaning{_where(kept)}."
    fewest, largest = (few([name for name, count in counts.items() if count == end]) for end in (least, most))
    return (f"After cleaning, the classes have between {least} ({fewest}) and {most} ({largest}) images{_where(kept)}: "
            f"{most / least:.1f} times as many.")


def _where(kept: Mapping) -> str:
    return " in train" if "train" in kept else ""


def sizing(split: Mapping) -> str:
    side, overlap = f"{split['image_size']}×{split['image_size']} pixels", split["overlap"]
    if split["resize"] == "tiles":
        scale = "" if split["scale"] == 1 else f"brought to {100 * split['scale']:g} % of their size, then "
        return (f"Pictures are {scale}cut into squares of {side}, which overlap by at least {overlap} pixels; what is "
                "said of them is joined again, so that whole pictures are scored.")
    return {"squash": f"Each picture is brought to {side}, whatever its shape.",
            "crop": f"Of each picture the square in the middle is brought to {side}."}[split["resize"]]


def drawn(data: Mapping, split: Mapping) -> str:
    """Which splits the source has and which are drawn."""
    before = data["before"]
    given = [name for name in ("val", "test") if name in before]
    own = [name for name in ("test", "val") if name not in before]
    said = [f"The source has {listed([f'`{name}`' for name in given])}."] if given else []
    if own:
        of = ("of all", "of what remains") if len(own) > 1 else ("of the other images" if given else "of all",)
        shares = "; then ".join(f"`{name}`, {100 * split[f'{name}_fraction']:g} % {whole}"
                                for name, whole in zip(own, of, strict=True))
        said.append(f"Drawn {'was' if len(own) == 1 else 'were'}, to the nearest whole number: {shares} (`split.seed` "
                    f"{split['seed']}, `split.fold` {split['fold']}).")
    return " ".join(said)


def unlabelled(splits: Sequence[tuple[str, int, int]], split: Mapping, distill: Mapping) -> str:
    """Empty where every image has its label. splits: as `table` has them."""
    count = next((pictures for name, pictures, _ in splits if name == "unlabelled"), 0)
    if not count:
        return ""
    hidden = (f" (only {100 * split['labelled_fraction']:g} % of the training labels are shown)"
              if split["labelled_fraction"] < 1 else "")
    them = "it" if count == 1 else "them"
    use = f"learns from the teacher alone on {them}" if distill["unlabelled"] else f"is not shown {them}"
    return f"{counted(count, 'image')} {'has' if count == 1 else 'have'} no label here{hidden}; the student {use}."


def augmentation(who: str, augment: Mapping) -> str:
    """How `who`'s training images are varied."""
    ways = [{"none": "", "pad": f"reflected by {augment['padding']} pixels on each side and cropped at random",
             "resized": f"cropped to a random area of at least {100 * augment['min_area']:g} % and resized"}[
                 augment["crop"]],
            "mirrored half of the time" if augment["flip"] else "",
            "turned by quarters" if augment["turns"] else "",
            f"changed in brightness, contrast and saturation by up to {100 * augment['colour']:g} %"
            if augment["colour"] else ""]
    ways = [way for way in ways if way]
    return f"Training images of {who} are {listed(ways) if ways else 'shown as they are'}."


def table(index: Sequence[Mapping[str, str]]) -> list[tuple[str, int, int]]:
    """(split, pictures, squares) of each split that has any."""
    rows = [(name, [int(row["windows"]) for row in index if row["split"] == name]) for name in SPLITS]
    return [(name, len(windows), sum(windows)) for name, windows in rows if windows]


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
