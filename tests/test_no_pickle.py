"""Nothing that snflow writes or reads is a pickle, whose loading would run what a stranger wrote into it."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError, deserialize

from pipeline.ingest.settings import IngestSettings
from pipeline.store import Store, ingest
from pipeline.train.checkpoint import Checkpoint, CheckpointError
from tests.pipeline.ingest.snana_files import Written
from tests.small_model import small_classifier

ROOT = Path(__file__).parents[1]
CODE = [path for name in ("flows", "models", "pipeline", "tests") for path in sorted((ROOT / name).rglob("*.py"))]

MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
CALLS = {"allow_pickle", "eval", "exec", "full_load", "read_pickle", "to_pickle", "unsafe_load"}
OF_MODULES = {("torch", "load"), ("torch", "save"), ("yaml", "load"), ("np", "fromfile"), ("os", "system")}

EXCEPTIONS = {
    "tests/test_no_pickle.py": "makes pickles, to show that nobody loads them",
    "tests/benchmarks/supernnova_inside.py": "runs inside SuperNNova's environment, whose models are pickles",
}

OBJECTS_IN_FILES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".npy", ".npz", ".joblib", ".dill", ".h5", ".db"}


def suspicions(source: str) -> Iterator[str]:
    """What in a module could load or write a pickle, or run a text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "", alias.name) for alias in node.names}
            yield from (f"{module}.{name}" for module, name in names if module.partition(".")[0] in MODULES)
            yield from (f"{module}.{name}" for module, name in names & OF_MODULES)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in OF_MODULES or node.attr in CALLS - {"eval", "exec"}:
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call):
            yield from (keyword.arg for keyword in node.keywords if keyword.arg == "allow_pickle")
            if isinstance(node.func, ast.Name) and node.func.id in (CALLS | {"__import__"}):
                yield node.func.id


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import dumps",
        "import joblib.externals",
        "torch.load(path)",
        "from torch import load",
        "np.load(path, allow_pickle=True)",
        "table.to_pickle(path)",
        "eval(text)",
        "yaml.load(text)",
    ],
)
def test_the_search_finds_what_it_is_for(source: str) -> None:
    assert list(suspicions(source))


def test_the_search_leaves_honest_code_alone() -> None:
    assert not list(suspicions("from safetensors.torch import load\nnetwork.eval()\njson.load(file)\nload(content)"))


def test_no_module_loads_or_writes_a_pickle() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): reasons for path in CODE if (reasons := list(suspicions(path.read_text())))
    }
    assert set(found) == set(EXCEPTIONS), found


