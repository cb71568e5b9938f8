"""Execute the tutorials from top to bottom; with ``--write`` keep their outputs.

python scripts/run_tutorials.py [--write] [NOTEBOOK ...]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

TUTORIALS = Path(__file__).parents[1] / "tutorials"


def run(path: Path, *, write: bool) -> bool:
    """Execute one notebook in an empty folder; say whether it ran through."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
        try:
            client.execute()
        except CellExecutionError as error:
            print(f"{path.name}: FAILED\n{error}")
            return False
    print(f"{path.name}: ok ({time.perf_counter() - start:.0f} s)")
    if write:
        notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            for output in cell.get("outputs", []):
                if output.get("name") == "stderr":  # a path of the machine that ran it says nothing to a reader
                    output["text"] = re.sub(r"\S*ipykernel_\d+\S*?: ", "", output["text"])
        nbformat.write(notebook, path)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("notebooks", nargs="*", type=Path)
    arguments = parser.parse_args()
    notebooks = arguments.notebooks or sorted(TUTORIALS.glob("*.ipynb"))
    if not notebooks:
        sys.exit(f"no notebook in {TUTORIALS}")
    results = [run(path, write=arguments.write) for path in notebooks]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
