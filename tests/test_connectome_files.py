"""Connectomes in the files that people have: written by the library that writes them."""

import bz2
import gzip
import io
import warnings
import zipfile

import h5py
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse

import ngnmm_jax as ng
from ngnmm_jax.connectome.parts import Reading

NAMES = ("Left Amygdala", "b", "c", "d")
W = np.array([[0, 1, 2, 0], [1, 0, 3, 0.5], [2, 3, 0, 4], [0, 0.25, 4, 0.0]])
SYMMETRIC = (W + W.T) / 2
LENGTHS = 40 * SYMMETRIC
PLACES = np.arange(12.0).reshape(4, 3)


def frame(weights=W, columns=NAMES):
    return pd.DataFrame(weights, index=list(NAMES), columns=list(columns))


def text(array, **options):
    stream = io.StringIO()
    np.savetxt(stream, array, **options)
    return stream.getvalue()


def quoted(row):
    return ",".join(f'"{name}"' for name in row)


def r_csv(names=NAMES, rows=NAMES):
    """What R's write.csv makes of a matrix."""
    lines = [quoted(["", *names])]
    lines += [f'"{n}",{",".join(map(str, row))}' for n, row in zip(rows, W, strict=True)]
    return "\n".join(lines) + "\n"


def r_table():
    """What R's write.table makes: the header names the columns only."""
    lines = [" ".join(f'"{n}"' for n in NAMES)]
    lines += [f'"{n}" ' + " ".join(map(str, row)) for n, row in zip(NAMES, W, strict=True)]
    return "\n".join(lines) + "\n"


def connectogram():
    head = ["data\tdata\t" + "\t".join("1234"), "data\tdata\t" + "\t".join(NAMES)]
    lines = [
        f"{k}\t{n}\t" + "\t".join(map(str, row))
        for k, (n, row) in enumerate(zip(NAMES, W, strict=True))
    ]
    return "\n".join([*head, *lines]) + "\n"


def edge_lines(separator=",", names=range(4), header=""):
    lines = [
        separator.join((str(names[j]), str(names[i]), str(W[i, j])))
        for i in range(4) for j in range(4) if W[i, j]
    ]  # fmt: skip
    return header + "\n".join(lines) + "\n"


def commas(string):
    return string.replace(",", ";").replace(".", ",")


RENAMED = {"index": {"b": "b, left"}, "columns": {"b": "b, left"}}
NUMBERED = "".join(f"{k},{line}\n" for k, line in enumerate(edge_lines().split()))


#: Name, content, whether the names come with it.
TEXTS = [
    ("numpy.txt", text(W), False),
    ("numpy.csv", text(W, delimiter=","), False),
    ("comments.csv", "# a, comment, with, commas, and more\n" + text(W, delimiter=","), False),
    ("pandas.csv", frame().to_csv(), True),
    ("pandas_tab.tsv", frame().to_csv(sep="\t"), True),
    ("pandas_semicolon.csv", frame().to_csv(sep=";"), True),
    ("pandas_decimal.csv", frame().to_csv(sep=";", decimal=","), True),
    ("pandas_no_index.csv", frame().to_csv(index=False), True),
    ("pandas_no_header.csv", frame().to_csv(header=False), True),
    ("pandas_neither.csv", frame().to_csv(header=False, index=False), False),
    ("pandas_numbered.csv", pd.DataFrame(W).to_csv(), False),
    ("pandas_numbers_above.csv", pd.DataFrame(W).to_csv(index=False), False),
    ("pandas_numbers_before.csv", pd.DataFrame(W).to_csv(header=False), False),
    ("pandas_named_index.csv", frame().rename_axis("region").to_csv(), True),
    ("pandas_commas.csv", frame().rename(**RENAMED).to_csv(), "b, left"),
    ("pandas_sorted.csv", frame()[sorted(NAMES, reverse=True)].to_csv(), True),
    ("r.csv", r_csv(), True),
    ("r_numbered.csv", r_csv(("V1", "V2", "V3", "V4"), "1234"), False),
    ("r_table.txt", r_table(), True),
    ("trailing.csv", "".join(line + ",\n" for line in text(W, delimiter=",").splitlines()), False),
    ("brainnet.edge", text(W, delimiter="\t"), False),
    ("connectogram.txt", connectogram(), True),
    ("edges.csv", edge_lines(), False),
    ("edges.txt", edge_lines(" "), False),
    ("edges_header.csv", edge_lines(header="source,target,weight\n"), False),
    ("edges_one.txt", edge_lines(" ", range(1, 5)), False),
    ("edges_counted.txt", "4\n" + edge_lines(" "), False),
    ("edges_pandas.csv", ",source,target,weight\n" + NUMBERED, False),
]  # fmt: skip


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize(("name", "content", "named"), TEXTS, ids=[t[0] for t in TEXTS])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text(tmp_path, name, content, named, encoding):
    (tmp_path / name).write_text(content, encoding=encoding, newline="")
    loaded = ng.Connectome.load(tmp_path / name)
    np.testing.assert_array_equal(loaded.weights, W)
    names = NAMES if named else tuple(f"region {k}" for k in range(4))
    if isinstance(named, str):
        names = tuple(named if n == "b" else n for n in names)
    assert loaded.labels == names
    back = ng.Connectome.load(tmp_path / name, transpose=True)
    np.testing.assert_array_equal(back.weights, W.T)


def test_an_edge_list_says_by_what_its_columns_were_read(tmp_path):
    def notes(text):
        (tmp_path / "edges.csv").write_text(text)
        found = ng.Connectome.load(tmp_path / "edges.csv", directed=True)
        return found, found.notes

    lines = "".join(f"{k},{(k + 1) % 4},{k + 1}\n" for k in range(4))
    found, told = notes("target,source,weight\n" + lines)
    read = "the edge list is read by its header: source 'source', target 'target', weight 'weight'"
    assert read in told
    assert found.weights[0, 1] == 1.0  # row: the target
    lines = "".join(f"{k},{(k + 1) % 4},{k + 1},{10 * k + 5}\n" for k in range(4))
    found, told = notes("from,to,w,length\n" + lines)
    assert "weight 'w', tract length 'length'" in " | ".join(told)
    assert found.tract_lengths[1, 0] == 5.0
    lines = "".join(f"{k},{(k + 1) % 4},{k + 1}\n" for k in range(4))
    assert "each line of the edge list is read as source, target, weight" in notes(lines)[1]


def test_latin_1_and_named_edges(tmp_path):
    (tmp_path / "l.csv").write_bytes(",é,ü\né,0,1\nü,2,0\n".encode("latin-1"))
    loaded = ng.Connectome.load(tmp_path / "l.csv")
    assert loaded.labels == ("é", "ü")
    assert any("Latin-1" in note for note in loaded.notes)
    (tmp_path / "worm.csv").write_text("AVAL,AVAR,3\nAVAR,AVAL,2\nAVAL,RIB,1.5\n")
    worm = ng.Connectome.load(tmp_path / "worm.csv")
    assert worm.labels == ("AVAL", "AVAR", "RIB")
    np.testing.assert_array_equal(worm.weights, [[0, 2, 0], [3, 0, 0], [1.5, 0, 0]])
    header = "from,to,n\nA,B,1\nB,A,2\nA,C,3\n"
    (tmp_path / "three.csv").write_text(header)
    assert ng.Connectome.load(tmp_path / "three.csv").labels == ("A", "B", "C")


def write_mat73(path):
    """As MATLAB 7.3 stores things: axes reversed, text as codes, cells as references."""
    with h5py.File(path, "w") as file:
        file["SC"] = W.T
        file["SC"].attrs["MATLAB_class"] = np.bytes_(b"double")
        cells = []
        for k, name in enumerate(NAMES):
            item = file.create_dataset(
                f"#refs#/{k}", data=np.array([[ord(c)] for c in name], dtype=np.uint16)
            )
            item.attrs["MATLAB_class"] = np.bytes_(b"char")
            cells.append(item.ref)
        file.create_dataset("names", data=np.array([cells], dtype=h5py.ref_dtype))
        file["names"].attrs["MATLAB_class"] = np.bytes_(b"cell")


def write_sparse73(path):
    matrix = scipy.sparse.csc_array(W)
    with h5py.File(path, "w") as file:
        group = file.create_group("connectivity")
        group.attrs["MATLAB_class"] = np.bytes_(b"double")
        group.attrs["MATLAB_sparse"] = np.uint64(4)
        for name, value in (("data", matrix.data), ("ir", matrix.indices), ("jc", matrix.indptr)):
            group[name] = value


def write_tvb_h5(path):
    with h5py.File(path, "w") as file:
        file["weights"], file["tract_lengths"], file["centres"] = W, LENGTHS, PLACES
        file["region_labels"] = np.array([name.encode() for name in NAMES])


def codes(lines):
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)[None]


def tvb_members(names=NAMES):
    rows = [f"{n} {x} {y} {z}" for n, (x, y, z) in zip(names, PLACES, strict=True)]
    return {
        "weights": text(W), "tract_lengths": text(LENGTHS), "centres": "\n".join(rows) + "\n",
    }  # fmt: skip


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def graph(kind):
    made = nx.from_numpy_array(W.T if kind is nx.DiGraph else SYMMETRIC, create_using=kind)
    return nx.relabel_nodes(made, dict(enumerate(NAMES)))


BINARY = {
    "ours.npz": lambda p: ng.Connectome(W, NAMES).save(p),
    "object_labels.npz": lambda p: np.savez(p, sc=W, labels=np.array(NAMES, dtype=object)),
    "bytes_labels.npz": lambda p: np.savez(p, W=W, names=np.array(NAMES, dtype="S")),
    "sparse.npz": lambda p: scipy.sparse.save_npz(p, scipy.sparse.csr_array(W)),
    "plain.npy": lambda p: np.save(p, W),
    "fortran.npy": lambda p: np.save(p, np.asfortranarray(W)),
    "cells.mat": lambda p: scipy.io.savemat(
        p, {"SC": W, "labels": np.array(NAMES, dtype=object)[:, None]}
    ),
    "chars.mat": lambda p: scipy.io.savemat(p, {"SC": W, "labels": np.array(NAMES)}),
    "sparse.mat": lambda p: scipy.io.savemat(p, {"connectivity": scipy.sparse.csc_matrix(W)}),
    "struct.mat": lambda p: scipy.io.savemat(
        p, {"data": {"weights": W, "labels": np.array(NAMES, dtype=object)}}
    ),
    "dsi.mat": lambda p: scipy.io.savemat(p, {"connectivity": W, "name": codes(NAMES)}),
    "v73.mat": write_mat73,
    "sparse73.mat": write_sparse73,
    "tvb.h5": write_tvb_h5,
    "market.mtx": lambda p: scipy.io.mmwrite(p, scipy.sparse.coo_array(W)),
    "graph.graphml": lambda p: nx.write_graphml(graph(nx.DiGraph), p),
    "tvb.zip": lambda p: write_zip(p, {f"c/{k}.txt": v for k, v in tvb_members().items()}),
    "packed.zip": lambda p: write_zip(
        p, {f"{k}.txt.bz2": bz2.compress(v.encode()) for k, v in tvb_members().items()}
    ),
    "empty.zip": lambda p: write_zip(
        p, {f"{k}.txt": "" if k == "tract_lengths" else v for k, v in tvb_members().items()}
    ),
    "w.csv.gz": lambda p: p.write_bytes(gzip.compress(frame().to_csv().encode())),
}
UNNAMED = {"sparse.npz", "plain.npy", "fortran.npy", "sparse.mat", "sparse73.mat", "market.mtx"}


