"""How large the program is, with what files and OpenPGP need and without."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import bed

# The demo stays: it is of neither.
WITHOUT = ["--no-default-features", "--features", "demo"]
LONGEST_BUILD_SECONDS = 3600


def measure(binary, without):
    return {"with": stripped(binary), "without": stripped(without or build_without())}


def build_without():
    """In a folder of its own: else the next `cargo build --release` would have to link again."""
    folder = bed.TARGET / "without"
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", folder, *WITHOUT], cwd=bed.ROOT,
                   check=True, timeout=LONGEST_BUILD_SECONDS)
    return folder / "release" / "sidekey"


def stripped(binary):
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(binary, folder))
        subprocess.run(["strip", "--strip-all", copy], check=True)
        return copy.stat().st_size
