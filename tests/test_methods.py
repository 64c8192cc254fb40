import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from own_methods import Linear, Worded
from PIL import Image
from prepared import GREY, make
from short_runs import LOOP

import aid.cli
from aid.ablate.learning import train_method
from aid.ablate.methods import RIVALS, find_method, make_method
from aid.ablate.results import RESULT, result_of, write
from aid.ablate.rows import Row, Run, choose_rows
from aid.ablate.tables import write_tables
from aid.ablate.training_videos import PixelFiles, TrainingVideos, decode_pixels, pixel_folder
from aid.config import TrainConfig, tuned
from aid.data.cache import Cache
from aid.data.manifest import read_manifest, write_manifest
from aid.models.sizes import read_configs
from aid.optim.flops import count_flops
from aid.rivals.method import Sizes
from aid.train.cost import step_cost
from aid.video import read_video

FILE = Path(__file__).with_name("own_methods.py")
LINEAR, WORDED = f"{FILE}:Linear", f"{FILE}:Worded"
SHORT = replace(LOOP, save_every=1, steps=4)
SIZES = Sizes(num_frames=3, channels=3, height=8, width=8, text_dim=4, text_length=5)


@pytest.fixture(scope="module")
def cache(tiny_manifest, tiny_backbone, tmp_path_factory):
    """A cache of the tiny manifest with its pixels."""
    made = make(tiny_manifest, tmp_path_factory.mktemp("cache") / "cache", tiny_backbone, GREY)
    decode_pixels(made, tiny_manifest)
    return made.folder


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory):
    """A run of each method, by name."""
    out = tmp_path_factory.mktemp("runs")
    return {
        "linear": train_method(LINEAR, cache, out / "linear", train=SHORT, flops=8e6),
        "worded": train_method(WORDED, cache, out / "worded", train=SHORT),
    }


def facts_of(run):
    return json.loads((run / "method.json").read_text())


def contents(run):
    return {path.name: path.read_bytes() for path in run.glob("*.safetensors")}


def test_flops_are_two_for_each_multiplication_forward_and_twice_that_backward():
    x = torch.randn(2, 8, 10, 10, requires_grad=True)
    grouped = torch.nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False)
    assert count_flops(lambda: grouped(x).sum()) == 3 * 2 * (2 * 8 * 10 * 10) * 2 * 9
    frozen = torch.nn.Linear(8, 4, bias=False).requires_grad_(False)
    y = torch.randn(5, 8, requires_grad=True)
    assert count_flops(lambda: frozen(y).sum()) == 2 * 2 * 5 * 8 * 4  # no gradient of the weights
    q, k, v = (torch.randn(1, 2, 16, 8, requires_grad=True) for _ in range(3))
    attention = torch.nn.functional.scaled_dot_product_attention
    assert count_flops(lambda: attention(q, k, v).sum()) == 3 * 2 * (2 * 2 * 16 * 16 * 8)


def test_a_step_of_aid_is_counted_without_loading_it(tiny_backbone, tiny_config):
    configs = read_configs(tiny_backbone)
    costs = [step_cost(configs, tiny_config, TrainConfig(batch_size=b), 64, 64)[0] for b in (1, 2)]
    assert costs[1] == pytest.approx(2 * costs[0], rel=1e-3)
    flops, trained, parameters = step_cost(
        configs, tuned(tiny_config, "full"), TrainConfig(batch_size=2), 64, 64
    )
    assert flops > costs[1] and 0 < trained <= parameters


def test_pixels_are_decoded_once_and_are_those_of_the_videos(cache, tiny_manifest, tmp_path):
    for folder in (cache, pixel_folder(cache)):  # of this test's own, as it damages them
        shutil.copytree(folder, tmp_path / folder.name)
    data = Cache(tmp_path / cache.name)
    first = read_video(tiny_manifest / "videos/0.mp4")
    pixels = PixelFiles(data)[0]
    assert pixels.dtype == torch.uint8 and pixels.shape == (3, 3, 64, 64)
    assert np.array_equal(pixels[0].permute(1, 2, 0).numpy(), first[0])
    batch = TrainingVideos(data, "pixels").batch([0, 5], torch.Generator().manual_seed(0))
    assert batch.videos.shape == (2, 3, 3, 64, 64) and batch.text.shape[2] == 16
    assert torch.allclose((batch.videos[0] + 1) * 127.5, pixels.float(), atol=1e-3)
    file = next(pixel_folder(data.folder).iterdir())
    before = file.stat().st_mtime_ns
    decode_pixels(data, tiny_manifest)
    assert file.stat().st_mtime_ns == before
    other = tmp_path / "other"
    shutil.copytree(tiny_manifest, other)
    write_manifest(other, read_manifest(tiny_manifest)[:2])
    file.unlink()
    with pytest.raises(ValueError, match="does not hold the pixels of cache"):
        PixelFiles(data)
    with pytest.raises(ValueError, match=r"video 'push-2' of cache .* is not in"):
        decode_pixels(data, other)


