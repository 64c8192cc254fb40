import json
import math
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace

import av
import pytest
import torch
from backbones import build_tiny_backbone
from safetensors.torch import load_file
from short_runs import LOOP, SAMPLER, log_of
from videos import moving_square

from aid.conditioning.states import choose_state_writer
from aid.config import (
    ConditionConfig,
    DQFormerConfig,
    FrameConfig,
    HardExampleConfig,
    SourceConfig,
    to_json,
    tuned,
)
from aid.data.cache import Cache
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import load_checkpoint, read_info
from aid.models.conditions import Conditions
from aid.optim import make_accelerator
from aid.predict import Predictor
from aid.prepare import prepare
from aid.train import batches, conditions_of, other_instruction, train
from aid.train.execution import try_step
from aid.types import Stopped


class Killed(Exception):
    """Stands for a kill: nothing in the code under test catches it."""


@pytest.fixture
def run(cache, tiny_backbone, tiny_config):
    """Trains into a folder; `kill_at` is a step that is not begun any more."""

    def make(out, kill_at=None, model=tiny_config, loop=LOOP, backbone=tiny_backbone, **options):
        with pytest.MonkeyPatch.context() as patch:
            if kill_at is not None:
                draw = batches.batch_indices

                def killing(length, batch_size, seed, step):
                    if step == kill_at:
                        raise Killed
                    return draw(length, batch_size, seed, step)

                patch.setattr(batches, "batch_indices", killing)
            return train(cache, out, backbone, model=model, train=loop, sampler=SAMPLER, **options)

    return make


def test_a_killed_and_resumed_training_is_the_same_training_bit_for_bit(
    run, cache, tiny_backbone, tmp_path
):
    straight = run(tmp_path / "straight", held_out=cache)
    with pytest.raises(Killed):
        run(tmp_path / "resumed", kill_at=3, held_out=cache)
    resumed = run(tmp_path / "resumed", held_out=cache)
    weights, others = (load_file(f / "trained.safetensors") for f in (straight, resumed))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    states = [tmp_path / name / "state/trainer.safetensors" for name in ("straight", "resumed")]
    assert states[0].read_bytes() == states[1].read_bytes()
    log = log_of(tmp_path / "straight")
    assert log == log_of(tmp_path / "resumed")

    # What the log says: every step's loss, and at every check the swap gap at four noise levels.
    losses = {line["step"]: line["loss"] for line in log if "loss" in line}
    assert losses.keys() == {1, 2, 3, 4}
    checks = {line["step"]: line for line in log if "swap_gap_1.5" in line}
    assert checks.keys() == {2, 4}
    for name in ("true", "swap_gap", "empty_gap"):
        assert all(math.isfinite(checks[4][f"{name}_{s}"]) for s in ("0.5", "1.5", "4", "12"))
    assert {path.name for path in (tmp_path / "straight").iterdir()} == {
        "checkpoint", "state", "log.jsonl", "run.json", "report.html", "sheet-000002.png",
        "sheet-000004.png",
    }  # fmt: skip

    # The checkpoint holds the averaged weights and loads on the backbone it was trained on.
    unet = load_backbone(tiny_backbone, ("unet",)).unet
    denoiser, info = load_checkpoint(straight, unet, backbone_hash(tiny_backbone))
    saved = load_file(states[0])
    for name, parameter in denoiser.trained.named_parameters():
        assert torch.equal(parameter, saved[f"average/{name}"])
    assert (info.step, info.state_writer, info.sampler) == (4, "replay", SAMPLER)


