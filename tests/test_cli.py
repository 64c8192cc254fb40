import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from checkpoints import write_tiny_model
from PIL import Image

import aid.cli
from aid.cli.parser import flags_of
from aid.predict import Predictor
from aid.types import Stopped
from aid.video import read_video

RECIPES = sorted((Path(__file__).parents[1] / "configs").rglob("*.yaml"))
RECIPES = [path for path in RECIPES if path.parent.name != "accelerate"]  # those are not ours


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "aid.cli", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_help_lists_the_commands_and_does_not_import_torch():
    code = (
        "import sys\n"
        "from aid.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'numpy', 'av', 'mujoco'}\n"
        "assert not heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in {name.split()[0] for name in aid.cli.COMMANDS}:
        assert f"    {command} " in done.stdout


@pytest.mark.parametrize("group", ["data", "tabletop"])
def test_the_help_of_a_group_lists_its_commands(group, capsys):
    with pytest.raises(SystemExit) as end:
        aid.cli.main([group, "--help"])
    assert end.value.code == 0
    listed = capsys.readouterr().out
    for name in aid.cli.COMMANDS:
        if name.startswith(f"{group} "):
            assert f"    {name.split()[1]} " in listed
    with pytest.raises(SystemExit) as end:
        aid.cli.main([group, "nothing"])
    assert end.value.code == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize("name", aid.cli.COMMANDS)
def test_the_help_of_a_command_fits_a_screen_and_names_every_flag(name, capsys):
    assert aid.cli.main([*name.split(), "--help"]) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) <= 48 and max(map(len, short.splitlines())) <= 100
    assert aid.cli.main([*name.split(), "--help", "all"]) == 0
    whole = capsys.readouterr().out
    for flag in set(flags_of(aid.cli.COMMANDS[name])) - {"debug"}:
        assert re.search(rf"(--|^  ){flag}\b", short, re.MULTILINE | re.IGNORECASE), flag
        assert re.search(rf"\b{flag}\b", whole, re.IGNORECASE), flag


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("predict a b --guidance_interval 3 inf", {"guidance_interval": (3.0, float("inf"))}),
        ("predict a b --guidance-interval -1 2 --gif", {"guidance_interval": (-1.0, 2.0)}),
        ("predict a b --states one", {"states": ["one"]}),
        ("predict a b --states one 2 --gif", {"states": ["one", "2"], "gif": True}),
        ("predict a b --next_frames c.png", {"next_frames": [Path("c.png")]}),
        ("train --train.trackers tensorboard trackio", {}),
        ("train --model.adapter.short_term_kernel 3 1 1 --dry_run", {"dry_run": True}),
        ("data join sets a b c", {"folder": Path("sets"), "names": ["a", "b", "c"]}),
        ("ablate --data a --rows full none --out b", {"rows": ["full", "none"]}),
    ],
)
def test_a_setting_of_several_values_takes_them_one_after_another(arguments, values, monkeypatch):
    words, seen = arguments.split(), {}
    name = aid.cli.parsing.name_of(words, aid.cli.COMMANDS)
    function = aid.cli.COMMANDS[name]

    @functools.wraps(function)
    def note(**given):
        seen.update(given)

    monkeypatch.setitem(aid.cli.COMMANDS, name, note)
    assert aid.cli.main(words) == 0
    assert {key: seen[key] for key in values} == values
    if "trackers" in arguments:
        assert list(seen["train"].trackers) == ["tensorboard", "trackio"]
    if "kernel" in arguments:
        assert seen["model"].adapter.short_term_kernel == (3, 1, 1)


def test_one_recipe_serves_the_commands_that_read_parts_of_it(tmp_path, monkeypatch, capsys):
    recipe, seen = tmp_path / "recipe.yaml", {}
    recipe.write_text("model: {num_frames: 4}\ntrain: {steps: 3}\nsampler: {num_steps: 2}\n")

    @functools.wraps(aid.cli.COMMANDS["prepare"])
    def note(**given):
        seen.update(given)

    monkeypatch.setitem(aid.cli.COMMANDS, "prepare", note)
    flags = ["--data", "a", "--out", "b", "--config", str(recipe)]
    assert aid.cli.main(["prepare", *flags]) == 0
    assert seen["model"].num_frames == 4 and "train" not in seen
    recipe.write_text("model: {num_frames: 4}\ntrian: {steps: 3}\n")
    with pytest.raises(SystemExit):
        aid.cli.main(["prepare", *flags])
    assert "trian" in capsys.readouterr().err
    recipe.write_text("sampler: {num_steps: 2}\n")
    with pytest.raises(SystemExit):
        aid.cli.main(["predict", "a", "b", "--config", str(recipe)])
    assert "sampler" in capsys.readouterr().err