def test_no_file_of_the_repository_is_a_pickle() -> None:
    files = [
        path
        for name in ("data", "flows", "models", "pipeline", "tests")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert [path for path in files if path.suffix in OBJECTS_IN_FILES] == []
    assert [path for path in files if may_be_pickle(path.read_bytes())] == []


def may_be_pickle(content: bytes) -> bool:
    """Whether a file begins as a pickle does, unless it is whole as a safetensors file.

    These begin with the length of their header, and with one of 640 bytes as a pickle does.
    """
    begins_so = content[:1] == b"\x80" and content[1:2] <= b"\x05"
    return begins_so and not is_safetensors(content)


def is_safetensors(content: bytes) -> bool:
    """Whether all of a file is a safetensors header and the tensors that it names."""
    try:
        deserialize(content)
    except SafetensorError:
        return False
    return True


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [{}, {"weights": [1.5, 2]}, np.arange(300), Path("x")], ids=type)
def test_a_pickle_is_known_by_its_beginning(value: object, protocol: int) -> None:
    content = pickle.dumps(value, protocol)
    assert may_be_pickle(content)
    assert may_be_pickle(content[: len(content) // 2])


def test_a_safetensors_file_that_begins_as_a_pickle_is_none_if_it_is_whole() -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(640)
    whole = len(header).to_bytes(8, "little") + header + bytes(4)
    assert whole[:2] == b"\x80\x02"
    assert not may_be_pickle(whole)
    assert may_be_pickle(whole[:-1])
    assert may_be_pickle(whole + pickle.dumps([]))


class Bomb:
    """Leaves a folder behind where its pickle is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[tuple[bytes, Path]]:
    """A pickle, and the folder that is there once it has been loaded."""
    harmed = tmp_path / "harmed"
    content = pickle.dumps(Bomb(harmed))
    yield content, harmed
    assert not harmed.exists()
    pickle.loads(content)  # noqa: S301 (the trap would have worked)
    assert harmed.exists()


def test_pickles_in_the_place_of_light_curves_are_never_loaded(trap: tuple[bytes, Path], tmp_path: Path) -> None:
    content, _ = trap
    night = tmp_path / "night"
    night.mkdir()
    (night / "good.dat").write_text(Written("1").text())
    for name in ("a.dat", "b.csv", "c.parquet", "d.fits", "e.ecsv", "f.pkl", "g.arrow", "h.xml"):
        (night / name).write_bytes(content)
    objects = np.empty(1, dtype=object)
    objects[0] = Bomb(tmp_path / "harmed")
    np.save(night / "i.npy", objects, allow_pickle=True)
    pq.write_table(extension_table(content), night / "j.parquet")
    with pa.OSFile(str(night / "k.arrow"), "wb") as file, pa.ipc.new_file(file, extension_table(content).schema) as out:
        out.write_table(extension_table(content))
    with tarfile.open(tmp_path / "night.tar.gz", "w:gz") as archive:
        archive.add(night, "night")
    for number, source in enumerate((night, tmp_path / "night.tar.gz")):
        store = Store.create(tmp_path / f"store-{number}")
        summary = ingest([source], store, IngestSettings(max_bad_fraction=1, workers=1))
        assert (summary.n_ingested, store.snids()) == (1, ["1"])
        assert summary.n_quarantined > 0


def extension_table(content: bytes) -> pa.Table:
    """A table with a column type that Arrow once unpickled (CVE-2023-47248)."""
    kind = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": content}
    return pa.Table.from_arrays([pa.array([1])], schema=pa.schema([pa.field("SNID", pa.int64(), metadata=kind)]))


@pytest.mark.parametrize("file", ["weights", "reference", "novelty", "answers"])
def test_a_pickle_in_the_place_of_weights_is_never_loaded(trap: tuple[bytes, Path], tmp_path: Path, file: str) -> None:
    model = tmp_path / "model"
    small_classifier().checkpoint.save(model)
    (model / f"{file}.safetensors").write_bytes(trap[0])
    with pytest.raises(CheckpointError, match="is damaged: its checksum is not the one"):
        Checkpoint.load(model)
    described = json.loads((model / "model.json").read_text())
    where = (described, "weights_sha256") if file == "weights" else (described[file], "sha256")
    where[0][where[1]] = hashlib.sha256(trap[0]).hexdigest()
    (model / "model.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="does not describe a classifier"):
        Checkpoint.load(model)


EVERYTHING = """
import sys
from pathlib import Path

unpickled = []
is_pickle = lambda event, arguments: event == "pickle.find_class" and unpickled.append(arguments[:2])
from tests.test_no_pickle import read_and_write_everything
sys.addaudithook(is_pickle)
read_and_write_everything(Path(sys.argv[1]))
assert not unpickled, unpickled
import collections, pickle
pickle.loads(pickle.dumps(collections.Counter("a")))
assert unpickled == [("collections", "Counter")], unpickled
"""


def read_and_write_everything(folder: Path) -> None:
    """Ingest files of every format, train a classifier, read it, classify, write predictions and read them."""
    from pipeline.classify.catalogue import classify_catalogue
    from pipeline.classify.outputs import read_predictions
    from pipeline.classify.settings import ClassifySettings
    from pipeline.ingest.simulate import SimulationSettings, simulate_survey
    from pipeline.train.experiment import Experiment
    from pipeline.train.training_run import train_from_store
    from tests.pipeline.ingest import table_files

    simulate_survey(folder / "night", SimulationSettings(n_objects=60))
    curves = [table_files.Curve(f"t{n}", ((56000.0 + n, "r", 10.0, 1.0), (56003.0, "g", 9.0, 1.0))) for n in range(5)]
    writers = ("csv", "ecsv", "votable", "parquet", "arrow", "fits")
    for name in writers:
        (folder / name).mkdir()
        getattr(table_files, f"write_{name}")(folder / name, curves)
    store = Store.create(folder / "store")
    settings = IngestSettings(workers=1, duplicates="newest")
    ingest([folder / name for name in ("night", *writers)], store, settings)
    network = {"hidden_sizes": [4], "embedding_size": 0, "head_size": 0}
    chosen = {"name": "small", "model": network, "fit": {"epochs": 1}}
    for _ in range(2):
        train_from_store(store.path, Experiment.model_validate(chosen), folder / "run")
    outputs = [folder / f"predictions.{ending}" for ending in ("parquet", "csv", "ecsv", "fits", "vot")]
    classify_catalogue(store.path, folder / "run" / "model", outputs, ClassifySettings())
    assert {len(read_predictions(path).table) for path in outputs} == {len(store.snids())}
    assert isinstance(pd.read_parquet(outputs[0]), pd.DataFrame)


def test_reading_and_writing_everything_unpickles_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", EVERYTHING, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_security_md_names_every_place_where_processes_of_our_own_exchange_pickles() -> None:
    sharing = {
        path.relative_to(ROOT).as_posix()
        for path in CODE
        if path.parts[len(ROOT.parts)] != "tests"
        and any(
            isinstance(node, ast.ImportFrom)
            and node.module == "pipeline.processes"
            and {alias.name for alias in node.names} & {"ProcessPoolExecutor", "process_context"}
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    told = (ROOT / "SECURITY.md").read_text()
    assert len(sharing) == 3
    assert [path for path in sharing if f"`{path}`" not in told] == []


def test_every_file_that_security_md_names_is_there() -> None:
    told = (ROOT / "SECURITY.md").read_text()
    named = [word for word in told.split("`") if word.startswith(("tests/", "pipeline/"))]
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []
