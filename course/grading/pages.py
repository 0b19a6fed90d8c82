"""Notebooks as pages that show what students wrote, and run or load nothing of it.

nbconvert passes HTML in Markdown through, so that a submission could run its script in the
browser of whoever grades it, and its formulas need MathJax from the internet. Here HTML is
shown as text, formulas become MathML, which browsers draw themselves, and pictures from
elsewhere become links. `markdown2html` is set for Formgrader's pages; `FeedbackExporter`
makes nbgrader's feedback.
"""

import html
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbgrader
from jinja2 import pass_context
from jinja2.runtime import Context
from latex2mathml import converter
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from traitlets.config import Config

PICTURES = ("image/png", "image/jpeg")
_MATHML = "http://www.w3.org/1998/Math/MathML"
_KEPT = {"display", "stretchy", "width", "mathvariant", "columnalign", "linethickness", "accent"}
READABLE = """
a { color: #0b4ea2; text-decoration: underline; }
div.nbgrader_cell .panel-heading, .panel-primary > .panel-heading { background: #1f5a8f; }
div.nbgrader_cell .panel-heading a, div.nbgrader_cell .panel-heading code { color: #fff; }
div.nbgrader_cell .panel-heading code { background: none; }
code { color: #a3163a; } .highlight .c1, .highlight .o, .highlight .mi { color: #3a5a5a; }
.highlight .ow { color: #7a10c0; }
pre, .output_area pre { white-space: pre-wrap; overflow-wrap: anywhere; }
"""
_ENVIRONMENTS = ("equation", "displaymath", "math")  # those that only say: here is a formula


def formula(tex: str, display: bool = False) -> str:
    """Return the formula `tex` as MathML; as it was typed, where that is not possible."""
    try:
        text = converter.convert(tex.strip(), display="block" if display else "inline")
        tree = ElementTree.fromstring(text)
        for element in tree.iter():  # without \\href and \\style
            element.attrib = {k: v for k, v in element.attrib.items() if k in _KEPT}
        ElementTree.register_namespace("", _MATHML)
        return ElementTree.tostring(tree, encoding="unicode")
    except Exception:  # a student's formula may be anything, and the parser raises what it likes
        return f"<code>{html.escape(tex)}</code>"


class Renderer(IPythonRenderer):
    """Renders Markdown of people who are not trusted."""

    def __init__(self, attachments: dict[str, dict[str, str]] | None = None) -> None:
        """Show pictures of these `attachments` of the cell."""
        super().__init__(
            escape=True,
            allow_harmful_protocols=False,
            attachments=attachments,
            exclude_anchor_links=True,
        )

    def block_html(self, html: str) -> str:
        """Show a block of HTML as text."""
        return f"<pre>{self.escape_html(html)}</pre>\n"

    def inline_html(self, html: str) -> str:
        """Show HTML as text, but for line breaks."""
        if html.replace(" ", "").lower() in ("<br>", "<br/>"):
            return "<br>"
        return self.escape_html(html)

    def block_mermaidjs(self, code: str) -> str:
        """Show a diagram's source, which would need a script."""
        return f"<pre>{self.escape_html(code)}</pre>\n"

    def block_math(self, body: str) -> str:
        """Draw a formula on a line of its own."""
        return formula(body, display=True)

    def inline_math(self, body: str) -> str:
        """Draw a formula within a line."""
        return formula(body)

    def latex_environment(self, name: str, body: str) -> str:
        r"""Draw what stands in ``\begin{name}...\end{name}``."""
        plain = name.rstrip("*") in _ENVIRONMENTS
        return formula(body if plain else f"\\begin{{{name}}}{body}\\end{{{name}}}", display=True)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Show a picture that came with the cell; of others, say where they are."""
        kinds = self.attachments.get(url.removeprefix("attachment:"), {})
        label = html.escape(text or "picture")
        for kind in PICTURES:
            if url.startswith("attachment:") and isinstance(kinds.get(kind), str):
                data = html.escape(kinds[kind])
                return f'<img alt="{label}" src="data:{kind};base64,{data}">'
        return f"[{label}: {html.escape(url)}]"


def render(source: str, attachments: dict[str, dict[str, str]] | None = None) -> str:
    """Return Markdown as HTML that runs and loads nothing."""
    return str(MarkdownWithMath(renderer=Renderer(attachments)).render(source))


@pass_context
def markdown2html(context: Context, source: str) -> str:
    """Take the place of nbconvert's filter of this name, in its templates."""
    return render(source, context.get("cell", {}).get("attachments") or {})


class FeedbackExporter(HTMLExporter):
    """nbgrader's feedback page, which loads nothing from outside."""

    def __init__(self, config: Config | None = None, **named: Any) -> None:
        """Use nbgrader's template, and this package's for what it would load."""
        inherited = getattr(named.get("parent"), "config", Config())
        config = Config(deepcopy(config if config is not None else inherited))
        server = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader"
        folders = [Path(__file__).parent / "templates", server / "templates"]
        own = config.FeedbackExporter
        own.extra_template_basedirs = [str(folder) for folder in folders]
        own.template_name = "feedback_offline"
        super().__init__(config=config, **named)
        self.register_filter("markdown2html", markdown2html)

    def from_notebook_node(  # type: ignore[override]  # as in nbconvert
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **named: Any
    ) -> tuple[str, dict[str, Any]]:
        """Return the page and its resources, with a language and colours that can be read."""
        page, resources = super().from_notebook_node(nb, resources, **named)
        page = page.replace("<html>", '<html lang="en">', 1)
        return page.replace("</head>", f"<style>{READABLE}</style>\n</head>", 1), resources
