"""Sets up a run on your own images. In: an archive, a folder or a URL. Out: params.yaml, as a whole and with reasons,
and a link in data/source/ to images that lie elsewhere. Prints what it found and chose, what it could not know, and how
long `make` will take here. It is no stage of the pipeline, which begins with what this writes.

`python -m stages.new my.zip`; with `--force` over a params.yaml that has been edited; with `--layout` and `--options`
for archives that can be read in several ways.
"""

import argparse
import shutil
from pathlib import Path
from typing import NamedTuple

import psutil

from stages.core import device, errors, params, workdir
from stages.data import archive, leftover
from stages.setup import draft, mask_codes, presets, rules, settings, summary, survey
from stages.setup.source import Source, bring


class Found(NamedTuple):
    """What a look into a source gives."""

    names: list[str]  # of all files
    size_gb: float  # of all files, unpacked
    reading: survey.Reading
    others: list[str]  # layouts that would read it otherwise
    counts: draft.Counts
    pictures: survey.Pictures
    codes: mask_codes.MaskCodes | None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.new", description="Set up a run on your own images.")
    parser.add_argument("source", help="an archive, a folder or a URL; or a name in data/source/")
    parser.add_argument("--layout", default="", help="one of stages/data/layouts, where it is not recognised")
    parser.add_argument("--options", default="", help="options of the layout: '{ignored: [preview]}'")
    parser.add_argument("--force", action="store_true", help="overwrite a params.yaml that has been edited")
    options = parser.parse_args()
    presets.check_unedited(options.force)
    with workdir.folder("new", [options.source], []) as scratch:
        source = bring(options.source, scratch)
        if source.done:
            print(source.done)
        try:
            set_up(source, scratch, options.layout, settings.mapping(options.options, "OPTIONS"))
        except errors.UserError:
            if source.is_linked_folder:  # so that the folder, once mended, is looked at again
                shutil.rmtree(source.path)
            raise


def set_up(source: Source, scratch: Path, layout: str, layout_options: dict) -> None:
    """Look, choose, measure, write, tell. scratch: a folder for what doesn't stay."""
    from stages.setup import measuring, timing, weights  # torch

    found = look(source, scratch, layout, layout_options)
    reading, counts, pictures, codes = found.reading, found.counts, found.pictures, found.codes
    print(f"{source.path}: {len(found.names)} files, {found.size_gb:.3g} GB")
    print(*map(errors.printable, summary.found(reading, found.others, counts, pictures, codes,
                                               leftover.summary(found.names, reading.used))), sep="\n")
    at_hand = weights.teacher(reading.task), weights.student() if reading.task == "classification" else ""
    choices = draft.choices(source, found.size_gb, reading, pictures, counts, codes, at_hand)
    classes, watch = len(codes.classes if codes else counts.classes), measuring.Stopwatch(device.choose_device("new"))
    choices += rules.precisions(measuring.bf16_gain(
        settings.values(settings.text("", choices)), classes, watch, scratch))
    text = settings.text(f"Written for {source.name} by make new: each choice has its reason above it, and may be "
                         "changed. The rules: stages/setup/rules.py.", choices)
    values = settings.values(text)
    rates = measuring.measure(values, classes, pictures.read_seconds, pictures.inspect_seconds, watch, scratch)
    amounts = draft.amounts(reading, pictures, counts)
    seconds, shorter = (timing.by_stage(rates, amounts, some, watch.device)
                        for some in (values, timing.with_one_seed(values)))
    first_look = timing.first_look(rates, amounts, values, watch.device, summary.NIGHT)
    presets.write(text)
    print(f"\n{params.FILE} is written:", *summary.chosen(choices), sep="\n")
    questions = summary.unknown(reading, counts, codes, at_hand)
    print("\nwhat only you know:", *(f"  {errors.printable(question)}" for question in questions), sep="\n")
    print("", *summary.time(seconds, sum(shorter.values()), first_look, watch.device.type, device.thread_count(),
                            watch.busy), sep="\n")
    if watch.device.type == "cpu":
        side_by_side = timing.side_by_side(len(values["student_training"]["seeds"]), watch.device)
        # As measured: a few steps of teacher and student are as large as all of them.
        print(summary.memory(device.peak_memory_mb() / 1e3, side_by_side, psutil.virtual_memory().available / 1e9))


def look(source: Source, scratch: Path, layout: str, layout_options: dict) -> Found:
    """layout, layout_options: "" and {} where the user has set none."""
    with archive.open_members(source.path, scratch, archive_limit(source)) as members:
        by_path = {member.path: member for member in members}

        def read(name: str) -> bytes:
            return archive.read(source.path, by_path[name])

        reading, others = survey.choose_layout(list(by_path), read, str(source.path), layout, layout_options)
        counts, pictures = draft.count(reading), survey.look_at(reading.samples, read)
        codes = mask_codes.find(reading.masks, read) if reading.task == "segmentation" else None
        return Found(list(by_path), sum(member.size for member in members) / 1e9, reading, others, counts, pictures,
                     codes)


def archive_limit(source: Source) -> int:
    """Bytes to which it may unpack: three times its own size at least, since images hardly shrink in archives."""
    if source.path.is_dir():
        return 2**63
    default = params.read_yaml(presets.DEFAULTS)["data"]["max_unpacked_gb"] * 1e9
    return int(max(default, 3 * source.path.stat().st_size))


if __name__ == "__main__":
    errors.run(main)
