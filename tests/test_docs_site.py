"""The site is built, where zensical is installed (the extra ``docs``)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import pages

TOOL = shutil.which("zensical", path=str(Path(sys.executable).parent)) or shutil.which("zensical")


@pytest.mark.skipif(TOOL is None, reason="zensical is not installed")
def test_the_site_is_built_without_complaint(tmp_path):
    shutil.copytree(pages.DOCS, tmp_path / "docs")
    shutil.copy(pages.SITE, tmp_path)
    done = subprocess.run([TOOL, "build"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    assert (tmp_path / "site" / "rules" / "RU" / "index.html").exists()
