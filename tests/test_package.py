"""What is published: version, metadata, terms, archives; and the files of a public repository."""

import copy
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest
import yaml

import ngnmm_jax as ng
from benchmarks import common, history

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = ["README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "CHANGELOG.md"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
LICENCES = ["LICENSE", "connectivity/LICENSE-DATA.md"]


def test_one_version():
    """`__init__` has it, packages are built with it; citation and changes follow."""
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ng.__version__
    latest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest.group(1) == ng.__version__


def test_metadata_agrees_with_itself():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    authors = [author["name"] for author in citation["authors"]]
    assert [author["name"] for author in PROJECT["authors"]] == authors
    assert citation["license"] == PROJECT["license"]
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert "Typing :: Typed" in PROJECT["classifiers"]
    assert (ROOT / "ngnmm_jax" / "py.typed").is_file()
    assert PROJECT["license-files"] == LICENCES


def test_terms_of_the_data():
    terms = (ROOT / LICENCES[1]).read_text()
    for words in ("HCP Open Access Data Use Terms", "cuBNM Developers", "BrainSpace developers"):
        assert words in terms
    assert terms.count("BSD 3-Clause License") == 2
    embedded = [path.name for path in (ROOT / "connectivity").glob("*.npz")]
    assert embedded
    assert all(name in terms for name in embedded)


def jobs(path):
    return yaml.safe_load(path.read_text())["jobs"]


def test_there_are_workflows():
    assert [path.stem for path in WORKFLOWS] == ["ci", "docs", "nightly", "release"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow(path):
    """It parses, may do little, ends, pins what it uses, and calls targets that there are."""
    workflow = yaml.safe_load(path.read_text())
    assert {"name", True, "permissions", "concurrency", "jobs"} == set(workflow)  # True: `on`
    assert workflow["permissions"] == {"contents": "read"}
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 360
        assert set(job.get("permissions", ())) <= {"pages", "id-token"}
        assert job.get("needs", path.stem) in {path.stem, *workflow["jobs"]}
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            used = step.get("uses", "a/b@v1")
            assert re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", used)
            if used.startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
            for target in re.findall(r"\bmake ([\w-]+)", step.get("run", "")):
                assert target in targets
            # What others can name (a branch, a tag) must not become part of a script.
            assert "github." not in step.get("run", "")


def test_workflows_test_every_python():
    ci, nightly = (jobs(ROOT / ".github" / "workflows" / f"{n}.yml") for n in ("ci", "nightly"))
    assert ci["test"]["strategy"]["matrix"]["python"] == PYTHONS
    assert nightly["test"]["strategy"]["matrix"]["python"] == [PYTHONS[0], PYTHONS[-1]]
    steps = [step for job in (*ci.values(), *nightly.values()) for step in job["steps"]]
    commands = [step["run"] for step in steps if step.get("run", "").startswith("make")]
    python = "PYTHON=python${{ matrix.python }}"
    assert commands == [
        "make lint PYTHON=python3.11",
        f"make test {python}",
        f"make test-all {python}",
    ]


def test_issue_forms():
    """Each asks for something, and says what it is for."""
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert [path.stem for path in forms] == ["bug", "config", "feature", "wrong_number"]
    for path in forms:
        form = yaml.safe_load(path.read_text())
        if path.stem == "config":
            continue
        assert form["name"]
        assert form["description"]
        ids = [field["id"] for field in form["body"]]
        assert len(set(ids)) == len(ids)
        assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_versions_that_a_bug_report_asks_for():
    """The command in the form runs, and names the version."""
    form = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text()
    (code,) = re.findall(r'python -c "(.*)"`', form)
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.startswith(ng.__version__)
    assert code in (ROOT / ".github" / "ISSUE_TEMPLATE" / "wrong_number.yml").read_text()


def test_hooks_before_a_commit():
    """They call what `make lint` calls."""
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (repository,) = configuration["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert all(entry.startswith(".venv/bin/") for entry in entries)
    lint = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    for tool in ("ruff check", "ruff format", "mypy"):
        assert f"$(BIN)/{tool}" in lint
        assert any(entry.startswith(f".venv/bin/{tool}") for entry in entries)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / name).read_text()):
        assert (ROOT / target).exists(), target


RECORD = {
    "benchmark": "some --full",
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789abcdef",
    "machine": "a processor; 2 cores",
    "versions": {"jax": "0"},
    "tables": [
        {"header": ["bits", "dt", "s"], "rows": [[64, 0.1, 2.0], [64, 0.2, 1.0], [32, 0.1, None]]},
        {"header": ["", "s"], "rows": [["all", 10]]},
    ],
}


def test_history_compares_by_place(tmp_path, monkeypatch, capsys):
    """Rows in another order, rows more and tables more match; what changed is marked, and why."""
    later = copy.deepcopy(RECORD)
    later |= {"date": "2026-01-03T03:04:05+00:00", "commit": "fedcba98", "machine": "another"}
    later["tables"][0]["rows"] = [[32, 0.1, 3.0], [64, 0.1, 2.1], [64, 0.2, 3.0], [16, 0.1, 1.0]]
    later["tables"].insert(0, {"header": ["new"], "rows": [["row"]]})
    assert history.compared(RECORD, later) == [
        ("32 · dt", 0.1, 0.1, 1.0),
        ("64 · dt", 0.1, 0.1, 1.0),
        ("64 · s", 2.0, 2.1, 1.05),
        ("64 #2 · dt", 0.2, 0.2, 1.0),
        ("64 #2 · s", 1.0, 3.0, 3.0),
        ("all · s", 10.0, 10.0, 1.0),
    ]
    assert [history.beyond(r, 0.1) for r in (1.0, 1.09, 0.92, 1.11, 0.9, -1.0)] == [
        *[False] * 3,
        *[True] * 3,
    ]
    monkeypatch.setattr(history, "FOLDER", tmp_path / "history")
    for record in (later, RECORD):
        (tmp_path / "new.json").write_text(json.dumps(record))
        kept = history.add(tmp_path / "new.json", history.FOLDER)
    assert kept.name == "some-full-2026-01-02T0304-0123456.json"
    ((a, b),) = history.pairs([], history.FOLDER)
    assert (a, b) == (RECORD, later)
    assert history.pairs(["0123", "fedc"], history.FOLDER) == [(a, b)]
    assert history.pairs([str(kept)], history.FOLDER) == [(a, b)]
    assert history.show(a, b, 0.1, everything=False) == 1
    printed = capsys.readouterr().out
    assert "| 64 #2 · s | 1 | 3 | 3.000 | * |" in printed
    assert "Not the same machine: a processor; 2 cores, then another" in printed
    with pytest.raises(ValueError, match="neither a file nor a commit"):
        history.pairs(["none"], history.FOLDER)
    (tmp_path / "new.json").write_text('{"benchmark": "some"}')
    with pytest.raises(ValueError, match="without date, commit"):
        history.add(tmp_path / "new.json", history.FOLDER)


def test_history_has_what_benchmarks_print(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(common, "TABLES", [])
    common.table(["", "x"], [["a", np.float64(1.5)], ["b", float("nan")], [np.int64(3), 2]])
    common.save(tmp_path / "one.json", "dispersion")
    record = history.read(tmp_path / "one.json")
    assert record["tables"] == [{"header": ["", "x"], "rows": [["a", 1.5], ["b", None], [3, 2]]}]
    assert set(record["versions"]) == {"Python", "jax", "diffrax", "numpy"}
    assert record["machine"] in common.machine()
    assert "| a | 1.5 |" in capsys.readouterr().out


def test_kept_history():
    """Every record can be read, has the name that `add` gives, and no paths of a machine."""
    records = sorted(history.FOLDER.glob("*.json"))
    assert records
    for path in records:
        record = history.read(path)
        assert path.stem.startswith(re.sub(r"\W+", "-", record["benchmark"]))
        assert path.stem.endswith(record["commit"][:7])
        assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text())
        assert list(history.numbers(record))


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Source archive, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (source,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return source, wheel


@pytest.mark.slow
def test_archives(archives):
    """Fit to be published, with types, data and terms, and without what is only of this folder."""
    check = [sys.executable, "-m", "twine", "check", "--strict", *archives]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    source, wheel = archives
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        info = f"ngnmm_jax-{ng.__version__}.dist-info"
        metadata = Parser().parsestr(file.read(f"{info}/METADATA").decode())
        assert {name.split("/")[0] for name in names} == {"ngnmm_jax", info}
        assert "ngnmm_jax/py.typed" in names
        assert "ngnmm_jax/connectivity/hcp-schaefer100.npz" in names
        for path in LICENCES:
            assert file.read(f"{info}/licenses/{path}") == (ROOT / path).read_bytes()
    assert metadata["Version"] == ng.__version__
    assert metadata.get_all("License-File") == LICENCES
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] == "The ngnmm_jax authors"
    with tarfile.open(source) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    tools = {"Makefile", "mkdocs.yml", ".pre-commit-config.yaml", ".github/workflows/ci.yml"}
    assert {*tools, *LICENCES, "CONTRIBUTING.md", "docs/tour.md", "tests/conftest.py"} <= names
    assert not [n for n in names if n.startswith((".jax_cache", ".venv", "site", "build", "dist"))]


@pytest.mark.slow
def test_wheel(archives, tmp_path):
    """Installed alone in a clean environment outside of the tree, and used there."""
    _, wheel = archives
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, cwd=tmp_path)
    code = (
        "import ngnmm_jax as ng; c = ng.Connectome.load().normalised(); "
        "run = ng.simulate(ng.Network(ng.NextGenEI(i_ext_e=13.0), c, 5.0), 20.0, dt=0.02); "
        "print(ng.__file__, run.v_e.shape, run.ok)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    assert str(tmp_path) in done.stdout
    assert "(21, 100) True" in done.stdout
    missing = subprocess.run(
        [python, "-m", "ngnmm_jax.cli"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "pip install 'ngnmm-jax[all]'" in missing.stderr
