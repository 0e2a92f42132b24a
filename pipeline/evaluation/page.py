"""Pages that open offline: their templates, in which everything that users wrote is text and stays text."""

import base64
import unicodedata
from pathlib import Path

import jinja2
import markupsafe

from pipeline.evaluation.look import FONTS
from pipeline.scores import percent

_LONGEST_TEXT = 400
_LONGEST_LABEL = 60


def template(path: Path) -> jinja2.Template:
    """The template of a page, with our filters; it may include `page.css.j2`, the style of all pages."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([path.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        count=lambda value: f"{value:,}",
        percent=percent,
        image=lambda svg: "data:image/svg+xml;base64," + base64.b64encode(svg).decode(),
        text=lambda text: shortened(text, _LONGEST_TEXT),
        name=_breakable,
    )
    # Our own constant, in whose quotes a style sheet would not understand entities.
    environment.globals["fonts"] = markupsafe.Markup(FONTS)  # noqa: S704
    return environment.get_template(path.name)


def shortened(text: str, longest: int) -> str:
    """The text on one line, without control characters, and cut off with an ellipsis when it is longer."""
    plain = "".join(" " if unicodedata.category(sign) == "Cc" else sign for sign in text[: 4 * longest])
    line = " ".join(plain.split())
    return line if len(line) <= longest and len(text) <= 4 * longest else line[: longest - 1].rstrip() + "…"


def _breakable(label: str) -> markupsafe.Markup:
    """A label that may be broken behind its underscores, where its words end."""
    return markupsafe.Markup("_<wbr>").join(shortened(label, _LONGEST_LABEL).split("_"))
