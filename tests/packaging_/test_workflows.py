"""The workflows name what is there: scripts, builds, lock files, and the results they hand on."""

import re

import pytest
from ruamel.yaml import YAML

from tests.packaging_.scripts import ROOT, load

build = load("build")
FOLDER = ROOT / ".github" / "workflows"
RELEASE = (FOLDER / "release.yml").read_text("utf-8")


def parsed(name):
    return YAML(typ="safe").load((FOLDER / name).read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yml")))
def test_files_that_a_workflow_names_are_there(name):
    text = (FOLDER / name).read_text("utf-8").replace("\\", "/")
    for path in re.findall(r"(?<![\w/.])(?:packaging|\.ci|app)/[\w./-]*\w", text):
        assert (ROOT / path).exists(), path


def test_each_build_runs_in_the_release_on_its_own_system():
    jobs = parsed("release.yml")["jobs"]
    for name in build.BUILDS:
        steps = [step.get("run", "") for step in jobs[name]["steps"]]
        assert any(f"packaging/build.py {name}" in step for step in steps)
    assert "windows" in jobs["windows"]["runs-on"]
    assert all(system.startswith("macos") for system in jobs["macos"]["strategy"]["matrix"]["os"])


@pytest.mark.parametrize("name", ["wheel", "deb", "windows", "macos"])
def test_what_was_built_is_tested_where_it_was_built(name):
    steps = [step.get("run", "") for step in parsed("release.yml")["jobs"][name]["steps"]]
    first = next(i for i, step in enumerate(steps) if "build.py" in step)
    assert any("selftest.py" in step for step in steps[first + 1 :])


def test_nothing_is_drafted_before_all_is_built_and_only_for_a_tag():
    draft = parsed("release.yml")["jobs"]["draft"]
    assert set(draft["needs"]) == {"version", *build.BUILDS}
    assert draft["if"] == "github.ref_type == 'tag'"
    assert "--draft" in RELEASE
    assert "build.py notes" in RELEASE


def test_only_the_draft_may_write():
    workflow = parsed("release.yml")
    assert workflow["permissions"] == {"contents": "read"}
    writing = [name for name, job in workflow["jobs"].items() if job.get("permissions")]
    assert writing == ["draft"]


def test_no_secret_stands_in_a_script():
    for job in parsed("release.yml")["jobs"].values():
        for step in job["steps"]:
            assert "secrets." not in step.get("run", "")
