"""The command as a whole: what it loads, what becomes of errors and of Ctrl-C."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import pytest
from command_line import attar

import attar as package
from attar.checks import AttarError
from attar.cli import app

HEAVY = ("torch", "sklearn", "onnxruntime", "datasets", "accelerate", "pandas", "pyarrow")
COMMANDS = (
    "demo",
    "distill",
    "label",
    "evaluate",
    "report",
    "compare",
    "export",
    "bundle",
    "predict",
)


def loaded_by(words):
    """Which heavy libraries a fresh process has loaded after a command line."""
    code = (
        "import sys, json; from attar.cli import main\n"
        f"main({list(words)!r})\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def test_help_names_every_command_and_loads_nothing_heavy():
    heavy, text = loaded_by(["--help"])
    assert heavy == []
    assert all(name in text for name in COMMANDS)


def test_the_help_of_a_command_loads_nothing_heavy_either():
    heavy, text = loaded_by(["distill", "--help"])
    assert heavy == []
    assert "--temperature" in text


def test_mistakes_in_words_are_found_before_torch_is_loaded(tmp_path):
    words = ["distill", "--train", str(tmp_path), "--student", "bush", "--out", str(tmp_path / "x")]
    heavy, _ = loaded_by(words)
    assert "torch" not in heavy


def test_no_words_at_all_show_the_help():
    code, out, err = attar()
    assert (code, err) == (0, "")
    assert "distill" in out


def test_version():
    assert attar("--version") == (0, f"attar {package.__version__}\n", "")


def test_the_console_script_gives_its_exit_code_to_the_shell(tmp_path):
    code = "import sys; from attar.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "predict", str(tmp_path / "no.onnx"), "no.csv"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"attar: the model {tmp_path / 'no.onnx'} does not exist.\n"


@pytest.mark.parametrize("words", [["nonsense"], ["predict"], ["predict", "a", "b", "c"], ["-x"]])
def test_a_mistake_in_the_words_is_one_line_that_leads_to_the_help(words):
    code, out, err = attar(*words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    known = "attar predict --help" if words[0] == "predict" else "attar --help"
    assert err.startswith("attar: ")
    assert err.endswith(f". See: {known}\n")


@pytest.fixture
def broken(monkeypatch):
    """Makes `attar predict` end with an exception."""

    def breaks(error):
        def raises(*_):
            raise error

        monkeypatch.setattr("attar.cli.files.onnx_of", raises)

    return breaks


def test_an_attar_error_is_its_message_on_one_line(broken):
    broken(AttarError("kl: two\n  lines."))
    assert attar("predict", "a", "b") == (2, "", "attar: kl: two lines.\n")


def test_an_error_of_the_disk_names_the_path(broken):
    broken(PermissionError(13, "Permission denied", "/some/place"))
    expected = (
        "attar: /some/place: Permission denied. See whether the path is there, may be read or "
        "written, and has room\n"
    )
    assert attar("predict", "a", "b") == (2, "", expected)


def test_any_other_error_says_that_it_was_not_expected_and_how_to_learn_more(broken):
    broken(ZeroDivisionError("by\nnothing"))
    expected = (
        "attar: unexpected ZeroDivisionError: by nothing "
        "(run again with --debug for the traceback)\n"
    )
    assert attar("predict", "a", "b") == (2, "", expected)


@pytest.mark.parametrize(
    "words", [["--debug", "predict", "a", "b"], ["predict", "a", "b", "--debug"]]
)
def test_debug_shows_the_traceback_wherever_it_stands(broken, words):
    broken(AttarError("kl: wrong."))
    code, out, err = attar(*words)
    assert (code, out) == (2, "")
    assert err.startswith("Traceback (most recent call last):")
    assert "in raises" in err
    assert err.endswith("AttarError: kl: wrong.\n")


def test_a_word_after_two_dashes_is_no_option():
    words, debug = app._without_debug(["predict", "--", "--debug"])
    assert (words, debug) == (["predict", "--", "--debug"], False)


def test_ctrl_c_ends_with_130_and_no_traceback(broken):
    broken(KeyboardInterrupt())
    assert attar("predict", "a", "b") == (130, "", "attar: stopped\n")


def test_warnings_for_users_are_one_line_and_those_for_developers_none(monkeypatch):
    def warns(*_):
        warnings.warn("all rows\nlook alike", UserWarning, stacklevel=2)
        warnings.warn("use g instead", DeprecationWarning, stacklevel=2)
        raise AttarError("enough.")

    monkeypatch.setattr("attar.cli.files.onnx_of", warns)
    code, _, err = attar("predict", "a", "b")
    assert code == 2
    assert err == "attar: note: all rows look alike\nattar: enough.\n"


def test_without_the_training_extra_a_command_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # what makes `import torch` fail
    (tmp_path / "t.csv").write_text("a,b\n1,x\n")
    words = ("--train", tmp_path / "t.csv", "--label", "b", "--out", tmp_path / "run")
    for command in (("distill", *words), ("demo", "--out", tmp_path / "demo")):
        code, _, err = attar(*command)
        assert code == 2
        assert len(err.splitlines()) == 1
        assert "needs torch" in err
        assert "pip install 'attar[train]'" in err