def test_a_run_that_draws_noise_anew_resumes_bit_for_bit_with_any_number_of_workers(run, tmp_path):
    loop = replace(LOOP, redraw_noise_aug=True)
    straight = run(tmp_path / "straight", loop=loop)
    with pytest.raises(Killed):
        run(tmp_path / "resumed", kill_at=3, loop=loop)
    run(tmp_path / "resumed", loop=replace(loop, num_workers=1))
    states = [tmp_path / name / "state/trainer.safetensors" for name in ("straight", "resumed")]
    assert states[0].read_bytes() == states[1].read_bytes()
    stored = run(tmp_path / "stored")
    weights, others = (load_file(f / "trained.safetensors") for f in (straight, stored))
    assert any(not torch.equal(weights[name], others[name]) for name in weights)
    with pytest.raises(ValueError, match="redraw_noise_aug"):
        run(tmp_path / "straight", loop=replace(LOOP, steps=6))


def test_training_changes_every_group_and_nothing_of_the_backbone(run, tiny_backbone, tmp_path):
    before = backbone_hash(tiny_backbone)
    run(tmp_path, loop=replace(LOOP, steps=2))
    saved = load_file(tmp_path / "state/trainer.safetensors")
    names = {name.removeprefix("weights/") for name in saved if name.startswith("weights/")}
    assert {name.split(".")[0] for name in names} == {"dqformer", "adapters", "cross_attention"}
    up = [name for name in names if name.startswith("adapters") and ".up." in name]
    assert up
    assert all(saved[f"weights/{name}"].any() for name in up), "W_up has left its zeros"
    assert backbone_hash(tiny_backbone) == before


def test_an_empty_state_writer_and_no_held_out_cache_will_do(run, tmp_path):
    checkpoint = run(tmp_path, loop=replace(LOOP, steps=1))
    assert (checkpoint / "trained.safetensors").is_file()
    assert not list(tmp_path.glob("sheet-*"))


@pytest.mark.parametrize("tuning", ["lora", "cross_attention", "temporal", "full"])
def test_every_other_way_to_adapt_the_backbone_trains(run, tmp_path, tiny_config, tuning):
    run(tmp_path, model=tuned(tiny_config, tuning), loop=replace(LOOP, steps=1))
    trained = json.loads((tmp_path / "run.json").read_text())["trained"]
    name = {"temporal": "weights", "full": "weights"}.get(tuning, tuning)
    assert trained[name] > 0
    assert trained["adapters"] == 0


def test_a_model_without_text_trains_too(run, cache, tmp_path, tiny_config):
    model = replace(tiny_config, dqformer=DQFormerConfig(branches="none"))
    run(tmp_path, model=model, loop=replace(LOOP, steps=1), held_out=cache)
    checked = log_of(tmp_path)[-1]
    assert checked["swap_gap_1.5"] == checked["empty_gap_1.5"] == 0


def test_a_resumed_training_refuses_another_model_by_name(run, tmp_path, tiny_config):
    run(tmp_path, loop=replace(LOOP, steps=1))
    condition = replace(tiny_config.condition, text_dropout=0.2)
    with pytest.raises(ValueError, match="made with model"):
        run(tmp_path, model=replace(tiny_config, condition=condition))
    with pytest.raises(ValueError, match=r"made with train.seed = 0, this run has 1"):
        run(tmp_path, loop=replace(LOOP, seed=1))


def test_a_cache_made_otherwise_is_refused(run, tmp_path, tmp_path_factory, tiny_config):
    with pytest.raises(ValueError, match="made with num_frames = 3, and this run needs 4"):
        run(tmp_path, model=replace(tiny_config, num_frames=4))
    condition = replace(tiny_config.condition, frame_condition="zero_latents")
    with pytest.raises(ValueError, match="made with frame_condition = 'grey_pixels'"):
        run(tmp_path, model=replace(tiny_config, condition=condition))
    other = build_tiny_backbone(tmp_path_factory.mktemp("backbones") / "other", seed=1)
    with pytest.raises(ValueError, match="made with backbone"):
        run(tmp_path, backbone=other)
    assert not list(tmp_path.iterdir())