@pytest.mark.parametrize("name", BINARY)
def test_binary(tmp_path, name):
    BINARY[name](tmp_path / name)
    loaded = ng.Connectome.load(tmp_path / name)
    np.testing.assert_array_equal(loaded.weights, W)
    assert loaded.labels == (tuple(f"region {k}" for k in range(4)) if name in UNNAMED else NAMES)
    if name in ("tvb.zip", "tvb.h5", "packed.zip"):
        np.testing.assert_allclose(loaded.tract_lengths, LENGTHS)
        np.testing.assert_array_equal(loaded.centroids, PLACES)
    again = tmp_path / "again.npz"
    loaded.save(again)
    assert ng.Connectome.load(again).labels == loaded.labels


def test_folder_and_undirected_graph(tmp_path):
    for name, content in tvb_members().items():
        (tmp_path / f"{name}.txt").write_text(content)
    assert ng.Connectome.load(tmp_path).labels == NAMES
    nx.write_graphml(graph(nx.Graph), tmp_path / "g.graphml")
    np.testing.assert_array_equal(ng.Connectome.load(tmp_path / "g.graphml").weights, SYMMETRIC)


def test_repeated_names_are_numbered(tmp_path):
    write_zip(tmp_path / "h.zip", {f"{k}.txt": v for k, v in tvb_members("aaba").items()})
    loaded = ng.Connectome.load(tmp_path / "h.zip")
    assert loaded.labels == ("a 1", "a 2", "b", "a 3")
    assert any("numbered" in note for note in loaded.notes)
    scipy.io.savemat(tmp_path / "e.mat", {"SC": W, "labels": np.array(["a", "", "c", "d"], object)})
    assert ng.Connectome.load(tmp_path / "e.mat").labels == ("a", "region 1", "c", "d")


TRIANGLE = np.triu(SYMMETRIC)


