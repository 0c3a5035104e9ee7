"""Writes what DVC needs on this machine alone, none of it in git; `make` runs it once the requirements are installed.

.dvc/plots.html    the page around `dvc plots show` and `dvc plots diff`, with Vega in it: works without a network
.dvc/config.local  tells DVC to use that page, and, where the project came without .git, to do without git

Without these files DVC falls back to its own page, which loads Vega from the internet.
"""

from pathlib import Path

import vl_convert
from dvc.config import Config

HERE = Path(__file__).parent

# DVC replaces {refresh_tag} and {plot_divs}. There is no {scripts}: that is where its links to the internet would go.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>Plots</title>
<style>
body { font-family: sans-serif; margin: 2em; }
body > div { display: inline-block; margin: 0 2em 2em 0; vertical-align: top; }
table { border-spacing: 15px; }
</style>
<script>
(() => { // keeps the bundle's one-letter names off the page
VEGA
})();
</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def main() -> None:
    # DVC's plot templates are written for Vega-Lite 5; 5.21 is the last of that line in the bundle.
    bundle = vl_convert.javascript_bundle(vl_version="5.21")
    (HERE / "plots.html").write_text(PAGE.replace("VEGA", bundle), encoding="utf-8")
    with Config(dvc_dir=str(HERE)).edit("local") as local:
        local["plots"]["html_template"] = "plots.html"
        if (HERE.parent / ".git").exists():
            local["core"].pop("no_scm", None)
        else:
            local["core"]["no_scm"] = True
            print("no .git here: the pipeline runs; `dvc exp` and `dvc metrics diff` need `git init` and a commit")


if __name__ == "__main__":
    main()
