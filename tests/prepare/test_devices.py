"""Device, precision and batch size: what they change, and what is refused before anything is
written."""

import json

import pytest
import torch
from prepared import contents, make, shards

from aid.cli import main
from aid.models.backbone import Backbone
from aid.prepare.encoding import EncodingJob


def command(data, out, backbone, *more):
    return [
        "prepare", "--data", str(data), "--out", str(out), "--backbone", str(backbone),
        "--model.num_frames", "3", *more,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--device", "cuda:7"], "device 'cuda:7' is not on this machine"),
        (["--device", "gpu"], "device 'gpu' is not on this machine"),
        (["--batch_size", "0"], "batch_size must be at least 1 frame, got 0"),
        (["--precision", "float8"], "precision must be one of float32, bfloat16, float16"),
        (["--frames.height", "20"], "multiple of 8"),
        (["--states", "nobody"], "no state writer is called 'nobody'"),
        (["--backbone", "nowhere"], "nowhere"),
    ],
)
def test_a_refused_command_leaves_no_folder(
    tiny_manifest, tiny_backbone, tmp_path, capsys, more, words
):
    out = tmp_path / "new/out"
    try:
        code = main(command(tiny_manifest, out, tiny_backbone, *more))
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert words in capsys.readouterr().err
    assert not out.parent.exists()


def test_too_little_memory_names_the_setting_before_anything_is_written(
    tiny_manifest, tiny_backbone, tmp_path, monkeypatch
):
    def run_out(self, frames, chunk):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(Backbone, "encode", run_out)
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"16 frames of 64 x 64 .* --batch_size 8"):
        make(tiny_manifest, out, tiny_backbone)
    with pytest.raises(ValueError, match=r"1 frames of 64 x 64 .* --device cpu"):
        make(tiny_manifest, out, tiny_backbone, batch_size=1)
    assert not out.exists()


def test_never_more_frames_are_encoded_at_once_than_asked(
    finished, tiny_manifest, tiny_backbone, tmp_path, monkeypatch
):
    """And the cache is the same up to the rounding of what it stores."""
    most = 0
    mode = Backbone._mode

    def counted(self, frames, chunk):
        nonlocal most
        most = max(most, min(len(frames), chunk))
        return mode(self, frames, chunk)

    monkeypatch.setattr(Backbone, "_mode", counted)
    make(tiny_manifest, tmp_path / "out", tiny_backbone, batch_size=2)
    assert most == 2
    for kind in ("videos", "first_frames"):
        pairs = zip(shards(finished, kind), shards(tmp_path / "out", kind), strict=True)
        for before, now in pairs:
            for name, tensor in before.items():
                assert torch.allclose(tensor.float(), now[name].float(), atol=2e-3), name


def test_another_precision_is_another_cache(finished, tiny_manifest, tiny_backbone, tmp_path):
    out = tmp_path / "half"
    make(tiny_manifest, out, tiny_backbone, precision="bfloat16")
    pairs = list(zip(shards(finished, "videos"), shards(out, "videos"), strict=True))
    assert any(not torch.equal(a["latents"], b["latents"]) for a, b in pairs)
    for whole, half in pairs:
        assert torch.allclose(whole["latents"].float(), half["latents"].float(), atol=0.05)
    assert json.loads((out / "cache.json").read_text())["fingerprint"]["precision"] == "bfloat16"
    assert not contents(out).keys() & {p.name for p in finished.glob("*-*.safetensors")}
    with pytest.raises(
        ValueError, match="made with precision = 'bfloat16', and 'float32' is requested"
    ):
        make(tiny_manifest, out, tiny_backbone)


def test_the_encoders_are_tried_on_an_accelerator_before_the_folder_is_made(
    tiny_manifest, tiny_backbone, tmp_path, monkeypatch
):
    """An accelerator of which this machine only has the name: memory runs out in the trial."""
    tried = []

    def run_out(self, parts):
        tried.append((tmp_path / "out").exists())
        raise torch.OutOfMemoryError

    monkeypatch.setattr("aid.prepare.encoding.choose_device", lambda device: torch.device("meta"))
    monkeypatch.setattr(EncodingJob, "_try_batch", run_out)
    with pytest.raises(ValueError, match=r"'meta' has too little memory.*--batch_size 8"):
        make(tiny_manifest, tmp_path / "out", tiny_backbone)
    assert tried == [False]
