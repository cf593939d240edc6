"""Cards and small pictures as HTML, for notebooks; without JAX."""

import base64
import html
import io
from collections.abc import Callable, Mapping
from typing import Any


def card_html(head: str, rows: Mapping[str, str], picture: str = "") -> str:
    """A card for notebooks: a head, names with texts, and a picture (HTML) beside them."""
    left = "style='text-align:left'"
    body = "".join(
        f"<tr><th {left}>{html.escape(name)}</th><td {left}>{html.escape(text)}</td></tr>"
        for name, text in rows.items()
    )
    table = f"<table><caption>{html.escape(head)}</caption>{body}</table>"
    beside = "display:flex;gap:1em;align-items:center"
    return f"<div style='{beside}'>{table}{picture}</div>" if picture else table


def thumbnail(draw: Callable[[], Any]) -> str:
    """What `draw` returns, axes or a figure, as a small picture in HTML.

    Nothing where Matplotlib is not there, or where this cannot be drawn: a card is shown anyway.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        return ""
    before, data = plt.get_fignums(), io.BytesIO()
    try:
        drawn = draw()
        getattr(drawn, "figure", drawn).savefig(data, format="png", dpi=50)
    except Exception:  # whatever stands against the figure, `plot()` says it
        return ""
    finally:
        for number in set(plt.get_fignums()) - set(before):
            plt.close(number)
    return f"<img alt='' src='data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}'>"
