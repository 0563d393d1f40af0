"""In a Jupyter notebook, by `%run assignments/ex2_conv_ae.py`: figures below the cell.

Nothing of Jupyter is imported: where a notebook runs, it is there. Checked in
tests/test_notebook.py.
"""

import sys


def shell():
    """The notebook's shell; None in a terminal, in IPython's as well."""
    ipython = sys.modules.get("IPython")
    found = ipython and ipython.get_ipython()
    return found if hasattr(found, "kernel") else None


def show(path):
    """Show a picture below the cell."""
    if shell():
        display = sys.modules["IPython"].display
        display.display(display.Image(filename=str(path)))
