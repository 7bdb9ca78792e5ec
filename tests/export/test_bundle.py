"""A bundle is whole and unchanged, or it is refused; and what it says is what is in it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
import torch

import attar
from attar.checks import AttarError
from attar.export import ModelFile, archive, read_bundle, runtime, to_onnx, write_bundle
from attar.export.about import code_fingerprint
from attar.export.bundle import bundle_schema, digest


@pytest.fixture
def folder(zipped, tmp_path):
    """The bundle as a folder, to be broken."""
    with zipfile.ZipFile(zipped) as file:
        file.extractall(tmp_path / "bundle")
    return tmp_path / "bundle"


def rewritten(folder, change, *, honest=True):
    """Change bundle.json; ``honest`` gives it the digest that belongs to it."""
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    if honest:
        manifest["digest"] = digest(manifest)
    path.write_text(json.dumps(manifest))
    return folder


def linear(path, *, classes=("no", "yes"), scale=1.0, features=2):
    model = torch.nn.Linear(features, len(classes), bias=False)
    with torch.no_grad():
        model.weight.copy_(scale * torch.eye(len(classes), features))
    to_onnx(model, path, example=torch.eye(features), classes=classes)
    return path


# What is in it


def test_folder_and_zip_answer_as_the_exported_student_does(experiment, zipped, rows, tmp_path):
    experiment.export(tmp_path / "student.onnx")
    alone = runtime.load(tmp_path / "student.onnx")
    folder = experiment.bundle(tmp_path / "x")
    for path in (zipped, folder, str(folder)):
        student = runtime.load(path, threads=1)
        np.testing.assert_array_equal(student.logits(rows), alone.logits(rows))
        assert student.classes == ("barolo", "grignolino", "barbera")
        assert student.bundle["verdict"]["verdict"] == experiment.verdict
    assert alone.bundle is None
    # The same bundle, wherever it lies.
    assert runtime.load(folder).bundle["digest"] == runtime.load(zipped).bundle["digest"]


def test_it_says_what_it_takes_and_what_it_was_made_from(experiment, zipped):
    bundle = read_bundle(zipped)
    told = bundle.manifest
    assert told["format"] == 1
    assert told["name"] == experiment.student_name
    assert told["input"] == {
        "name": "inputs",
        "dtype": "float32",
        "shape": [None, 13],
        "columns": None,
        "preprocessing": {"outside": [], "inside": ["standardize"]},
    }
    (model,) = told["models"]
    assert model["role"] == "student"
    assert model["outputs"][1] == {"name": "probabilities", "dtype": "float32", "shape": [None, 3]}
    assert model["parity"]["rows_checked"] == len(experiment.example)
    assert model["temperature"] == 1
    assert told["student"]["family"] == "mlp"
    assert told["student"]["seed"] == experiment.student_seed
    prints = experiment.facts["fingerprints"]
    assert told["teacher"]["fingerprint"] == prints["teacher"]["fingerprint"]
    assert told["data"]["fingerprints"] == {
        name: prints[name] for name in ("train", "validation", "test")
    }
    assert told["code"]["fingerprint"] == prints["code"] == code_fingerprint()
    assert told["code"]["attar"] == attar.__version__


def test_it_tells_the_scores_of_every_arm(experiment, zipped):
    scores = read_bundle(zipped).manifest["scores"]
    assert list(scores["arms"]) == list(experiment.arms)
    for name, arm in experiment.arms.items():
        told = scores["arms"][name]
        assert told["seeds"] == 2
        for score in ("accuracy", "nll", "ece", "agreement"):
            assert told["mean"][score] == pytest.approx(arm.mean(score))
            assert told["standard_deviation"][score] == pytest.approx(arm.spread(score))
        for score in ("nll", "ece"):
            assert told["calibrated"][score] == pytest.approx(arm.calibrated(score))
    kept = experiment.arms["distilled"].scores[experiment.chosen]
    assert scores["student"]["accuracy"] == kept.accuracy
    assert scores["teacher"]["nll"] == experiment.teacher.nll


def test_every_file_is_listed_with_its_hash_and_size(folder):
    manifest = json.loads((folder / "bundle.json").read_text())
    listed = {entry["path"]: entry for entry in manifest["files"]}
    assert set(listed) | {"bundle.json"} == {path.name for path in folder.iterdir()}
    for path, entry in listed.items():
        data = (folder / path).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["bytes"] == len(data)
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))  # as the schema describes it
    assert manifest["digest"] == hashlib.sha256(text.encode()).hexdigest()


def test_real_bundles_fit_the_published_schema(zipped, folder, tmp_path):
    other = write_bundle(
        tmp_path / "two.zip",
        {
            "student": ModelFile(linear(tmp_path / "s.onnx"), about={"accuracy": 0.9}),
            "teacher": ModelFile(linear(tmp_path / "t.onnx", scale=9.0).read_bytes()),
        },
        cascade={"student": "student", "teacher": "teacher", "threshold": 0.8, "goal": "half"},
    )
    for path in (zipped, folder, other):
        manifest = read_bundle(path).manifest
        jsonschema.validate(manifest, bundle_schema(), cls=jsonschema.Draft202012Validator)


def test_several_models_are_chosen_by_their_role(tmp_path):
    path = write_bundle(
        tmp_path / "x.zip",
        {
            "student": ModelFile(linear(tmp_path / "s.onnx")),
            "student-int8": ModelFile(linear(tmp_path / "q.onnx", scale=2.0), precision="int8"),
            "teacher": ModelFile(linear(tmp_path / "t.onnx", scale=9.0)),
        },
    )
    bundle = read_bundle(path)
    assert bundle.roles == ("student", "student-int8", "teacher")
    assert [m["precision"] for m in bundle.manifest["models"]] == ["float32", "int8", "float32"]
    one = np.float32([[1, 0]])
    for role, scale in {None: 1, "student": 1, "student-int8": 2, "teacher": 9}.items():
        assert runtime.load(path, role=role).logits(one).tolist() == [[scale, 0]]
        assert bundle.load(role).logits(one).tolist() == [[scale, 0]]
    with pytest.raises(AttarError, match="no model 'tutor', only student, student-int8, teacher"):
        runtime.load(path, role="tutor")
    with pytest.raises(AttarError, match=r"role= chooses a model of a bundle.*s\.onnx"):
        runtime.load(tmp_path / "s.onnx", role="student")


def test_the_card_is_for_people_and_for_the_hub(experiment, zipped):
    card = read_bundle(zipped).files["README.md"].decode()
    for text in (
        f"**{experiment.verdict}.**",
        "student: hard labels",
        "barolo, grignolino, barbera",
        experiment.facts["fingerprints"]["test"],
        "## Limits",
        "runtime.load(",
    ):
        assert text in card
    from huggingface_hub import ModelCard

    data = ModelCard(card).data
    assert data.library_name == "onnx"
    assert "knowledge-distillation" in data.tags
    kept = experiment.arms["distilled"].scores[experiment.chosen]
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    assert found == {
        "accuracy": kept.accuracy, "nll": kept.nll, "brier_score": kept.brier, "ece": kept.ece,
    }  # fmt: skip


def test_names_with_meaning_to_markdown_and_yaml_do_no_harm(tmp_path):
    classes = ["a: *b*", "<script>", "-", "[x](y)", "new\nline"]
    path = linear(tmp_path / "s.onnx", classes=classes, features=5)
    bundle = write_bundle(tmp_path / "x.zip", {"student": ModelFile(path)}, name='a: "b" \n---')
    card = read_bundle(bundle).files["README.md"].decode()
    assert "\\<script\\>" in card
    assert "new line" in card
    assert runtime.load(bundle).classes == tuple(classes)


def test_a_bundle_of_a_foreign_model_says_only_what_is_known(tmp_path):
    bundle = write_bundle(tmp_path / "x", {"student": ModelFile(linear(tmp_path / "s.onnx"))})
    told = read_bundle(bundle).manifest
    assert told["scores"] is told["verdict"] is told["teacher"] is told["data"] is None
    assert told["student"]["family"] is None
    assert told["input"]["preprocessing"]["inside"] is None
    assert "nothing is known of its scores" in (bundle / "README.md").read_text()


# What is refused


@pytest.mark.parametrize("name", ["model.onnx", "README.md", "student.safetensors"])
def test_a_file_that_was_changed_cut_or_removed_is_refused(folder, name):
    path = folder / name
    whole = path.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(AttarError, match=f"{name} is not the file that the bundle was written"):
            runtime.load(folder)
    for other in (whole[:-1], whole + b"\n", b""):
        path.write_bytes(other)
        with pytest.raises(AttarError, match=f"{name} is not the file"):
            runtime.load(folder)
    path.unlink()
    with pytest.raises(AttarError, match=f"the file {name} of the bundle is missing"):
        runtime.load(folder)
    path.write_bytes(whole)
    runtime.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["scores"]["student"].update(accuracy=0.999),
        lambda m: m["classes"].reverse(),
        lambda m: m["verdict"].update(verdict="BEATS", sentence="It is the best."),
        lambda m: m.update(note="by me"),
        lambda m: m["input"].update(dtype="float64"),
        lambda m: m.update(digest="0" * 64),
    ],
    ids=range(6),
)
def test_a_manifest_that_was_changed_by_hand_is_refused(folder, change):
    rewritten(folder, change, honest=False)
    with pytest.raises(AttarError, match=r"bundle\.json was changed after the bundle was written"):
        runtime.load(folder)


def test_other_spaces_and_another_order_are_no_change(folder):
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(manifest.items())), indent=7))
    runtime.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("models"), "the whole must have 'models'"),
        (lambda m: m["models"].clear(), r"models must have 1 items or more. Got \[\]"),
        (lambda m: m["models"][0].update(path="../model.onnx"), r"models\[0\].path must match"),
        (lambda m: m["files"][0].update(path="/etc/passwd"), r"files\[0\].path must match"),
        (lambda m: m["files"][0].update(bytes=-1), "must be at least 0"),
        (lambda m: m["files"][0].update(bytes=2**50), "must have 8 GiB or less together"),
        (lambda m: m["files"].append(m["files"][0]), "must name each file once, and not itself"),
        (lambda m: m["files"][0].update(path="bundle.json"), "each file once, and not itself"),
        (lambda m: m["files"][0].update(path="README.MD"), "the file README.MD of the bundle is"),
        (lambda m: m["models"].append(m["models"][0]), "each have a role of their own"),
        (lambda m: m["models"][0].update(sha256="0" * 64), "'student' is not the file that files"),
        (lambda m: m["models"][0].update(path="x.onnx"), "'student' is not the file that files"),
        (lambda m: m["student"].update(weights="w.bin"), "weights names w.bin, which files does"),
        (
            lambda m: m.update(cascade={"student": "student", "teacher": "t", "threshold": 0.5}),
            "cascade.teacher names the role 't', which no model has",
        ),
        (lambda m: m["classes"].reverse(), r"describes another model than model\.onnx is"),
        (
            lambda m: m["models"][0]["inputs"][0].update(shape=[None, 14]),
            r"describes another model than model\.onnx is",
        ),
        (lambda m: m.update(format="1"), "format must be 1. Got '1'"),
        (lambda m: m.update(format=0), "format must be 1. Got 0"),
    ],
    ids=range(18),
)
def test_a_manifest_that_contradicts_itself_is_refused_also_with_the_right_digest(
    folder, change, message
):
    with pytest.raises(AttarError, match=f"^{folder}.*{message}"):
        runtime.load(rewritten(folder, change))


def test_a_newer_format_says_so_before_anything_else(folder):
    def newer(manifest):
        manifest.clear()
        manifest.update(format=2, code={"attar": "3.1.0"}, tensors="something else")

    with pytest.raises(
        AttarError, match=r"has format 2, written by Attar 3\.1\.0.*pip install -U attar"
    ):
        runtime.load(rewritten(folder, newer))
    with pytest.raises(AttarError, match="has format 7, written by Attar None"):
        runtime.load(rewritten(folder, lambda m: m.update(format=7, code="?")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "Expecting value"),
        (b'{"format": 1', "cut short"),
        (b"[1]", "it holds list, no object"),
        (b'{"format": 1, "format": 2}', "a name is given twice"),
        (b'{"format": NaN}', "NaN is no number that a float holds"),
        (b'{"format": 1e999}', "1e999 is no number that a float holds"),
        (b'{"format": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
        (b"[" * 100_000, "recursion"),
        ("{}".encode("utf-16"), "'utf-8' codec can't decode"),
        (b" " * (16 * 2**20 + 1), "larger than 16 MiB"),
    ],
    ids=range(10),
)
def test_a_manifest_that_is_no_plain_json_is_refused(folder, text, message):
    (folder / "bundle.json").write_bytes(text)
    with pytest.raises(AttarError, match=rf"bundle\.json cannot be read: .*{message}"):
        runtime.load(folder)


def test_a_zip_with_something_more_in_it_is_refused_and_a_folder_is_not(folder, zipped, tmp_path):
    (folder / ".git").mkdir()
    (folder / "notes.txt").write_text("mine")
    runtime.load(folder)
    more = shutil.copy(zipped, tmp_path / "more.zip")
    with zipfile.ZipFile(more, "a") as file:
        file.writestr("notes.txt", "mine")
    with pytest.raises(AttarError, match=r"the zip holds notes\.txt, which is no part"):
        runtime.load(more)


def test_a_bundle_that_was_unpacked_and_packed_by_other_tools_is_the_same(folder, tmp_path, rows):
    packed = shutil.make_archive(str(tmp_path / "again"), "zip", folder)
    np.testing.assert_array_equal(
        runtime.load(packed).logits(rows), runtime.load(folder).logits(rows)
    )
    deeper = shutil.make_archive(str(tmp_path / "deeper"), "zip", tmp_path, "bundle")
    with pytest.raises(AttarError, match=r"no bundle: it has no bundle\.json at its top"):
        runtime.load(deeper)


def test_what_is_no_bundle_at_all(tmp_path, zipped):
    with pytest.raises(AttarError, match=r"is no bundle: it has no bundle\.json.*attar bundle"):
        runtime.load(tmp_path)
    with pytest.raises(AttarError, match="cannot be read as a zip: No such file"):
        runtime.load(tmp_path / "none.zip")
    with pytest.raises(AttarError, match="no folder cannot be read: No such file"):
        runtime.load(tmp_path / "no folder")
    torch.save({"a": torch.ones(2)}, tmp_path / "pickle.zip")
    with pytest.raises(AttarError, match=r"pickle\.zip: this zip is refused"):
        runtime.load(tmp_path / "pickle.zip")


def test_a_swelling_bundle_is_refused(folder, tmp_path, monkeypatch):
    """Hashes and sizes are all right: what is wrong is that 30 MB come out of 30 kB."""
    zeros = bytes(30 * 2**20)
    (folder / "README.md").write_bytes(zeros)

    def change(manifest):
        entry = next(e for e in manifest["files"] if e["path"] == "README.md")
        entry.update(bytes=len(zeros), sha256=hashlib.sha256(zeros).hexdigest())

    rewritten(folder, change)
    packed = shutil.make_archive(str(tmp_path / "bomb"), "zip", folder)
    assert Path(packed).stat().st_size < 100_000
    with pytest.raises(AttarError, match="unpacks to more than 100 times its own size"):
        runtime.load(packed)


def test_external_data_inside_a_bundle_is_refused_before_onnxruntime_sees_it(folder, monkeypatch):
    model = onnx.load(folder / "model.onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"
    data = model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)

    def change(manifest):
        for part in (*manifest["files"], *manifest["models"]):
            if part["path"] == "model.onnx":
                part.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    rewritten(folder, change)
    monkeypatch.setattr("onnxruntime.InferenceSession", None)
    with pytest.raises(AttarError, match="keeps weights in another file"):
        runtime.load(folder)


# What is not written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": {}}, "at least one model. Got none"),
        ({"models": {"a b": None}}, r"models\[0\].role must match"),
        ({"models": {"student": ModelFile("none.onnx")}}, "none.onnx cannot be read: No such"),
        (
            {"models": {"student": ModelFile(b"rubbish")}},
            "the model 'student': this is not an ONNX",
        ),
        ({"models": {"student": None, "other": None}}, "must have the same classes. 'other' has a"),
        ({"precision": "int4"}, r"models\[0\].precision must be one of float32"),
        ({"cascade": {"student": "student"}}, "cascade must have 'teacher'"),
        ({"cascade": {"student": "student", "teacher": "t", "threshold": 1}}, "the role 't'"),
        ({"about": {"x": float("nan")}}, "must fit into JSON"),
    ],
    ids=range(9),
)
def test_a_bundle_that_would_not_be_read_is_not_written(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    ours = linear(tmp_path / "s.onnx").read_bytes()
    theirs = linear(tmp_path / "t.onnx", classes=("a", "b")).read_bytes()
    more = {name: arguments[name] for name in ("precision", "about") if name in arguments}
    models = arguments.get("models", {"student": ModelFile(ours, **more)})
    given = {
        role: model or ModelFile(theirs if role == "other" else ours)
        for role, model in models.items()
    }
    before = sorted(tmp_path.iterdir())
    for path in ("x.zip", "x"):
        with pytest.raises(AttarError, match=message):
            write_bundle(path, given, cascade=arguments.get("cascade"))
    assert sorted(tmp_path.iterdir()) == before


def test_a_zip_is_replaced_and_a_folder_is_not(experiment, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"old")
    runtime.load(experiment.bundle(tmp_path / "x.zip"))
    experiment.bundle(tmp_path / "x", weights=False)
    assert not (tmp_path / "x" / "student.safetensors").exists()
    with pytest.raises(AttarError, match="exists already and is not overwritten"):
        experiment.bundle(tmp_path / "x")
    assert archive.is_plain("README.md")


def test_reading_a_bundle_loads_nothing_that_trains(zipped):
    script = (
        "import sys; from attar.export import runtime; "
        f"print(runtime.load({str(zipped)!r}).classes); "
        "print(*({'torch', 'onnx', 'sklearn', 'safetensors', 'jsonschema'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "('barolo', 'grignolino', 'barbera')\n\n"
