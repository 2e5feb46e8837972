"""A one-page HTML report that needs no other file."""

import base64
from html import escape
from pathlib import Path

from openmm_diffsampler._common.whole_files import write_whole

__all__ = ["write_report"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 60rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin-bottom: .5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 1.4rem .3rem 0; border-bottom: 1px solid #dde3e9; vertical-align: top; }
th { color: #51606f; font-weight: 600; }
figure { margin: 1.2rem 0; break-inside: avoid; } img { max-width: 100%; }
figcaption { color: #51606f; font-size: .92rem; }
pre { background: #f3f5f7; padding: .9rem 1.1rem; border-radius: 4px; overflow-x: auto; font-size: .88rem; }
.verdict { font-size: 1.08rem; font-weight: 600; }
.warning { border: 2px solid #c05621; background: #fffaf0; border-radius: 4px; padding: .8rem 1.1rem; }
@media print { body { margin: 0; max-width: none; } pre { white-space: pre-wrap; } }
"""


def write_report(path, *, title, summary, tables, figures, how_to_load, verdict=None, warnings=()):
    """Write a page with a summary, tables, figures and the code that loads the results.

    Figures are embedded and all text is escaped, so that the file can be mailed, printed or kept as it is.

    Arguments:
        path: the HTML file to write.
        title: heading of the page.
        summary: dict of label → text.
        tables: list of (heading, column names, rows); cells are converted by str.
        figures: list of (caption, path of a PNG file).
        how_to_load: lines of Python that load the results.
        verdict: a sentence above everything else, or None.
        warnings: texts in a frame above the summary.

    Returns:
        Path of the file.

    Raises:
        ValueError: a row of another length than the columns, or a figure that is no PNG.
        FileNotFoundError: a figure does not exist. Both before anything is written.

    Example:
        >>> import tempfile
        >>> how_to_load = "wt = WeightedTrajectory.load('lj13.dcd')"
        >>> content = dict(title="LJ-13", summary={"atoms": "13"}, tables=[], figures=[], how_to_load=how_to_load)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = write_report(f"{folder}/report.html", **content)
        ...     "<th>atoms</th><td>13</td>" in page.read_text()
        True
    """
    rows = [f"<tr><th>{_text(label)}</th><td>{_text(value)}</td></tr>" for label, value in summary.items()]
    top = [] if verdict is None else [f'<p class="verdict">{_text(verdict)}</p>']
    top += [f'<p class="warning"><strong>Warning:</strong> {_text(warning)}</p>' for warning in warnings]
    parts = [f"<h1>{_text(title)}</h1>", *top, "<table>", *rows, "</table>"]
    for heading, columns, body in tables:
        parts += [f"<h2>{_text(heading)}</h2>", *_table(heading, columns, body)]
    for caption, image in figures:
        parts.append(_figure(caption, Path(image)))
    parts += ["<h2>Load these results</h2>", f"<pre>{_text(how_to_load)}</pre>"]
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{_STYLE}</style>'
    path = Path(path)
    page = f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"
    write_whole(path, page.encode("utf-8", "replace"))  # a path may have bytes that are no letters
    return path


def _text(value):
    return escape(str(value))


def _table(heading, columns, rows):
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"table {heading!r} has {len(columns)} columns and a row of {len(row)} cells: {row}")
    yield "<table><thead><tr>" + "".join(f"<th>{_text(column)}</th>" for column in columns) + "</tr></thead><tbody>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>"
    yield "</tbody></table>"


def _figure(caption, path):
    data = path.read_bytes()
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"{path} is no PNG file")
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    return f'<figure><img src="{source}" alt="{_text(caption)}"><figcaption>{_text(caption)}</figcaption></figure>'
