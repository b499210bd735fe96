"""A record says where, when and with what its cell was run."""

import json
import subprocess
from datetime import datetime

import torch

from vaezoo.runner.provenance import COMPUTING, git_state, nvidia_driver, run_facts, versions
from vaezoo.runner.store import read_record


def test_every_record_says_how_it_was_made(finished):
    for path in [*finished.folder.glob("cells/*.json"), *finished.folder.glob("timings/*.json")]:
        found = read_record(path).provenance
        assert found.command[:3] == ("vaezoo", "run", "first.toml")
        assert datetime.fromisoformat(found.started) <= datetime.fromisoformat(found.finished)
        assert found.host
        assert set(found.versions) == set(COMPUTING)
        assert found.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
        assert found.git in (None, run_facts().git)  # an installed package has none
        assert "driver" not in json.loads(path.read_text())["provenance"]
    assert versions() is versions()
    assert nvidia_driver() is None or nvidia_driver()[0].isdigit()


def test_the_state_of_a_checkout(tmp_path):
    assert git_state(tmp_path) is None

    def git(*words):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    git("init", "--quiet")
    assert git_state(tmp_path) is None
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "-m", "one")
    commit = git_state(tmp_path)
    assert len(commit) == 40
    (tmp_path / "untracked").write_text("2")
    assert git_state(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == f"{commit}+dirty"
