from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from pipeline.schema import LightCurves, Truth
from pipeline.train.calibration import Calibration
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.experiment import Experiment, load_experiment
from pipeline.train.fit import TrainingResult, choose_sample, train_classifier, training_data
from pipeline.train.member import MemberRun
from pipeline.train.registry import Registry
from pipeline.train.state import StateError
from pipeline.train.teacher import Teacher, TeacherError, load_teacher, settings_of_student
from tests.builders import make_batch, make_survey
from tests.killing import kill_in_training

Survey = tuple[LightCurves, Truth]
GLOBAL = {"resampler": {"kind": "random_fill"}, "normaliser": {"kind": "global"}, "augment": {"hide_redshift": 0.4}}


def experiment(teacher: Path | str = "", fit: dict[str, object] | None = None, **sections: object) -> Experiment:
    model = {"hidden_sizes": [4], "embedding_size": 0, "head_size": 0}
    chosen = {"epochs": 3, "batch_size": 16, "averaging": 0.9, "teacher": str(teacher), **(fit or {})}
    return Experiment.model_validate({"name": "student", "model": model, "fit": chosen, **sections})


@pytest.fixture(scope="module")
def survey() -> Survey:
    return make_survey(90)


@pytest.fixture(scope="module")
def run(survey: Survey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a teacher of two networks, with who was in which part."""
    folder = tmp_path_factory.mktemp("teacher")
    result = train_classifier(*survey, experiment(fit={"learning_rate": 0.02}, **GLOBAL), folder)
    shifted = {name: value + 0.05 for name, value in weights(result).items()}
    replace(result.checkpoint, weights=[weights(result), shifted]).save(folder / "model")
    result.sample.split.to_table().to_parquet(folder / "split.parquet")
    return folder


def weights(result: TrainingResult) -> dict[str, torch.Tensor]:
    return result.checkpoint.weights[0]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_student_learns_its_teachers_probabilities_of_the_very_same_batch(run: Path, survey: Survey) -> None:
    chosen = settings_of_student(experiment(run, {"teacher_weight": 0.25}))
    teacher = load_teacher(chosen)
    assert teacher is not None
    student = MemberRun(training_data(choose_sample(*survey, chosen), chosen, teacher), chosen, 0)
    student.model.eval()
    batch = make_batch(n_features=len(teacher.checkpoint.normaliser.feature_names), n_context=4)
    labels = torch.tensor([0, 1, 1, 0])
    logits = student.model(batch)
    temperature = teacher.checkpoint.calibration.temperature
    scaled = [network(batch) / temperature for network in teacher.checkpoint.networks()]
    soft = sum(values.softmax(dim=1) for values in scaled) / 2
    expected = 0.75 * F.cross_entropy(logits, labels) - 0.25 * (soft * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(student.loss(batch, labels, labels), expected)


def test_a_teacher_of_the_same_kinds_teaches_kinds(survey: Survey, tmp_path: Path) -> None:
    light_curves, truth = survey
    finer = truth.table["SUBCLASS"].where(truth.table.index % 2 == 0, truth.table["SUBCLASS"].replace("IIP", "IIn"))
    known = Truth(truth.table.assign(SUBCLASS=finer))
    train_classifier(light_curves, known, experiment(fit={"learns": "subtypes", "epochs": 1}), tmp_path)
    chosen = settings_of_student(experiment(tmp_path / "model", {"teacher_weight": 1.0}))
    assert chosen.fit.learns == "subtypes", "taken over"
    teacher = load_teacher(chosen)
    assert teacher is not None
    data = training_data(choose_sample(light_curves, known, chosen), chosen, teacher)
    student = MemberRun(data, chosen, 0)
    student.model.eval()
    inputs = teacher.checkpoint.normaliser.inputs
    batch = make_batch(n_features=inputs.n_features, n_context=inputs.n_context)
    taught = teacher.answering(torch.device("cpu"), data.kinds)(batch)
    of_classes = teacher.answering(torch.device("cpu"))(batch)
    places = [[place for place, (label, _) in enumerate(data.kinds) if label == of] for of in (0, 1)]
    torch.testing.assert_close(torch.stack([taught[:, of].sum(1) for of in places], 1), of_classes)
    reduced = teacher.answering(torch.device("cpu"), data.kinds, uses_bfloat16=True)(batch)
    torch.testing.assert_close(reduced, taught, atol=0.03, rtol=0)
    assert reduced.dtype == torch.float32
    assert not torch.equal(reduced, taught), "or it was not asked in bfloat16"
    of_network = teacher.checkpoint.networks()[0].network(batch).softmax(1)[:, places[1]]
    torch.testing.assert_close(taught[:, places[1]] * of_network.sum(1, True), of_network * of_classes[:, 1:])
    labels, logits = torch.tensor([0, 1, 1, 0]), student.model.network(batch)
    expected = -(taught * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(student.loss(batch, labels, torch.full_like(labels, -1)), expected)
    coarse = settings_of_student(experiment(tmp_path / "model", {"learns": "classes", "epochs": 1}))
    card = train_classifier(light_curves, known, coarse, tmp_path / "coarse").checkpoint.card
    assert (card["teacher"]["teaches"], teacher.teaches(data.kinds)) == ("classes", "kinds")


def test_a_student_takes_over_preparation_and_split_and_its_card_names_the_teacher(
    run: Path, survey: Survey, tmp_path: Path
) -> None:
    student, teacher = train_classifier(*survey, experiment(run), tmp_path).checkpoint, Checkpoint.load(run / "model")
    for name in ("bands", "classes", "resampler", "normaliser", "selection", "split", "augment"):
        assert getattr(student.experiment, name) == getattr(teacher.experiment, name)
    assert student.normaliser.state() == teacher.normaliser.state()
    assert (len(student.weights), len(teacher.weights)) == (1, 2)
    card = Checkpoint.load(tmp_path / "model").card["teacher"]
    assert f"{card['name']}@{card['version']}" == teacher.name == student.experiment.fit.teacher
    assert card["weights_sha256"] == json.loads((run / "model" / "model.json").read_text())["weights_sha256"]
    assert card["split_hash"] == student.card["split_hash"]
    assert str(run) not in "".join(path.read_text() for path in (tmp_path / "model").glob("*[!s]") if path.is_file())


def test_a_student_equals_no_untaught_network_and_the_same_command_gives_the_same_student(
    run: Path, survey: Survey, tmp_path: Path
) -> None:
    first = train_classifier(*survey, experiment(run), tmp_path / "a")
    moved = shutil.copytree(run / "model", tmp_path / "elsewhere")
    again = train_classifier(*survey, experiment(moved), tmp_path / "b")
    untaught = train_classifier(*survey, experiment(**GLOBAL), tmp_path / "c")
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(untaught))


def test_an_ensemble_of_students_starts_with_the_single_one(run: Path, survey: Survey, tmp_path: Path) -> None:
    single = train_classifier(*survey, experiment(run, {"epochs": 1}), tmp_path / "a")
    both = train_classifier(*survey, experiment(run, {"epochs": 1, "members": 2}), tmp_path / "b")
    assert same(weights(single), weights(both))


KILLED = """
import sys
from pathlib import Path
from pipeline.train.experiment import Experiment
from pipeline.train.fit import train_classifier
from tests.builders import make_survey
experiment = Experiment.model_validate_json(sys.argv[2])
train_classifier(*make_survey(90), experiment, Path(sys.argv[1]), lambda row: print(row["EPOCH"], flush=True))
"""


def test_a_student_killed_with_signal_9_goes_on_bit_for_bit(run: Path, survey: Survey, tmp_path: Path) -> None:
    chosen = settings_of_student(experiment(run, {"epochs": 30, "patience": 30}))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), chosen.model_dump_json()]
    kill_in_training(command)
    resumed = train_classifier(*survey, chosen, tmp_path / "killed")
    whole = train_classifier(*survey, chosen, tmp_path / "whole")
    assert same(weights(resumed), weights(whole))
    assert resumed.checkpoint.calibration == whole.checkpoint.calibration
    assert resumed.checkpoint.card["teacher"] == whole.checkpoint.card["teacher"]


@pytest.mark.parametrize("change", [{"teacher_weight": 0.5}, {"teacher": ""}], ids=["weight", "no teacher"])
def test_a_training_with_another_teaching_is_not_resumed(
    change: dict[str, object], run: Path, survey: Survey, tmp_path: Path
) -> None:
    train_classifier(*survey, experiment(run, {"epochs": 1}), tmp_path)
    with pytest.raises(StateError, match="other settings or data"):
        train_classifier(*survey, experiment(run, {"epochs": 1, **change}, **GLOBAL), tmp_path)


def test_a_teacher_that_is_calibrated_otherwise_or_answers_by_dropout_is_another_teacher(run: Path) -> None:
    checkpoint = replace(Checkpoint.load(run / "model"), calibration=Calibration(2.0))
    vectors = [Calibration(2.0, scale, (0.1, -0.1)) for scale in ((0.5, 0.5), (0.5, 0.6))]
    calibrated = [replace(checkpoint, calibration=calibration) for calibration in (Calibration(3.0), *vectors)]
    assert len({Teacher(one, None).hash for one in (checkpoint, *calibrated)}) == 4
    fits = [checkpoint.experiment.fit.model_copy(update={"dropout_samples": samples}) for samples in (0, 2, 3)]
    experiments = [checkpoint.experiment.model_copy(update={"fit": fit}) for fit in fits]
    assert len({Teacher(replace(checkpoint, experiment=one), None).hash for one in experiments}) == 3


def test_a_training_that_an_earlier_teacher_began_is_not_resumed(run: Path, survey: Survey, tmp_path: Path) -> None:
    warmer = replace(Checkpoint.load(run / "model"), calibration=Calibration(3.0))
    warmer.save(tmp_path / "warmer")
    train_classifier(*survey, experiment(run, {"epochs": 1}), tmp_path)
    with pytest.raises(StateError, match="other settings or data"):
        train_classifier(*survey, experiment(tmp_path / "warmer", {"epochs": 1}), tmp_path)


def test_a_teacher_that_reads_something_else_is_refused_in_one_list(run: Path, survey: Survey, tmp_path: Path) -> None:
    other = experiment(run, bands=["r", "i"], classes="types", normaliser={"kind": "per_object"})
    with pytest.raises(
        TeacherError, match=r"bands is .*classes is \"ia\", the experiment says \"types\".*normaliser is"
    ):
        train_classifier(*survey, other, tmp_path)


def test_a_teacher_that_has_learnt_from_test_objects_is_refused(run: Path, survey: Survey, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"from \d+ of the 45 test objects of its student and from \d of the 4"):
        train_classifier(*survey, experiment(run, split={"seed": 2}), tmp_path)


def test_a_teacher_of_unknown_objects_teaches_only_on_its_own_split(run: Path, survey: Survey, tmp_path: Path) -> None:
    alone = shutil.copytree(run / "model", tmp_path / "alone")
    train_classifier(*survey, experiment(alone, {"epochs": 1}), tmp_path / "same")
    with pytest.raises(TeacherError, match="nothing says which objects"):
        train_classifier(*survey, experiment(alone, split={"seed": 2}), tmp_path / "other")
    pd.DataFrame({"SNID": ["1"], "PART": ["train"]}).to_parquet(tmp_path / "split.parquet")
    with pytest.raises(TeacherError, match="nothing says which objects"):
        train_classifier(*survey, experiment(alone, split={"seed": 2}), tmp_path / "other")


def test_a_student_may_learn_from_other_objects_than_its_teacher(run: Path, survey: Survey, tmp_path: Path) -> None:
    light_curves, truth = make_survey(90, seed=5)
    objects = light_curves.objects.assign(SNID="9" + light_curves.objects["SNID"])
    renamed = LightCurves(objects, light_curves.epochs, light_curves.offsets)
    result = train_classifier(
        renamed, Truth(truth.table.assign(SNID="9" + truth.table["SNID"])), experiment(run, {"epochs": 1}), tmp_path
    )
    assert result.checkpoint.card["split_hash"] != result.checkpoint.card["teacher"]["split_hash"]
    result.sample.split.to_table().to_parquet(tmp_path / "split.parquet")
    with pytest.raises(TeacherError, match="nothing says which objects"):
        train_classifier(*survey, experiment(tmp_path, {"epochs": 1}, split={"seed": 2}), tmp_path / "next")


def test_a_promoted_teacher_is_found_by_name_and_still_guards_its_objects(
    run: Path, survey: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNFLOW_MODELS", str(tmp_path / "models"))
    with pytest.raises(TeacherError, match=r"fit\.teacher: no model named 'good'.*--set fit\.teacher="):
        settings_of_student(experiment("good"))
    Registry().promote("good", run)
    card = train_classifier(*survey, experiment("good", {"epochs": 1}), tmp_path / "run").checkpoint.card
    assert card["teacher"]["name"] == "good"
    with pytest.raises(TeacherError, match="test objects"):
        train_classifier(*survey, experiment("good", split={"seed": 2}), tmp_path / "other")


def test_teaching_does_not_move_the_random_numbers_of_a_training(run: Path, survey: Survey) -> None:
    chosen = settings_of_student(experiment(run))
    teacher = load_teacher(chosen)
    sample = choose_sample(*survey, chosen)
    drawn = []
    for one in (None, teacher):
        member = MemberRun(training_data(sample, chosen, one), chosen, 0)
        with member.randomness(0) as (rng, generator):
            member.optimise(rng, generator)
            drawn.append((rng.random(), torch.rand(1, generator=generator).item(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


def test_the_shipped_experiment_of_a_student_differs_from_its_teachers_in_the_network_alone() -> None:
    folder = Path(__file__).parents[3] / "flows" / "experiments"
    teacher, student = load_experiment("spcc", folder), load_experiment("spcc-small", folder)
    apart = {"name", "description", "model", "fit"}
    assert student.model_dump(exclude=apart) == teacher.model_dump(exclude=apart)
    assert (student.fit.teacher, student.fit.members) == ("spcc", 1)
