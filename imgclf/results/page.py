"""The frame of every page made here: one file, nothing fetched, for phones and the dark too."""

import re
from pathlib import Path
from string import Template

from imgclf.results.html import text
from imgclf.runs import write_text

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'$script">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
""")

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --page: #ffffff; --card: #f3f5f7;
  --line: #d5dae0; --accent: #0072b2; --alert: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4af; --page: #14171b;
  --card: #1f242a; --line: #353c45; --accent: #56b4e9; --alert: #3a2f10; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h3, th, td, dd, p, small, figcaption, .warnings { overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; padding-bottom: .2rem;
  border-bottom: 2px solid var(--accent); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(45%, 16rem), 1fr)); gap: .75rem;
  padding: 0; }
.figures div, dl.facts { background: var(--card); border-radius: .5rem; padding: .75rem 1rem; }
.figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures small { display: block; font-size: .8rem; font-weight: 400; color: var(--soft); }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; }
.warnings { background: var(--alert); border-left: .3rem solid #e69f00; border-radius: .25rem;
  padding: .5rem 1rem; }
.warnings ul { margin: .25rem 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top;
  min-width: 7rem; }
thead th { color: var(--soft); font-weight: 600; overflow-wrap: normal; }
tbody th { font-weight: 400; min-width: 9rem; } td { white-space: pre-line; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal;
  white-space: nowrap; min-width: 0; }
figure { margin: 1rem 0; background: #ffffff; color: #1b1f24; padding: .75rem;
  border: 1px solid var(--line); border-radius: .5rem; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { color: #57606a; font-size: .85rem; margin-bottom: .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
.strip { display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; margin: 0; padding: 0; }
.strip li { max-width: 10rem; }
.strip img { display: block; max-width: 100%; min-width: 4rem; height: auto; border-radius: .25rem; }
.strip small { color: var(--soft); line-height: 1.3; display: block; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
.card { background: var(--card); border-radius: .5rem; padding: .75rem; }
.card .strip { flex-wrap: nowrap; } .card .strip li { flex: 1 1 0; min-width: 0; }
.card .facts { padding: .5rem 0 0; font-size: .9rem; gap: .1rem .75rem; }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--accent); }
pre { background: var(--card); padding: .75rem 1rem; border-radius: .5rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
"""


def write_page(path: Path, title: str, body: str, style: str = "", script: str = "") -> Path:
    """Write a page; the user's home folder, which often bears a name, stands in it as ``~``.

    Args:
        title: Any text.
        body: HTML, whatever came from outside already made harmless by ``html.text``.
        style: More rules.
        script: The SHA-256, in base64, of the one script that may run; "": none may.
    """
    allowed = f"; script-src 'sha256-{script}'" if script else ""
    page = PAGE.substitute(title=text(title), style=STYLE + style, body=body, script=allowed)
    return write_text(path, without_home(page, str(Path.home())))


def without_home(page: str, home: str) -> str:
    """The page with ``home`` as ``~``, before a quotation mark that begins there, as a shell wants it."""
    if home == Path(home).anchor:
        return page
    quote = re.escape(text("'"))
    whole = rf"(?<![\w.~/\\-])({quote})?{re.escape(text(home))}(?:([/\\])|(?![\w.-]))"
    return re.sub(whole, lambda m: f"~{m[2] or ''}{m[1] or ''}", page)
