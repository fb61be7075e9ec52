"""A page that walks through a computation: forwards and backwards, operation by operation, with its numbers.

`numbers.py` gathers the arrays of a run and of its backward pass, `formulas.py` sets formulas and rules as mathematics,
`layout.py` asks Graphviz where everything stands, and `page.py` puts these and the program that runs in a browser,
``page.html``, ``page.css`` and ``page.js``, into one file.
"""

from .numbers import Numbers, numbers_of
from .page import Page, page_of

__all__ = ["Numbers", "Page", "numbers_of", "page_of"]
