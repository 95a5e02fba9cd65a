"""Compares the files of other people in functions/console/assets with what npm has, byte by byte.

The rows of VENDORED.md say which package, which version and which file of it. Needs npm and its registry.
"""

import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from shutil import which

CONSOLE = Path(__file__).resolve().parents[2] / "functions/console"
ROW = re.compile(r"^\| `(?P<file>[^`]+)` \| \[(?P<package>[^\]]+)\]\([^)]*\) \| `(?P<there>[^`]+)` \|", re.MULTILINE)


def published(package, file):
    with tempfile.TemporaryDirectory() as directory:
        packed = subprocess.run(["npm", "pack", "--silent", package], cwd=directory, check=True, capture_output=True, text=True)
        with tarfile.open(Path(directory) / packed.stdout.strip()) as archive:
            return archive.extractfile(f"package/{file}").read()


def main():
    if not which("npm"):
        sys.exit("npm is missing: the console's vendored files are compared with its registry (Debian: apt install npm)")
    rows = list(ROW.finditer((CONSOLE / "VENDORED.md").read_text()))
    if not rows:
        sys.exit("VENDORED.md has no rows")
    changed = [row["file"] for row in rows if (CONSOLE / "assets" / row["file"]).read_bytes() != published(row["package"], row["there"])]
    if changed:
        sys.exit(f"not as npm has them: {', '.join(changed)}")
    print(f"{len(rows)} vendored files are as npm has them")


if __name__ == "__main__":
    main()
