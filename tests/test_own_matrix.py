"""A new user's own matrix, from the program that wrote it to its dispersion relation."""

import csv
import re

import numpy as np
import pandas as pd
import pytest
import scipy.io

import ngnmm_jax as ng
from tests.test_connectome_files import write_zip
from tests.test_malformed import complaint

NAMES = ("L.PreCG", "L.SFG", "R.PreCG", "R.SFG")
W = np.array([[0, 1, 2, 0], [1, 0, 3, 0.5], [2, 3, 0, 4], [0, 0.5, 4, 0.0]])


def from_pandas(path):
    pd.DataFrame(W, index=NAMES, columns=NAMES).to_csv(path)


def from_matlab(path):
    scipy.io.savemat(path, {"SC": W, "FC": np.eye(4), "labels": np.array(NAMES, dtype=object)})


def from_tvb(path):
    centres = "".join(f"{name} {k}.0 1.0 2.0\n" for k, name in enumerate(NAMES))
    members = {name: "\n".join(" ".join(map(str, row)) for row in array)
               for name, array in (("weights", W), ("tract_lengths", 40 * W))}  # fmt: skip
    write_zip(path, {f"{name}.txt": text for name, text in {**members, "centres": centres}.items()})


def from_mrtrix(path):
    """What tck2connectome writes without -symmetric."""
    head = "# command_history: tck2connectome -assignment_radial_search 4 a.tck b.mif c.csv"
    path.write_text("\n".join([head, *(" ".join(map(str, row)) for row in np.triu(W))]) + "\n")


def dispersion(file, out, capsys, monkeypatch):
    """What the command says; where it says which option is missing, that is given."""
    words = ["dispersion", "--connectome", str(file), "--set", "i_ext_e=15", "--coupling", "9"]
    for _ in range(2):
        code, text = complaint([*words, "--out", str(out)], capsys, monkeypatch)
        asked = re.search(r"say `(\w+=\w+)` if they go both ways", text)
        if code == 0 or not asked:
            break
        assert "--reading NAME=VALUE" in text
        words += ["--reading", asked[1]]
    return code, text


@pytest.mark.parametrize(
    ("name", "write", "named"),
    [
        ("mine.csv", from_pandas, True),
        ("mine.mat", from_matlab, True),
        ("mine.zip", from_tvb, True),
        ("mine_mrtrix.csv", from_mrtrix, False),
    ],
)
def test_from_the_file_to_the_dispersion_relation(
    name, write, named, tmp_path, capsys, monkeypatch
):
    write(tmp_path / name)
    code, text = dispersion(tmp_path / name, tmp_path / "out", capsys, monkeypatch)
    assert code == 0, text
    with (tmp_path / "out" / "dispersion.csv").open() as file:
        found = [float(row["lambda_real"]) for row in csv.DictReader(file)]
    rows = W / W.sum(axis=1, keepdims=True)
    known = np.sort(np.linalg.eigvals(rows).real)[::-1]
    np.testing.assert_allclose(found[:4], known, atol=1e-12)
    words = ["connectome", str(tmp_path / name), "--reading", f"symmetric={str(not named).lower()}"]
    _, said = complaint(words, capsys, monkeypatch)
    assert ("L.PreCG" in said) == named
    assert "symmetric" in said


def test_from_pandas_in_python():
    shuffled = pd.DataFrame(W, index=NAMES, columns=NAMES)[list(reversed(NAMES))]
    connectome = ng.Connectome(shuffled)
    assert connectome.labels == NAMES
    np.testing.assert_array_equal(connectome.weights, W)
    for names in (list(NAMES), [name.encode() for name in NAMES]):
        assert ng.Connectome(W, names).labels == NAMES
