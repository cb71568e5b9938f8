"""Pin all that the package and its extras bring: the text of constraints.txt, from environments in which the tests pass.

python scripts/pin_constraints.py PYTHON311 PYTHON312 > constraints.txt

Each argument is the interpreter of an environment with the extra `dev` installed, the first on Python 3.11 and the second on a newer one.
"""

from __future__ import annotations

import json
import subprocess
import sys

#: Runs in each environment: names and versions of what an installed scdrug with all its extras needs.
CLOSURE = """
import json, re
from importlib.metadata import PackageNotFoundError, distribution, requires
from packaging.requirements import Requirement

def spelled(name):
    return re.sub(r"[-_.]+", "-", name).lower()

waiting, seen, pins = [("scdrug", extra) for extra in ["", *distribution("scdrug").metadata.get_all("Provides-Extra")]], set(), {}
while waiting:
    name, extra = waiting.pop()
    if (name, extra) in seen:
        continue
    seen.add((name, extra))
    try:
        pins[name] = distribution(name).version.partition("+")[0]
    except PackageNotFoundError:
        continue
    for text in requires(name) or []:
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": extra}):
            waiting += [(spelled(needed.name), wanted) for wanted in ["", *needed.extras]]
print(json.dumps(pins))
"""
HEADER = """\
# Versions that continuous integration runs with: pip install -c constraints.txt -e '.[test]'
#
# The whole closure of the package and its extras is pinned, so that a run of today can be repeated next year. scvi-tools 1.5 and
# anndata 0.13 need Python 3.12; Python 3.11 stays with the last releases that support it, hence the markers.
# What torch brings with it for accelerators is left to torch. Written by scripts/pin_constraints.py.
"""
#: What is not pinned: the package, what belongs to the environment, and what torch brings for accelerators.
LEFT_OUT = ("scdrug", "pip", "wheel", "nvidia-", "cuda-", "triton")
#: On Python 3.11 other builds of torch are many times larger; on newer ones the newest is taken.
TORCH = "torch==2.13.0"


def pins(python: str) -> dict[str, str]:
    shown = subprocess.run([python, "-c", CLOSURE], check=True, capture_output=True, text=True).stdout
    return {name: version for name, version in json.loads(shown).items() if not name.startswith(LEFT_OUT)}


def main(older: str, newer: str) -> None:
    old, new = pins(older), pins(newer)
    lines = []
    for name in sorted(old.keys() | new.keys()):
        if name == "torch":
            lines.append(TORCH)
        elif old.get(name, new.get(name)) == new.get(name, old.get(name)):
            lines.append(f"{name}=={old.get(name, new.get(name))}")
        else:
            lines += [
                f'{name}=={old[name]} ; python_version < "3.12"',
                f'{name}=={new[name]} ; python_version >= "3.12"',
            ]
    sys.stdout.write(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
