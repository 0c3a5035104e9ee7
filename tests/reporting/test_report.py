"""python -m stages.report: both files of the page, its front matter, pictures and hashes; errors are one line."""

import contextlib
import hashlib
import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import finished
import measurements
import pytest
import yaml
from conftest import ROOT, Project

from stages import report
from stages.core import errors, files
from stages.reporting import card

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def write_page(folder: Path) -> None:
    """What the command does, in this process."""
    with contextlib.chdir(folder):
        report.write_page()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    """A project with a page; its tests leave it as it is."""
    project = measurements.write(tmp_path_factory.mktemp("page"), measurements.facts())
    write_page(project.folder)
    return project


def front_matter(folder: Path) -> tuple[dict, str]:
    _, head, rest = (folder / "report/report.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), rest


class Resources(HTMLParser):
    """What a page would load, its links and its tags."""

    def __init__(self, page: str):
        super().__init__()
        self.sources, self.links, self.tags = [], [], set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.sources += [value for name, value in attrs if name in ("src", "srcset", "data", "poster")]
        self.links += [value for name, value in attrs if name == "href"]


def test_the_page_loads_nothing(made):
    page = (made.folder / "report/index.html").read_text(encoding="utf-8")
    loaded = Resources(page)
    assert len(loaded.sources) == 11 and all(source.startswith("data:image/png;base64,") for source in loaded.sources)
    assert all(link.startswith("#") for link in loaded.links) and len(loaded.links) > 7
    assert not loaded.tags & {"script", "link", "iframe", "object", "base"}
    assert not re.search(r"url\(|@import", page) and "default-src 'none'; img-src data:; style-src" in page
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert {link[1:] for link in loaded.links} <= anchors


def test_front_matter_is_what_a_model_hub_reads(made):
    head, rest = front_matter(made.folder)
    assert rest.startswith("# Handwritten digits, distilled\n")
    assert [head[key] for key in ("license", "library_name", "pipeline_tag")] == [
        "cc-by-4.0", "onnx", "image-classification"]
    assert {"tags", "datasets", "metrics"} <= set(head) and "accuracy" in head["metrics"]
    result, = head["model-index"][0]["results"]
    assert result["task"]["type"] == "image-classification" and {"name", "type"} <= set(result["dataset"])
    assert result["metrics"][0] == {"type": "accuracy", "name": "accuracy, %", "value": 91.8}


def test_links_lead_to_files(made):
    _, rest = front_matter(made.folder)
    links = re.findall(r"\]\((.+?)\)", rest)
    assert len(links) == 11 and all((made.folder / "report" / link).is_file() for link in links)


def test_the_same_inputs_give_the_same_page(made):
    files = sorted(path for path in (made.folder / "report").rglob("*") if path.is_file())
    before = [path.read_bytes() for path in files]
    write_page(made.folder)
    assert [path.read_bytes() for path in files] == before and len(files) == 7


def test_hashes_are_those_of_the_files(made):
    _, rest = front_matter(made.folder)
    for path in ("data/raw.zip", "models/student.int8.onnx"):
        assert f"| {path} | `{hashlib.sha256((made.folder / path).read_bytes()).hexdigest()}` |" in rest
    assert f"`{card.settings_sha256(made.params())}`" in rest


@pytest.mark.parametrize(("kind", "photographs", "others"), [
    ("classes", ["plots/data/findings.png", "data/confused/pairs.png"], 9), ("masks", ["plots/test/pictures.png"], 9)])
def test_photographs_are_on_the_page_only_if_params_allow_it(tmp_path, monkeypatch, kind, photographs, others):
    def draw(context: dict) -> None:
        shutil.copytree(finished.run(kind).folder / "report", report.FOLDER)

    monkeypatch.setattr(report, "draw", draw)
    project = finished.copied(kind, tmp_path)
    for wanted in (True, False):
        shutil.rmtree(tmp_path / "report")  # as DVC does
        write_page(project.set("report.pictures", wanted).folder)
        _, rest = front_matter(tmp_path)
        links = [file.replace("data/confused", "confused") if "confused" in file else f"../{file}"
                 for file in photographs]
        assert all((f"]({link})" in rest) == wanted for link in links)
        assert ("Photographs are left out of this page (`report.pictures` is false): "
                f"{', '.join(f'`{file}`' for file in photographs)}." in rest) != wanted
        assert "](../plots/test/confusion.png)" in rest
        page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
        assert len(Resources(page).sources) == others + wanted * len(photographs)


def test_class_names_are_on_the_page_as_they_are():
    """In a list, in a table, and in the cells of a CSV file, where a spreadsheet would compute one of them."""
    folder = finished.run("classes").folder
    source = (folder / "report/index.html").read_text(encoding="utf-8")
    page = html.unescape(source)
    assert "<cat>" not in source and "5 classes: <cat> & co, =a|b, dög, gull, gull_std. Every" in page
    confused = files.read_csv(folder / "plots/test/confused.csv")
    cells = [f"<td>{row['actual']}</td>\n<td>{row['predicted']}</td>" for row in confused]
    assert any("=a|b" in cell for cell in cells) and all(cell in page for cell in cells)


def test_one_number_has_one_row(made):
    """Macro recall is balanced accuracy."""
    facts = measurements.facts()
    assert {"recall", "balanced_accuracy"} <= set(facts["quality"]["student"])
    _, rest = front_matter(made.folder)
    assert "| balanced accuracy (macro recall), % |" in rest and "| recall, macro" not in rest
    assert "| precision, macro, % |" in rest and "| expected calibration error (ECE), % |" in rest
    assert "(unweighted; the distillation loss includes T²)" in rest


def test_dvc_plots_the_tradeoff_of_the_page():
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    axes = {tuple(plot["x"].values()) + tuple(plot["y"].values()) for entry in plots for plot in entry.values()
            if plot["template"] == "tradeoff"}
    assert axes == {("size_mb", "score"), ("latency_ms", "score")}
    template = (ROOT / ".dvc/plots/tradeoff.json").read_text(encoding="utf-8")
    assert json.loads(template) and all(f"<DVC_METRIC_{name}>" in template for name in ("DATA", "TITLE", "X", "Y"))


REFUSED = [
    ("licence", "CC BY 4.0", ["report.licence", "'CC BY 4.0'"]), ("pictures", "yes", ["report.pictures", "'yes'"]),
    ("intended", "", ["report.intended", "at least 1"]),
    ("provenance", "A set.\n\n```\nnever closed", ["report.provenance", "a code fence"]),
    ("intended", "This.\n\n## Results", ["report.intended", "a heading"]),
    ("out_of_scope", "Not\n---\nthat", ["report.out_of_scope", "a heading"]),
    ("out_of_scope", "- # Not that", ["report.out_of_scope", "a heading"]),
    ("out_of_scope", "<!-- never closed", ["report.out_of_scope", "HTML"]),
    ("out_of_scope", "not <b>that", ["report.out_of_scope", "HTML"]),
    ("license", "mit", ["report.license is unknown", "licence"]),
]


@pytest.mark.parametrize(("key", "value", "parts"), REFUSED)
def test_params_are_checked(project, key, value, parts):
    with pytest.raises(errors.UserError) as caught:
        write_page(project.set(f"report.{key}", value).folder)
    assert all(part in errors.one_line(caught.value) for part in parts)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "value", "parts"), REFUSED)
def test_a_wrong_param_is_one_line(project, key, value, parts):
    done = project.set(f"report.{key}", value).run("report")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert all(part in done.stderr for part in parts), done.stderr


MISSING = [("quality.shipped", "'shipped'"), ("quality.test.counted", "counted")]  # as measured by other code


@pytest.mark.parametrize(("key", "part"), MISSING)
def test_a_missing_measurement_is_named(tmp_path, monkeypatch, key, part):
    monkeypatch.setattr(report, "draw", lambda context: None)
    measurements.write(tmp_path, measurements.changed(measurements.facts(), {key: None}))
    with pytest.raises(errors.UserError, match=f"the page lacks .*{part}.*; run dvc repro"):
        write_page(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "part"), MISSING)
def test_a_missing_measurement_is_one_line(tmp_path, key, part):
    done = measurements.write(tmp_path, measurements.changed(measurements.facts(), {key: None})).run("report")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and part in done.stderr


@pytest.mark.slow
def test_the_command_writes_the_same_page(made):
    before = (made.folder / "report/report.md").read_bytes(), (made.folder / "report/index.html").read_bytes()
    done = made.run("report")
    assert not done.returncode, done.stderr
    assert ((made.folder / "report/report.md").read_bytes(), (made.folder / "report/index.html").read_bytes()) == before


def test_short_table(made):
    with contextlib.chdir(made.folder):
        lines = report.short_table().splitlines()
    assert lines[:7] == [
        "               accuracy, %  deployed  parameters      size  latency",
        "teacher              95.00     95.00     1.500 M  6.000 MB  8.00 ms",
        "baseline      90.00 ± 0.50     90.00     0.250 M  1.000 MB  2.00 ms",
        "student       92.00 ± 0.50     92.00     0.250 M  1.000 MB  2.00 ms",
        "int8          91.90 ± 0.50     91.80     0.250 M  1.000 MB  2.00 ms",
        "teacher int8         94.90     94.90     1.500 M  1.600 MB  2.00 ms",
        "teacher/int8                               6.0 ×     6.0 ×    4.0 ×"]
    assert "latency: one image, 1 thread(s), a CPU" in lines


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_pdf(made):
    done = made.run("report", arguments=("--pdf",))
    assert not done.returncode, done.stderr
    printed = made.folder / "report/report.pdf"
    assert printed.read_bytes().startswith(b"%PDF")
    printed.unlink()


@pytest.mark.slow
def test_pdf_without_a_browser_says_what_to_install(made, tmp_path):
    done = made.run("report", arguments=("--pdf",), env={"PATH": str(tmp_path)})
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "Chromium" in done.stderr and "apt-get install chromium" in done.stderr


def test_pdf_without_a_page_says_what_to_run(tmp_path):
    with contextlib.chdir(tmp_path), pytest.raises(errors.UserError, match=r"index.html is missing; run dvc repro"):
        report.print_pdf()