#: Name, how it is written, what the refusal says, and readings that decide it.
AMBIGUOUS = [
    ("lengths.npz", lambda p: np.savez(p, tract_lengths=LENGTHS), r"variable=",
     [({"variable": "tract_lengths"}, LENGTHS)]),
    ("fc.mat", lambda p: scipy.io.savemat(p, {"FC": SYMMETRIC}), r"variable=",
     [({"variable": "FC"}, SYMMETRIC)]),
    ("two.npz", lambda p: np.savez(p, SC=W, W=2 * W), r"'SC' and 'W'.*variable=",
     [({"variable": "W"}, 2 * W)]),
    ("unnamed.npz", lambda p: np.savez(p, one=W, other=2 * W), r"variable=",
     [({"variable": "one"}, W)]),
    ("subjects.zip", lambda p: write_zip(
        p, {"a/weights.txt": text(W), "b/weights.txt": text(2 * W)}),
     r"'a/weights.txt' and 'b/weights.txt'", [({"variable": "b/weights.txt"}, 2 * W)]),
    ("centres.zip", lambda p: write_zip(p, {"weights.txt": text(W), "centres.txt": "r 0 0 0\n" * 4,
     "centers.txt": tvb_members()["centres"]}), r"labels=", [({"labels": "centers.txt"}, W)]),
    ("half.txt", lambda p: p.write_text(text(TRIANGLE)), "one side of the diagonal",
     [({"symmetric": True}, SYMMETRIC), ({"directed": True}, TRIANGLE)]),
    ("once.csv", lambda p: p.write_text("0,1,5\n1,2,3\n0,2,1\n1,3,2\n"), "listed once",
     [({"directed": True}, [[0, 0, 0, 0], [5, 0, 0, 0], [1, 3, 0, 0], [0, 2, 0, 0]]),
      ({"symmetric": True}, [[0, 5, 1, 0], [5, 0, 3, 2], [1, 3, 0, 0], [0, 2, 0, 0]])]),
    ("isolated.txt", lambda p: p.write_text("4\n1 2 1.5\n2 1 1.5\n2 3 1\n3 2 1\n"), "one_based=",
     [({"one_based": True}, [[0, 1.5, 0, 0], [1.5, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]),
      ({"one_based": False}, [[0, 0, 0, 0], [0, 0, 1.5, 0], [0, 1.5, 0, 1], [0, 0, 1, 0]])]),
    ("three.txt", lambda p: p.write_text("0 1 2\n1 0 2\n2 0 2\n"), "edges=False",
     [({"edges": False}, [[0, 1, 2], [1, 0, 2], [2, 0, 2]]),
      ({"edges": True}, [[0, 2, 2], [2, 0, 0], [0, 0, 0]])]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "write", "words", "ways"), AMBIGUOUS, ids=[a[0] for a in AMBIGUOUS]
)
def test_what_is_left_open_is_refused_with_the_way_out(tmp_path, name, write, words, ways):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=words):
        ng.Connectome.load(tmp_path / name)
    for options, expected in ways:
        np.testing.assert_array_equal(
            ng.Connectome.load(tmp_path / name, **options).weights, expected
        )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("twice.csv", "0,1,5\n1,0,2\n0,1,3\n2,1,1\n", "stands more than once"),
        ("far.csv", "200001\n0,1,5\n1,0,5\n0,200000,1\n200000,0,1\n", "needs 320 GB"),
        ("names.csv", ",a,b\na,0,1\nc,1,0\n", "different names"),
        ("empty_cell.csv", ",a,b\na,0,\nb,1,0\n", "an entry is empty"),
        ("nan.csv", "0,nan\n1,0\n", r"in the rows 0"),
        ("both.csv", "0,1\n1,0\n", "exclude each other"),
    ],
)
def test_refused(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    options = {"directed": True, "symmetric": True} if name == "both.csv" else {}
    with pytest.raises(ValueError, match=words) as caught:
        ng.Connectome.load(tmp_path / name, **options)
    assert "\n" not in str(caught.value)


def test_objects_that_are_no_text_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    np.savez(tmp_path / "e.npz", W=W, labels=np.array([Evil()] * 4, dtype=object))
    with pytest.raises(ValueError, match="Python objects"):
        ng.Connectome.load(tmp_path / "e.npz")


def test_frames_masks_and_other_kinds():
    named = ng.Connectome(frame()[list(reversed(NAMES))])
    np.testing.assert_array_equal(named.weights, W)
    assert named.labels == NAMES
    assert ng.Connectome(pd.DataFrame(W)).labels[1] == "region 1"
    with pytest.raises(ValueError, match="one set of names"):
        ng.Connectome(frame(columns=["Left Amygdala", "b", "c", "x"]))
    for wrong, words in (
        (W.astype(complex), "array of numbers"),
        (np.ma.masked_less(W, 1), "masked"),
        (W.astype("datetime64[s]"), "array of numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            ng.Connectome(wrong)


def test_a_triangle_is_completed():
    half = ng.Connectome(TRIANGLE + np.eye(4))
    whole = half.symmetrised()
    np.testing.assert_array_equal(whole.weights, SYMMETRIC + np.eye(4))
    np.testing.assert_array_equal(ng.Connectome(W).symmetrised().weights, SYMMETRIC)


def test_ways_out():
    lonely = ng.Connectome([[0, 1, 0], [1, 0, 0], [0, 0, 0.0]], ("a", "b", "c"))
    with pytest.raises(ValueError, match=r"\(c\).*without_silent"):
        lonely.normalised()
    assert lonely.without_silent().labels == ("a", "b")
    assert lonely.scaled(3).weights.max() == 3
    np.testing.assert_array_equal(ng.Connectome(W).transposed().weights, W.T)
    with pytest.raises(ValueError, match="Nothing would be left"):
        ng.Connectome(np.zeros((2, 2))).without_silent()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cut.txt", "0 1 2 3 4\n1 0 5 6 7\n2 5 0 8 9\n4 6 8 0 .5\n", "too many or too few"),
        ("over.csv", "0,1.5\n1,0\n2,0\n", "too many or too few"),
        ("ids.csv", "0,11,12,13\n11,0,1,2\n12,1,0,3\n13,2,3,0\n", "leave the corner empty"),
        ("two.csv", "0,0,1\n1,2,0\n", "`edges=False`"),
        ("cell.csv", ",a,b\na,0,NA\nb,1,0\n", "line 1, column 2"),
        ("lengths.csv", "source,target,weight,length\na,b,1,9\nb,c,1,8\nc,a,1,7\n", "listed once"),
    ],
)
def test_what_could_be_shifted_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=words):
        ng.Connectome.load(tmp_path / name)