def test_states_that_saw_the_video_do_not_stand_beside_others_unless_allowed(run, cache, tmp_path):
    other = shutil.copytree(cache, tmp_path / "other")
    settings = json.loads((other / "cache.json").read_text())
    assert settings["fingerprint"]["states_see"] == ["video"]
    settings["fingerprint"] |= {"states_see": ["first_frame"], "state_writer": "vlm:a/b?prompt=1"}
    (other / "cache.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"other: first_frame.*train.allow_mixed_states true"):
        run(tmp_path / "out", held_out=other)
    assert not (tmp_path / "out").exists()
    loop = replace(LOOP, steps=1, allow_mixed_states=True)
    checkpoint = run(tmp_path / "out", held_out=other, loop=loop)
    assert read_info(checkpoint).states_see == ("video",)  # the checks teach nothing


def test_the_swapped_instruction_is_one_of_the_same_frame_or_else_of_another(cache):
    data = Cache(cache)
    assert other_instruction(data, range(6)) == [1, 0, 3, 2, 5, 4]
    data.rows = list(data.rows)[:5]
    # Row 4 is alone with its frame. Row 0 is told the same, row 1 something else.
    assert other_instruction(data, [4]) == [1]
    data.rows = [data.rows[0], data.rows[2]]
    assert other_instruction(data, [0, 1]) == [0, 1], "all are told the same"


def test_the_swap_gap_is_not_zero_where_no_two_videos_share_a_first_frame(
    run, cache, tmp_path, monkeypatch
):
    rows = Cache.__init__

    def without_siblings(self, folder):
        rows(self, folder)
        self.rows = [row | {"first_frame": n} for n, row in enumerate(self.rows)]
        self._firsts.find = lambda number, find=self._firsts.find: find(number // 2)

    monkeypatch.setattr(Cache, "__init__", without_siblings)
    run(tmp_path, loop=replace(LOOP, steps=2), held_out=cache)
    assert any(value != 0 for name, value in log_of(tmp_path)[-1].items() if "swap_gap" in name)


def test_a_batch_tells_the_denoiser_the_configured_or_the_videos_own_fps(cache, tiny_config):
    batch, config = Cache(cache).batch([0, 1]), tiny_config.condition
    assert conditions_of(batch, replace(config, fps=7.0)).fps.tolist() == [7, 7]
    assert conditions_of(batch, replace(config, fps=None)).fps.tolist() == [2, 2]
    assert conditions_of(batch, config).motion_bucket_id.tolist() == [127, 127]


def test_a_checkpoint_keeps_the_rate_and_the_settings_its_data_was_read_with(
    run, cache, tmp_path, tiny_config, recwarn
):
    loop = replace(LOOP, steps=1)
    info = read_info(run(tmp_path / "own", loop=loop))
    assert info.fps == Cache(cache).fps == 2
    assert info.source == to_json(SourceConfig())
    assert info.frames == to_json(FrameConfig())
    assert info.model.condition.fps is None, "each video's true rate is told"
    assert not [one for one in recwarn if "condition.fps" in str(one.message)]
    pinned = replace(tiny_config, condition=replace(tiny_config.condition, fps=7.0))
    with pytest.warns(UserWarning, match=r"sets 7 frames a second .* have 2 on average"):
        info = read_info(run(tmp_path / "pinned", model=pinned, loop=loop))
    assert (info.fps, info.model.condition.fps) == (2, 7), "files are written at the true rate"


def test_windows_rate_reaches_the_network_the_checkpoint_and_the_predicted_files(
    tiny_manifest, tiny_backbone, tiny_config, tmp_path, monkeypatch
):
    frames, states = FrameConfig(fps=3.0), choose_state_writer("none")
    prepare(tiny_manifest, tmp_path / "cache", tiny_backbone, condition=ConditionConfig(),
            num_frames=3, states=states, frames=frames)  # fmt: skip
    told = []
    ids = Conditions.added_time_ids.fget
    monkeypatch.setattr(
        Conditions, "added_time_ids",
        property(lambda self: told.append(ids(self)[:, 0].tolist()) or ids(self)),
    )  # fmt: skip
    loop = replace(LOOP, steps=1)
    checkpoint = train(tmp_path / "cache", tmp_path / "run", tiny_backbone, model=tiny_config,
                       train=loop, sampler=SAMPLER)  # fmt: skip
    assert told and all(one == [2.0, 2.0] for one in told), "SVD is told the rate less 1"
    predictor = Predictor.from_pretrained(checkpoint, tiny_backbone, "cpu")
    told.clear()
    made = predictor(moving_square()[0], "push", states=[], seed=0, num_steps=1)
    assert {rate for one in told for rate in one} == {2.0}
    made.save(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == 3


def test_checks_on_windows_of_another_rate_are_refused(run, cache, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(cache, other)
    settings = json.loads((other / "cache.json").read_text())
    settings["fingerprint"]["frames.fps"] = 4.0
    (other / "cache.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"made with frames\.fps = 4\.0, and this run needs None"):
        run(tmp_path / "out", held_out=other)


def test_a_run_on_every_second_frame_starts_another_on_all_of_them(
    run, cache, tmp_path, tiny_config
):
    coarse = replace(LOOP, frame_stride=2, motion_weight=4.0)
    first = run(tmp_path / "coarse", loop=coarse, held_out=cache)
    begun = load_file(first / "trained.safetensors")
    still = replace(LOOP, steps=1, learning_rate=0.0, cross_attention_learning_rate=0.0)
    second = run(tmp_path / "fine", loop=still, start=first, held_out=cache)
    went_on = load_file(second / "trained.safetensors")
    assert begun.keys() == went_on.keys()
    assert all(torch.equal(begun[name], went_on[name]) for name in begun)
    assert log_of(tmp_path / "coarse")[-1].keys() == log_of(tmp_path / "fine")[-1].keys()
    other = replace(tiny_config, dqformer=replace(tiny_config.dqformer, queries_per_frame=3))
    with pytest.raises(ValueError, match=r"model.dqformer.queries_per_frame is 2 there and 3 here"):
        run(tmp_path / "other", model=other, start=first)
    assert not (tmp_path / "other").exists()


def test_a_run_takes_the_settings_of_the_checkpoint_it_starts_from(run, tmp_path, tiny_config):
    pinned = replace(tiny_config, condition=replace(tiny_config.condition, fps=7.0))
    first = run(tmp_path / "first", model=pinned, loop=replace(LOOP, steps=1))
    second = run(tmp_path / "second", model=None, loop=replace(LOOP, steps=1), start=first)
    own_rate = replace(tiny_config.condition, fps=None)  # 7 was the rate of the first run's data
    assert read_info(second).model == replace(tiny_config, condition=own_rate)
    assert read_info(second).sampler == SAMPLER


def test_held_out_videos_with_one_instruction_have_no_swap_gap_and_it_says_so(
    run, cache, tmp_path, monkeypatch
):
    opened = Cache.__init__

    def same_words(self, folder):
        opened(self, folder)
        self.rows = [row | {"instructions": [1]} for row in self.rows]

    monkeypatch.setattr(Cache, "__init__", same_words)
    with pytest.warns(UserWarning, match="have the same instruction, so the log has no swap_gap"):
        run(tmp_path, loop=replace(LOOP, steps=2), held_out=cache)
    names = {name for line in log_of(tmp_path) for name in line}
    assert "empty_gap_4" in names and not any(name.startswith("swap_gap") for name in names)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_run_does_not_depend_on_the_number_of_workers(run, tmp_path, num_workers):
    loop = replace(LOOP, hard_examples=HardExampleConfig(group_size=2), accumulate=2)
    alone = run(tmp_path / "alone", loop=replace(loop, num_workers=0))
    with pytest.raises(Killed):
        run(tmp_path / "workers", kill_at=3, loop=replace(loop, num_workers=0))
    workers = run(tmp_path / "workers", loop=replace(loop, num_workers=num_workers))
    states = [folder.parent / "state/trainer.safetensors" for folder in (alone, workers)]
    assert states[0].read_bytes() == states[1].read_bytes()
    assert log_of(alone.parent) == log_of(workers.parent)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_cache_that_breaks_while_training_is_one_sentence(
    run, cache, tmp_path, monkeypatch, num_workers
):
    def broken(*_):
        raise ValueError("cache file 'videos-1.safetensors' is damaged.")

    monkeypatch.setattr(batches, "draw_sample", broken)
    with pytest.raises(ValueError, match=r"^cache file 'videos-1.safetensors' is damaged.$"):
        run(tmp_path, loop=replace(LOOP, num_workers=num_workers))


def test_a_stopped_run_leaves_a_checkpoint_of_its_last_step(run, tmp_path, tiny_backbone):
    unchecked = replace(LOOP, check_every=100, save_every=100)
    with pytest.MonkeyPatch.context() as patch:
        draw = batches.batch_indices

        def stopping(length, batch_size, seed, step):
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return draw(length, batch_size, seed, step)

        patch.setattr(batches, "batch_indices", stopping)
        with pytest.raises(Stopped):
            run(tmp_path, loop=unchecked)
    unet = load_backbone(tiny_backbone, ("unet",)).unet
    _, info = load_checkpoint(tmp_path / "checkpoint", unet, backbone_hash(tiny_backbone))
    assert info.step == 3
    assert read_info(run(tmp_path, loop=unchecked)).step == 4


def test_a_lost_checkpoint_of_a_finished_run_is_made_again(run, tmp_path):
    checkpoint = run(tmp_path)
    before = load_file(checkpoint / "trained.safetensors")
    shutil.rmtree(checkpoint)
    after = load_file(run(tmp_path) / "trained.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before.keys() | after.keys())


def test_errors_in_proportion_change_what_is_trained_and_not_what_is_checked(run, cache, tmp_path):
    still = replace(LOOP, steps=1, learning_rate=0.0, cross_attention_learning_rate=0.0)
    logs = {}
    for scale in (0.0, 0.1):
        folder = tmp_path / str(scale)
        run(folder, loop=replace(still, huber_scale=scale), held_out=cache)
        logs[scale] = {name: v for line in log_of(folder) for name, v in line.items()}
    assert logs[0.1]["loss"] < 0.5 * logs[0.0]["loss"]
    for name in ("true_0.5", "true_4", "true_40"):
        assert logs[0.1][name] == logs[0.0][name]


def test_a_run_starts_from_a_checkpoint_on_another_backbone_only_when_that_is_accepted(
    run, tmp_path, tiny_backbone
):
    first = run(tmp_path / "first", loop=replace(LOOP, steps=1))
    told = json.loads((first / "config.json").read_text())
    (first / "config.json").write_text(json.dumps(told | {"backbone_hash": "0" * 16}))
    with pytest.raises(ValueError, match=r"trained on backbone .* \(0000000000000000\)"):
        run(tmp_path / "second", start=first)
    still = replace(LOOP, steps=1, learning_rate=0.0, cross_attention_learning_rate=0.0)
    second = run(tmp_path / "second", loop=still, start=first, accept=["backbone"])
    begun, went_on = (load_file(folder / "trained.safetensors") for folder in (first, second))
    assert all(torch.equal(begun[name], went_on[name]) for name in begun)
    assert read_info(second).backbone_hash == backbone_hash(tiny_backbone)


def test_the_log_goes_to_trackers_too_and_a_missing_one_is_named(run, tmp_path):
    run(tmp_path / "run", loop=replace(LOOP, steps=1, trackers=("tensorboard",)))
    events = list((tmp_path / "run").rglob("events.out.tfevents*"))
    assert any(b"grad_norm" in path.read_bytes() for path in events)
    with pytest.raises(ValueError, match="trackers names nothing, which is not installed"):
        run(tmp_path / "other", loop=replace(LOOP, trackers=("nothing",)))
    assert not (tmp_path / "other").exists()


def test_a_run_in_bfloat16_trains_float32_weights_as_one_in_float32_does(run, cache, tmp_path):
    loop = replace(LOOP, steps=2)
    for precision in ("float32", "bfloat16"):
        run(tmp_path / precision, loop=loop, held_out=cache, precision=precision)
    whole, half = (
        load_file(tmp_path / name / "state/trainer.safetensors") for name in ("float32", "bfloat16")
    )
    assert {tensor.dtype for tensor in half.values()} == {torch.float32}
    # The gradients, as the first moment remembers them: alike, and not equal.
    names = [name for name in half if name.startswith("optimizer/exp_avg/")]
    one, two = (torch.cat([run[name].flatten() for name in names]) for run in (whole, half))
    assert 1e-4 < (one - two).norm() / one.norm() < 0.1
    with pytest.raises(ValueError, match="precision"):
        run(tmp_path / "bfloat16", loop=replace(loop, steps=3), precision="float32")


def test_a_frozen_float16_never_trains_without_a_gradient_scaler(run, tmp_path):
    with pytest.raises(ValueError, match=r"'float16' trains on a GPU only.* Use 'bfloat16' or"):
        run(tmp_path / "run", precision="float16")
    assert not (tmp_path / "run").exists()


def test_a_step_that_does_not_fit_the_device_is_refused_with_what_to_change():
    accelerator = make_accelerator("cpu")
    weight = torch.nn.Parameter(torch.ones(2))

    def too_large(step, part):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    with pytest.raises(ValueError, match=r"not fit .*'cpu'\. Change.* --precision bfloat16, --tr"):
        try_step(accelerator, too_large, 0, [weight])


def test_a_step_that_is_tried_leaves_no_gradient_behind(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "empty_cache", lambda: None)
    weight = torch.nn.Parameter(torch.ones(2))
    try_step(make_accelerator("cpu"), lambda step, part: weight.sum(), 0, [weight])
    assert weight.grad is None


@pytest.mark.parametrize("device", ["cuda:99", "tpu"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(run, tmp_path, device):
    with pytest.raises(ValueError, match=f"device '{device}' is not on this machine. Use 'cpu'"):
        run(tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def test_one_process_cannot_spread_anything(run, tmp_path):
    with pytest.raises(ValueError, match=r"this run has one\. Start it with accelerate launch"):
        run(tmp_path / "run", loop=replace(LOOP, spread_frozen=True))
    assert not (tmp_path / "run").exists()


def test_a_refused_run_leaves_the_record_of_the_one_that_is_there(run, tmp_path):
    run(tmp_path, loop=replace(LOOP, steps=1))
    record = (tmp_path / "run.json").read_text()
    with pytest.raises(ValueError, match=r"made with train\.learning_rate = 0.01"):
        run(tmp_path, loop=replace(LOOP, steps=1, learning_rate=1.0))
    assert (tmp_path / "run.json").read_text() == record


def test_videos_of_one_first_frame_are_drawn_with_one_noise(cache, run, tmp_path, monkeypatch):
    drawn = []
    draw = batches.draw_sample

    def watching(data, index, *rest):
        drawn.append((data.rows[index]["first_frame"], draw(data, index, *rest)))
        return drawn[-1][1]

    monkeypatch.setattr(batches, "draw_sample", watching)
    run(
        tmp_path,
        loop=replace(LOOP, steps=2, batch_size=4, hard_examples=HardExampleConfig(group_size=2)),
    )
    assert len(drawn) == 8
    for (frame, one), (other_frame, other) in zip(drawn[::2], drawn[1::2], strict=True):
        assert frame == other_frame
        assert torch.equal(one.noise, other.noise) and torch.equal(one.sigma, other.sigma)
        assert not torch.equal(one.latents, other.latents)
    assert not torch.equal(drawn[0][1].noise, drawn[2][1].noise)
    with pytest.raises(ValueError, match="no first frame of the cache has so many"):
        run(
            tmp_path / "more",
            loop=replace(LOOP, batch_size=3, hard_examples=HardExampleConfig(group_size=3)),
        )
