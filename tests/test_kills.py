"""The kill campaign, small: what is killed, out of disk or beside another run ends the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the campaign forks")
def test_a_few_kills_a_full_disk_and_two_processes() -> None:
    # A process of its own: this one may have threads, which a fork does not carry over.
    done = subprocess.run(
        [sys.executable, "-m", "campaign.kills", "--small", "--kills", "3", "--disks", "1",
         "--pairs", "1", "--clocks", "1", "--seed", "1", "--jobs", "1"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    resumed = ("killed: 1", "after a full disk: 1", "of two processes: 1", "under such a clock: 1")
    for line in resumed:
        assert f"studies {line} resumed" in done.stdout, done.stdout + done.stderr