def test_lengths_go_with_the_weights(tmp_path):
    rows = "source,target,weight,length\na,b,1,9\nb,c,2,8\nc,a,3,7\n"
    (tmp_path / "e.csv").write_text(rows)
    both = ng.Connectome.load(tmp_path / "e.csv", symmetric=True)
    np.testing.assert_array_equal(both.tract_lengths, both.tract_lengths.T)
    one = ng.Connectome.load(tmp_path / "e.csv", directed=True)
    np.testing.assert_array_equal(one.tract_lengths > 0, one.weights > 0)
    scipy.io.savemat(tmp_path / "h.mat", {"SC": TRIANGLE, "lengths": 40 * TRIANGLE})
    whole = ng.Connectome.load(tmp_path / "h.mat", symmetric=True)
    np.testing.assert_array_equal(whole.tract_lengths, LENGTHS)
    asymmetric = 40 * W
    scipy.io.savemat(tmp_path / "t.mat", {"SC": W, "lengths": asymmetric})
    turned = ng.Connectome.load(tmp_path / "t.mat", transpose=True)
    np.testing.assert_array_equal(turned.tract_lengths, asymmetric.T)
    # Of a file of their own, by the names.
    order = [2, 0, 3, 1]
    shuffled = pd.DataFrame(asymmetric, index=NAMES, columns=NAMES).iloc[order, order]
    shuffled.to_csv(tmp_path / "l.csv")
    frame().to_csv(tmp_path / "w.csv")
    found = ng.Connectome.load(tmp_path / "w.csv", lengths=tmp_path / "l.csv")
    np.testing.assert_array_equal(found.tract_lengths, asymmetric)
    np.testing.assert_array_equal(
        ng.Connectome(frame(), tract_lengths=shuffled).tract_lengths, asymmetric
    )
    ng.Connectome(W, tract_lengths=asymmetric).save(tmp_path / "own.npz")
    found = ng.Connectome.load(tmp_path / "w.csv", lengths=tmp_path / "own.npz")
    np.testing.assert_array_equal(found.tract_lengths, asymmetric)
    np.savez(tmp_path / "both.npz", weights=7 * W, fiber_length=asymmetric)  # whatever its name
    found = ng.Connectome.load(tmp_path / "w.csv", lengths=tmp_path / "both.npz")
    np.testing.assert_array_equal(found.tract_lengths, asymmetric)


def test_names_that_are_given(tmp_path):
    frame().to_csv(tmp_path / "w.csv")
    (tmp_path / "n.txt").write_text("# names\n1\n2\n3\n4\n")
    for given in (["1", "2", "3", "4"], str(tmp_path / "n.txt")):
        renamed = ng.Connectome.load(tmp_path / "w.csv", labels=given)
        assert renamed.labels == ("1", "2", "3", "4")
        assert any("names replaced" in note for note in renamed.notes)
    with pytest.raises(ValueError, match=r"in another order.*\.take"):
        ng.Connectome.load(tmp_path / "w.csv", labels=list(reversed(NAMES)))
    ids = pd.DataFrame(W, index=[11, 12, 13, 14], columns=[11, 12, 13, 14])
    mixed = ids[[14, 13, 12, 11]]
    mixed.to_csv(tmp_path / "ids.csv")
    for found in (ng.Connectome(mixed), ng.Connectome.load(tmp_path / "ids.csv")):
        np.testing.assert_array_equal(found.weights, W)
        assert found.labels == ("11", "12", "13", "14")
    scipy.io.savemat(tmp_path / "i.mat", {"SC": W, "labels": np.array([[1001], [1002], [7], [8]])})
    for options in ({}, {"labels": "labels"}):  # by the very name that is known
        found = ng.Connectome.load(tmp_path / "i.mat", **options)
        assert found.labels == ("1001", "1002", "7", "8")
    sparse = "1001,2001,5\n2001,1001,5\n1001,1500,2\n1500,1001,2\n2001,1500,1\n"
    (tmp_path / "atlas.csv").write_text(sparse)
    assert ng.Connectome.load(tmp_path / "atlas.csv").labels == ("1001", "1500", "2001")