def test_importing_the_package_does_not_import_torch():
    code = "import sys, aid; aid.__version__; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_predict_writes_what_was_asked_and_says_what_it_understood(
    tiny_backbone, tiny_config, tmp_path, picture
):
    write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config)
    done = run(
        "predict", picture, "Hoist that red tin!", "--model", tmp_path / "aid", "--backbone",
        tiny_backbone, "--out", tmp_path / "x.mp4", "--gif", "--sheet", "--num_steps", 1,
        "--text-guidance", "1.5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "understood       pick up the red can\n" in done.stdout
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-3:] == [
        str(tmp_path / f"x.{s}") for s in ("mp4", "gif", "png")
    ]
    assert "adapters" in done.stdout
    assert re.search(r"sampler +1 steps, .* text guidance 1\.5", done.stdout)  # what was asked
    assert read_video(tmp_path / "x.mp4").shape == (3, 64, 64, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["aid", "x.gif", "x.mp4", "x.png"]


def test_predict_refuses_what_it_does_not_understand_unless_told_otherwise(
    tiny_backbone, tiny_config, tmp_path, picture
):
    write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config)
    asked = (
        "predict", picture, "lift the hammer", "--model", tmp_path / "aid", "--backbone",
        tiny_backbone, "--out", tmp_path / "x.mp4", "--num_steps", 1,
    )  # fmt: skip
    done = run(*asked)
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert "'hammer' is unknown" in done.stderr and "Nearest: 'pick up" in done.stderr
    assert not (tmp_path / "x.mp4").exists()
    done = run(*asked, "--understand", "false")
    assert done.returncode == 0, done.stderr
    assert "warning: no states" in done.stderr and "'hammer'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.png", "lift it"], "frame 'nowhere.png' does not exist"),
        (["broken.png", "lift it"], "'broken.png' is not a readable image"),
        (["{picture}", "  "], "the instruction is empty"),
        (["{picture}", "lift it", "--out", "nowhere/x.mp4"], "mkdir -p 'nowhere'"),
        (["{picture}", "lift it", "--out", "x.avi"], "must end in .mp4, .gif or .png. Try x.mp4"),
        (["{picture}", "lift it", "--out", "folder.mp4"], "is a folder"),
        (["{picture}", "lift it", "--text_guidence", "3"], "--text_guidence"),
        (
            ["{picture}", "lift it", "--num_steps", "many"],
            "num_steps must be a whole number",
        ),
        (
            ["{picture}", "lift it", "--guidance_interval", "[9, 2]", "--model", "nowhere"],
            "guidance_interval must be 0 <= lowest <= highest, got 9 and 2. Guidance at all",
        ),
        (["{picture}"], "instruction"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(arguments, words, picture, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "folder.mp4").mkdir()
    done = run("predict", *(a.format(picture=picture) for a in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("predict a b --guidance_interval [5]", "[a number, a number], got [5]"),
        ("predict a b --guidance_interval abc", "[a number, a number], got ['abc']"),
        ("evaluate --guidance-interval [a,b]", "[a number, a number], got ['a', 'b']"),
        ("train --sampler.guidance_interval 5", "[a number, a number], got [5]"),
        ("train --train.learning_rate fast", "a number, got fast"),
        ("predict a b --gif=maybe", "true or false, got maybe"),
        ("predict a b --precision int4", "one of float32, bfloat16, float16, got int4"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_what_it_must_be(arguments, words, capsys):
    arguments = arguments.split()
    with pytest.raises(SystemExit) as end:
        aid.cli.main(arguments)
    assert end.value.code == 2
    (flag,) = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    said = f"{flag.replace('-', '_').replace('__', '--', 1)} must be {words}"
    assert capsys.readouterr().err == f"error: {said}. See: aid {arguments[0]} --help\n"


COMPUTING = (
    "predict", "tabletop demo", "tabletop pretrain", "tabletop extractor", "prepare", "train",
    "evaluate", "score", "ablate", "data inspect", "web", "tabletop build",
)  # fmt: skip


@pytest.mark.parametrize("setting", ["device", "precision", "offload"])
def test_settings_of_all_computing_commands_are_called_alike_and_mean_the_same(setting):
    found = {}
    for name in aid.cli.COMMANDS:
        for action in aid.cli.make_parser(only=name).of(name)._actions:
            if action.dest == setting:
                # One command explains, others may point to it.
                said = "as for" if action.help.startswith("as for `aid predict`") else action.help
                found[name] = f"{action.option_strings} {action._typehint} {action.default}", said
    wanted = (
        {"predict", "tabletop demo", "evaluate", "web"} if setting == "offload" else {*COMPUTING}
    )
    wanted |= {"data states"} if setting == "device" else set()
    assert wanted <= found.keys()
    assert len({flag for flag, _ in found.values()}) == 1, found
    assert len({said for _, said in found.values()} - {"as for"}) == 1, found


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "gpu", "tpu", "meta"])
@pytest.mark.parametrize(
    "command",
    [
        "predict {picture} lift --model nowhere", "tabletop demo --model nowhere",
        "evaluate --data nowhere --out {out}", "score nowhere nowhere --out {out}",
        "web --model nowhere --port 0", "train --cache nowhere --out {out}",
        "tabletop pretrain --data nowhere --out {out}", "tabletop build --out {out}",
        "ablate --data nowhere --out {out}",
        "tabletop extractor --data nowhere --held_out nowhere --out {out}",
        "data inspect nowhere", "data states --data nowhere --writer none",
    ],
)  # fmt: skip
@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has an accelerator")
def test_a_device_that_is_not_there_is_one_sentence_before_anything_is_loaded(
    command, device, picture, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = command.format(picture=picture, out=tmp_path / "out").split()
    assert aid.cli.main([*arguments, "--device", device]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: device {device!r} is not on this machine. Use 'cpu': PyT")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not list(tmp_path.iterdir())


GROUP = (
    "--train.noise is a group of settings, got 5. They are --train.noise.mean, --train.noise.std"
)


def test_a_value_for_a_group_of_settings_is_told_what_they_are(tmp_path, capsys):
    folders = ["--cache", str(tmp_path), "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as end:
        aid.cli.main(["train", *folders, "--train.noise", "5"])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {GROUP}. See: aid train --help\n"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train: {noise: 5}")
    assert aid.cli.main(["train", *folders, "--config", str(recipe)]) == 2
    assert capsys.readouterr().err == f"error: {GROUP}\n"


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="needs a place that nobody may write to"
)
def test_a_read_only_folder_is_refused_before_anything_is_loaded(picture):
    done = run("predict", picture, "lift it", "--out", "/proc/x.mp4", "--model", "nowhere")
    assert done.returncode == 2
    assert "cannot write to folder '/proc'" in done.stderr


@pytest.fixture
def failing(monkeypatch):
    """`aid doctor` that fails with a given error."""

    def make(error):
        def doctor(out: Path = Path("out"), fast: bool = False) -> None:
            """Fails."""
            raise error

        monkeypatch.setitem(aid.cli.COMMANDS, "doctor", doctor)

    return make


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            2,
            "error: the device's memory is full. Try",
        ),
        (ValueError("five is\n too many"), 2, "error: five is too many\n"),
        (OSError(28, "No space left"), 1, "OSError: [Errno 28] No space left (--debug"),
        (RuntimeError("no compiler\npage 1\npage 2"), 1, "RuntimeError: no compiler (--debug"),
        (RuntimeError(), 1, "RuntimeError: no more is known"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exit_codes_say_whose_fault_it_was(failing, capsys, error, code, words):
    failing(error)
    assert aid.cli.main(["doctor"]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_run_that_was_asked_to_stop_says_how_to_go_on_and_has_not_failed(failing, capsys):
    failing(Stopped("stopped after step 3 of 9; the state is saved"))
    assert aid.cli.main(["doctor", "--out", "a b"]) == 0
    assert capsys.readouterr().err.endswith("the state is saved. Go on: aid doctor --out 'a b'\n")


def test_of_several_processes_the_first_says_how_to_go_on_and_names_the_launcher(
    failing, capsys, monkeypatch
):
    failing(Stopped("the state is saved"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, said in (
        ("0", "the state is saved. Go on: the launcher's command again, with -m aid.cli doctor\n"),
        ("1", ""),
    ):
        monkeypatch.setenv("RANK", rank)
        assert aid.cli.main(["doctor"]) == 0
        assert capsys.readouterr().err == said


def test_debug_shows_where_an_error_is_from(failing, capsys):
    failing(ValueError("five"))
    assert aid.cli.main(["doctor", "--debug"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("error: five\n")


def test_a_switch_needs_no_value_but_takes_one(failing, capsys):
    failing(ValueError("reached"))
    for flags in (["--fast"], ["--fast", "true"], ["--fast=false"], ["--fast", "--out", "x"]):
        assert aid.cli.main(["doctor", *flags]) == 2
        assert "reached" in capsys.readouterr().err


def test_no_command_shows_the_help(capsys):
    assert aid.cli.main([]) == 2
    assert "predict" in capsys.readouterr().err


def test_an_unknown_key_of_a_recipe_is_refused_by_name(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("train:\n  learning_rat: 1.0e-4\n")
    flags = ["--cache", "a", "--out", "b", "--config", str(tmp_path / "recipe.yaml")]
    with pytest.raises(SystemExit) as end:
        aid.cli.main(["train", *flags])
    assert end.value.code == 2
    assert "train.learning_rat" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [4", "cannot be read: this is no YAML"),
        ("- 1", "must be settings by name, got a list"),
        ("\xff", "cannot be read: "),
    ],
)
@pytest.mark.parametrize("command", ["train --config {}", "tabletop pretrain --config={}"])
def test_a_recipe_that_is_none_is_named(command, text, words, tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_bytes(text.encode("latin-1"))
    assert aid.cli.main(command.format(recipe).split()) == 2
    assert capsys.readouterr().err.startswith(f"error: recipe {str(recipe)!r} {words}")


def test_a_flag_must_be_written_out(capsys):
    with pytest.raises(SystemExit) as end:
        aid.cli.main(["train", "--cache", "a", "--train.step", "3"])
    assert end.value.code == 2 and "--train.step" in capsys.readouterr().err
    assert aid.cli.main(["train", "--data", "a", "--held_out", "0.15"]) == 2
    assert "give --hold_out 0.15" in capsys.readouterr().err


def test_a_setting_that_cannot_be_run_is_a_sentence(capsys):
    assert aid.cli.main(["train", "--cache", "a", "--out", "b", "--sampler.num_steps", "0"]) == 2
    assert "num_steps must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--frames.height", "7"], "frames.height must be a multiple of 8, got 7. Try 8."),
        (["--frames.fps", "4", "--frames.seconds", "2"], "frames.fps = 4 and frames.seconds = 2 "
         "both say how long a window lasts. Give one of them."),
    ],
)  # fmt: skip
def test_settings_of_a_group_that_may_be_left_out_are_refused_in_a_sentence(
    tmp_path, capsys, flags, sentence
):
    assert aid.cli.main(["data", "inspect", str(tmp_path), *flags]) == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("tabletop make --scenes.train 1", "--out. See: aid tabletop make"),
        ("evaluate --data a", "--out. See: aid evaluate"),
        ("predict", "frame, instruction. See: aid predict"),
        ("data join a", "names. See: aid data join"),
    ],
)
def test_what_is_missing_is_named_as_it_is_typed(command, missing, capsys):
    with pytest.raises(SystemExit) as end:
        aid.cli.main(command.split())
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: missing: {missing} --help\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--num_videos 0", "num_videos must be at least 1, got 0"),
        ("--num_videos 100000000", "num_videos must be at most 10000, got 100000000"),
        ("--seed 99999999999999999999", "seed must be from"),
        ("--num_steps 0", "num_steps must be at least 1, got 0"),
        ("--static_threshold -1", "static_threshold must be from 0 to 1000, got -1"),
        ("--text_guidance 1e9", "text_guidance must be from -1000 to 1000"),
        ("--decode_chunk 0", "decode_chunk must be at least 1, got 0"),
        ("--motion_bucket_id -5", "motion_bucket_id must be 0 or more, got -5"),
        ("--noise_aug_strength -5", "noise_aug_strength must be 0 or more, got -5"),
        ("--height 0", "height must be from 1 to 8192 pixels, got 0"),
        ("--width 0", "width must be from 1 to 8192 pixels, got 0"),
    ],
)
def test_predict_refuses_settings_before_a_model_is_loaded(
    flags, words, picture, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Predictor, "from_pretrained", None)
    assert aid.cli.main(["predict", str(picture), "lift the red can", *flags.split()]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and not said.out
    assert not list(tmp_path.iterdir())


def test_an_instruction_without_quotes_is_told_about_them(capsys):
    with pytest.raises(SystemExit) as end:
        aid.cli.main(["predict", "a.png", "lift", "the", "can"])
    assert end.value.code == 2
    assert "the can. Put a text of several words in quotes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--seed 99999999999999999999", "seed must be from"),
        ("--num_steps 0", "num_steps must be at least 1, got 0"),
    ],
)
@pytest.mark.parametrize(
    "command", ["evaluate --data a --out {out} --model nowhere", "tabletop demo --model nowhere"]
)
def test_settings_of_the_sampler_are_refused_before_a_model_is_looked_for(
    command, flags, words, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert aid.cli.main(f"{command} {flags}".format(out=tmp_path / "out").split()) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    [
        "prepare --data a", "train --data a", "evaluate --data a", "score a b", "ablate --data a",
        "tabletop make --scenes.train 1", "tabletop pretrain --data a", "tabletop build",
        "tabletop demo", "tabletop extractor --data a --held_out b",
    ],
)  # fmt: skip
def test_a_file_in_the_place_of_a_folder_is_refused_before_any_work(command, tmp_path, capsys):
    file = tmp_path / "mine"
    file.write_text("mine")
    assert aid.cli.main([*command.split(), "--out", str(file)]) == 2
    assert capsys.readouterr().err == (
        f"error: {str(file)!r} is a file, and a folder is written. Choose another --out.\n"
    )
    assert file.read_text() == "mine"


