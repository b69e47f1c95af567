"""Executes notebooks from top to bottom: python scripts/notebooks.py NOTEBOOK... Fails where a cell
does. Needs nbclient and ipykernel. What they print is not kept."""

import sys
import time

import nbclient
import nbformat

for path in sys.argv[1:]:
    notebook, began = nbformat.read(path, as_version=4), time.time()
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    print(f"{path}: {len(notebook.cells)} cells, {time.time() - began:.0f} s")