def test_subjects_are_not_mixed(tmp_path):
    scipy.io.savemat(tmp_path / "s.mat", {"a": {"SC": W}, "b": {"SC": 2 * W, "names": NAMES}})
    with pytest.raises(ValueError, match="'a/SC' and 'b/SC'"):
        ng.Connectome.load(tmp_path / "s.mat")
    members = tvb_members()
    write_zip(tmp_path / "s.zip", {"s1/weights.txt": members["weights"],
                                   "s2/centres.txt": members["centres"]})  # fmt: skip
    with pytest.raises(ValueError, match="in different folders"):
        ng.Connectome.load(tmp_path / "s.zip")
    scipy.io.savemat(tmp_path / "c.mat", {"conn": W, "c": 3})
    np.testing.assert_array_equal(ng.Connectome.load(tmp_path / "c.mat").weights, W)


def test_graphs_without_numbers_and_own_files(tmp_path):
    made = graph(nx.DiGraph)
    nx.set_edge_attributes(made, {edge: "5" for edge in made.edges}, "weight")
    nx.write_graphml(made, tmp_path / "s.graphml")
    assert set(ng.Connectome.load(tmp_path / "s.graphml").weights.ravel()) == {0.0, 5.0}
    first = next(iter(made.edges))
    del made.edges[first]["weight"]
    nx.write_graphml(made, tmp_path / "m.graphml")
    with pytest.raises(ValueError, match="has no number 'weight'"):
        ng.Connectome.load(tmp_path / "m.graphml")
    ng.Connectome(TRIANGLE).save(tmp_path / "half.npz")  # ours is never asked
    np.testing.assert_array_equal(ng.Connectome.load(tmp_path / "half.npz").weights, TRIANGLE)
    (tmp_path / "pair.txt").write_text("0 1\n0 0\n")
    pair = ng.Connectome.load(tmp_path / "pair.txt", symmetric=True)
    np.testing.assert_array_equal(pair.weights, [[0, 1], [1, 0]])
    for wrong in ({"directed": "no"}, {"one_based": "false"}, {"separator": "ab"}):
        with pytest.raises(ValueError, match="must be"):
            Reading(**wrong)


def test_damaged_files_are_one_line(tmp_path):
    """Bytes flipped, cut and doubled, from a seed: read, or refused by the file's name."""
    generator = np.random.default_rng(3)
    sources = []
    for name, write in BINARY.items():
        write(tmp_path / name)
        sources.append((name, (tmp_path / name).read_bytes()))
    sources += [(name, content.encode()) for name, content, _ in TEXTS]
    refusals = []
    for trial in range(300):
        name, data = sources[trial % len(sources)]
        damaged = bytearray(data)
        for _ in range(generator.integers(1, 6)):
            damaged[generator.integers(len(damaged))] = generator.integers(256)
        if trial % 3 == 0:
            damaged = damaged[: generator.integers(len(damaged))]
        path = tmp_path / f"{trial}_{name}"
        path.write_bytes(bytes(damaged))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SciPy's and NumPy's about such files
                ng.Connectome.load(path)
        except ValueError as error:
            refusals.append((str(path), str(error)))
    assert len(refusals) > 100
    assert all(path in words and "\n" not in words for path, words in refusals), refusals