def test_numbers_of_nothing_are_refused_before_data_or_model_are_read(tmp_path, capsys):
    out = ["--data", "a", "--out", str(tmp_path / "out")]
    assert aid.cli.main(["evaluate", *out, "--batch_size", "0"]) == 2
    assert "batch_size must be at least 1, got 0" in capsys.readouterr().err
    assert aid.cli.main(["train", *out, "--method", "simvp", "--flops", "-1"]) == 2
    assert "--flops must be at least 1, got -1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_data_set_without_scenes_is_refused(tmp_path, capsys):
    assert aid.cli.main(["tabletop", "make", "--out", str(tmp_path)]) == 2
    assert "--scenes.train 1000" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_recipe_loads_and_a_flag_overrides_it(recipe):
    if "pretrain" in yaml.safe_load(recipe.read_text()):
        flags = [
            "tabletop",
            "pretrain",
            "--data",
            "a",
            "--out",
            "b",
            "--pretrain.clip_loop.seed",
            "7",
        ]
    else:
        flags = ["train", "--cache", "a", "--out", "b", "--train.seed", "7"]
    name = aid.cli.parsing.name_of(flags, aid.cli.COMMANDS)
    words, parser = name.split(), aid.cli.make_parser(only=name)
    flags[len(words) : len(words)] = ["--config", str(recipe)]
    values = parser.instantiate(parser.parse_args(flags))
    for word in words:
        values = values[word]
    assert (values.train.seed if name == "train" else values.pretrain.clip_loop.seed) == 7


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--cache", "nowhere", "--start", "nowhere"],
        ["tabletop", "build", "--recipes", "nowhere", "--out", "o"],
    ],
)
def test_a_folder_that_is_not_there_is_named(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert aid.cli.main(command) == 2
    said = capsys.readouterr().err
    assert "nowhere" in said and "Give" in said
    assert not list(tmp_path.iterdir())