def test_every_stage_takes_its_share_of_the_budget_within_half_a_step(cache, trained, tmp_path):
    facts = facts_of(trained["linear"])
    (stage,) = facts["stages"].values()
    assert stage["steps"] > 1 and stage["flops"] == stage["steps"] * stage["flops_per_step"]
    assert abs(stage["flops"] - 8e6) <= stage["flops_per_step"] / 2
    with pytest.raises(ValueError, match=r"a step of stage 'only' of .* its budget is 1e"):
        train_method(LINEAR, cache, tmp_path / "little", train=SHORT, flops=1e3)
    worded = facts_of(trained["worded"])
    assert {name: one["steps"] for name, one in worded["stages"].items()} == {
        "frame": 1, "words": 3,
    }  # fmt: skip
    assert worded["stages"]["words"]["learning_rate"] == 1e-2
    assert worded["title"] == "Worded (test)" and worded["reads_text"]
    frame, words = (one["num_trained"] for one in worded["stages"].values())
    assert worded["num_trained"] == frame + words == worded["num_parameters"]


@pytest.mark.parametrize("at", [1, 3])
def test_a_run_that_is_interrupted_in_any_stage_ends_like_one_that_is_not(
    at, cache, trained, tmp_path, monkeypatch
):
    steps, loss = [], find_method(WORDED).loss

    def until(self, stage, batch, generator):
        steps.append(stage)
        if len(steps) == 3 + at:  # the first two are measured
            raise KeyboardInterrupt
        return Worded.loss(self, stage, batch, generator)

    from aid.ablate import learning

    whole = learning.make_method

    def interrupted(*arguments):
        made = whole(*arguments)
        type(made).loss = until
        return made

    with monkeypatch.context() as patch:
        patch.setattr(learning, "make_method", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_method(WORDED, cache, tmp_path / "run", train=SHORT)
    assert loss is not until and not (tmp_path / "run/words.safetensors").exists()
    assert contents(train_method(WORDED, cache, tmp_path / "run", train=SHORT)) == contents(
        trained["worded"]
    )
    with pytest.raises(ValueError, match="holds a run with another seed"):
        train_method(WORDED, cache, tmp_path / "run", train=replace(SHORT, seed=1))


def test_a_method_is_predicted_and_scored_as_aid_is_and_compared_in_a_picture(
    trained, tiny_manifest, tiny_backbone, tmp_path
):
    runs = {}
    for name, code in (("linear", LINEAR), ("worded", WORDED)):
        run = Run(row=Row(table="main", name=code, title=name, kind="method"), seed=0)
        runs[run.row] = [run]
        out = tmp_path / run.name / "report"
        out.parent.mkdir()
        exit_code = aid.cli.main(
            ["evaluate", "--method", code, "--model", str(trained[name]), "--data",
             str(tiny_manifest), "--backbone", str(tiny_backbone), "--out", str(out), "--limit",
             "4", "--device", "cpu", "--extractor", "none"]
        )  # fmt: skip
        assert exit_code == 0
        speed = [json.loads(line) for line in (out / "speed.jsonl").read_text().splitlines()]
        assert sum(line["videos"] for line in speed) == {"linear": 4, "worded": 12}[name]
        assert {line["evaluations"] for line in speed} == {{"linear": 1, "worded": 2}[name]}
        result = result_of(
            out / "report.json", row=run.row.name, seed=0, title=name, is_own_method=True,
            reads_text=name == "worded",
        )  # fmt: skip
        write(tmp_path / run.name / RESULT, result)
        assert result.own.num_videos == 4 and result.own.psnr > 5
        assert (result.lift_psnr is None) == (name == "linear")
        videos = sorted((out / "predictions/true").glob("*.mp4"))
        assert len(videos) == 4 and read_video(videos[0]).shape == (3, 64, 64, 3)
    written = write_tables(tmp_path, runs, ["main"], {}, {"steps": 4})
    assert "picture.png" in [path.name for path in written]
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.height == 3 * (128 + 21)  # real, linear, worded
    table = (tmp_path / "tables.md").read_text()
    assert "instruction accuracy" not in table.split("\n\n")[2]  # nobody can judge
    assert "lift, PSNR" in table and "| linear | - | - | - |" in table


def said_by(arguments, capsys):
    assert aid.cli.main([str(one) for one in arguments]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    return said


def test_a_run_of_another_method_or_settings_of_aid_are_refused(
    trained, tiny_manifest, tiny_backbone, tmp_path, capsys
):
    known = ["evaluate", "--data", tiny_manifest, "--backbone", tiny_backbone, "--out",
             tmp_path / "out", "--device", "cpu", "--model", trained["worded"]]  # fmt: skip
    assert "another method" in said_by([*known, "--method", LINEAR], capsys)
    assert "--states_from is of AID" in said_by(
        [*known, "--method", WORDED, "--states_from", "none"], capsys
    )
    wordless = tmp_path / "wordless"
    shutil.copytree(tiny_manifest, wordless)
    rows = [replace(row, instruction="", wordings=[]) for row in read_manifest(tiny_manifest)]
    write_manifest(wordless, rows)
    known[2] = wordless
    assert "none of the 6 videos has an instruction, and the model reads one" in said_by(
        [*known, "--method", WORDED], capsys
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"method: {LINEAR}\n")
    assert "code that would be run" in said_by(
        ["train", "--config", recipe, "--cache", "c"], capsys
    )
    assert "--flops is for --method" in said_by(
        ["train", "--flops", "1e9", "--cache", tmp_path, "--device", "cpu"], capsys
    )


class NoLoss:
    space = "pixels"
    trained = draw = Linear.trained


class OtherSpace(Linear):
    space = "frames"


class HalfTheBudget(Linear):
    stages: Mapping[str, float] = {"only": 0.5}


class NotANumber(Linear):
    def draw(self, given, *rest):
        return super().draw(given, *rest) / 0


class OneFrame(Linear):
    def draw(self, given, *rest):
        return super().draw(given, *rest)[:, :1]


class OneLoss(Linear):
    def loss(self, *arguments):
        return super().loss(*arguments).mean()


class Endless(Linear):
    def loss(self, *arguments):
        return super().loss(*arguments) * float("inf")


class Statistics(Linear):
    def __init__(self, sizes):
        super().__init__(sizes)
        self.linear = self.network
        self.network = torch.nn.ModuleDict({"a": self.linear, "b": torch.nn.BatchNorm2d(3)})

    def loss(self, stage, batch, generator):
        self.network["b"](batch.videos[:, 0])
        errors = self.predicted(batch.videos[:, 0]) - batch.videos
        return errors.square().mean((1, 2, 3, 4))

    def predicted(self, given):
        self.network, whole = self.linear, self.network
        made = super().predicted(given)
        self.network = whole
        return made


class Unrelated(Linear):
    def loss(self, stage, batch, generator):
        return batch.videos.mean((1, 2, 3, 4))


@pytest.mark.parametrize(
    "name, words",
    [
        ("NoLoss", "has no 'loss'"),
        ("OtherSpace", "'pixels' or 'latents', got 'frames'"),
        ("HalfTheBudget", "must be above 0 and sum to 1"),
        ("NotANumber", "values that are not finite"),
        ("OneFrame", r"must draw videos \[1, 3, 3, 64, 64\], got \[1, 1, 3, 64, 64\]"),
        ("OneLoss", r"a number for each of 2 videos, got \[\]"),
        ("Endless", "the first loss of stage 'only' is inf"),
        ("Statistics", "changes the buffer 'b.running_mean'"),
        ("Unrelated", "depends on none of the parameters"),
    ],
)
def test_a_method_that_breaks_the_protocol_is_refused_before_it_is_trained(
    name, words, cache, tmp_path
):
    with pytest.raises(ValueError, match=words):
        train_method(f"test_methods:{name}", cache, tmp_path / "run", train=SHORT)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name, words",
    [
        ("simpv", "is unknown. Methods: pvdm, seer, simvp"),
        ("nowhere.py", "file 'nowhere.py' does not exist"),
        ("no_such_package:Method", "cannot be imported"),
        ("own_methods:Missing", "has no class 'Missing'"),
        (str(FILE), r"several methods \(Linear, Worded\)"),
    ],
)
def test_a_name_that_leads_to_no_method_is_refused(name, words):
    with pytest.raises(ValueError, match=words):
        find_method(name)


def test_a_file_adds_a_row_and_one_that_fails_says_why(tmp_path):
    rows = choose_rows([LINEAR, "simvp"])
    assert [(row.title, row.table) for row in rows] == [("SimVP", "main"), ("Linear", "main")]
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    with pytest.raises(ValueError, match="ZeroDivisionError: division by zero"):
        find_method(str(broken))


def test_first_weights_depend_on_the_seed_alone():
    weights = [make_method(LINEAR, SIZES, seed).network.weight for seed in (3, 3, 4)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", sorted(RIVALS))
def test_a_rivals_name_makes_its_small_preset_and_its_class_the_papers_sizes(name):
    rival = find_method(name)
    sizes = Sizes(
        num_frames=8,
        channels=3 if rival.space == "pixels" else 8,
        height=64 if rival.space == "pixels" else 16,
        width=64 if rival.space == "pixels" else 16,
        text_dim=32,
        text_length=8,
    )
    with torch.device("meta"):
        small, paper = (make_method(one, sizes, seed=0) for one in (name, RIVALS[name]))
    number = [sum(p.numel() for p in made.network.parameters()) for made in (small, paper)]
    assert number[0] < number[1]
