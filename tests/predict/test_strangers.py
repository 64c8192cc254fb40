"""A checkpoint, recipe, backbone or data set from a stranger reaches neither network nor models."""

import json
import shutil
import socket
import threading

import pytest
from checkpoints import write_tiny_model
from PIL import Image

import aid.cli
from aid import AIDPipeline
from aid.conditioning.local_model import LocalModel
from aid.models.backbone import load_backbone
from aid.predict import Predictor

SAID = "push the red ball left"
NAMES = ["server:{url}/v1#m?prompt=1", "vlm:somebody/model?prompt=1", "smollm2?prompt=1"]


@pytest.fixture
def listener():
    """A server that only counts who connects: its address, and the list of connections."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append(connection.recv(100))
                connection.sendall(b"HTTP/1.1 404 nobody\r\nContent-Length: 0\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):  # all of it, or the client sees a broken pipe
                    pass
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", connections
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def guarded(listener, monkeypatch):
    """The listener's address, with a key in the environment and no language model allowed."""
    url, connections = listener

    def load(*_, **__):
        pytest.fail("a language model was loaded")

    monkeypatch.setattr(LocalModel, "_load", load)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    yield url
    assert connections == []


@pytest.fixture
def picture(tmp_path, frame):
    Image.fromarray(frame).save(tmp_path / "frame.png")
    return tmp_path / "frame.png"


@pytest.fixture
def checkpoint(tmp_path, tiny_backbone, tiny_config):
    """Makes a checkpoint that names a state writer and claims what its states see."""

    def write(name):
        folder = write_tiny_model(
            tmp_path / "stranger/aid", tiny_backbone, tiny_config, state_writer=name
        )
        settings = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(settings | {"states_see": ["first_frame"]}))
        return folder

    return write


@pytest.mark.parametrize("name", NAMES)
def test_no_entry_point_asks_a_model_that_only_a_checkpoint_names(
    name, guarded, checkpoint, tiny_backbone, tiny_manifest, picture, frame, tmp_path, capsys
):
    from aid.web.limits import Limits
    from aid.web.studio import Model, Studio

    folder = checkpoint(name.format(url=guarded))
    model = ["--model", str(folder), "--backbone", str(tiny_backbone)]
    commands = [
        ["predict", str(picture), SAID, "--out", str(tmp_path / "x.mp4"), *model],
        ["tabletop", "demo", "--out", str(tmp_path / "demo"), *model],
        ["evaluate", "--data", str(tiny_manifest), "--out", str(tmp_path / "r"), *model],
    ]
    for command in commands:
        assert aid.cli.main(command) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith("error: ")
        assert "Give the states" in told and "--states_from" in told
    assert not (tmp_path / "x.mp4").exists()
    predictor = Predictor.from_pretrained(folder, tiny_backbone, "cpu")
    pipeline = AIDPipeline.from_pretrained(folder, tiny_backbone)
    studio = Studio([Model.load(str(folder), str(tiny_backbone), "cpu")], Limits())
    for ask in (
        lambda: predictor(frame, SAID),
        lambda: pipeline(frame, SAID),
        lambda: studio.states(picture, SAID),
    ):
        with pytest.raises(ValueError, match="only used if you name it yourself"):
            ask()
    states = ["the ball moves"]
    assert predictor(frame, SAID, states=states, num_steps=1).state_writer == "caller"


def test_a_model_that_the_user_names_is_asked(listener, checkpoint, tiny_backbone, picture, capsys):
    """Without this the test above would pass for a program that can ask nobody."""
    url, connections = listener
    name = f"server:{url}/v1#m"
    flags = ["--model", str(checkpoint(name)), "--backbone", str(tiny_backbone), "--num_steps", "1"]
    command = ["predict", str(picture), SAID, "--out", str(picture.with_suffix(".mp4")), *flags]
    assert aid.cli.main([*command, "--states_from", name]) == 2
    assert "has no chat completions" in capsys.readouterr().err
    assert connections[0].startswith(b"POST /v1/chat/completions")


@pytest.mark.parametrize("name", ["replay", "column:plan", "somebody else", "x" * 1000])
def test_recorded_states_of_a_checkpoint_must_be_given_for_a_new_frame(
    name, checkpoint, tiny_backbone, frame
):
    folder = checkpoint(name)
    predictor = Predictor.from_pretrained(folder, tiny_backbone, "cpu")
    with pytest.raises(ValueError, match="trained on states by") as error:
        predictor(frame, SAID)
    assert str(error.value).isprintable() and len(str(error.value)) < 500
    assert predictor.describe().replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("states_from: 'server:{url}/v1#m'", "a language model or a server"),
        ("states_from: vlm:somebody/model", "a language model or a server"),
        ("states_from: smollm2", "a language model or a server"),
        ("model: somebody/model", "no folder here"),
        ("backbone: somebody/model", "no folder here"),
        ("backbone: '{url}/x'", "behind a URL"),
    ],
)
def test_a_recipe_cannot_name_the_model_that_is_asked(
    recipe, words, guarded, tmp_path, picture, capsys
):
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.format(url=guarded))
    command = ["predict", str(picture), SAID, "--out", str(tmp_path / "x.mp4")]
    assert aid.cli.main([*command, "--config", str(file)]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "say it yourself: --" in told


def test_a_recipe_may_name_the_model_that_the_flag_names(tmp_path, picture, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text("states_from: 'server:http://127.0.0.1:9/v1#m'")
    command = ["predict", str(picture), SAID, "--config", str(file), "--model", "nowhere"]
    assert aid.cli.main([*command, "--states_from", "none"]) == 2
    assert "'nowhere' does not exist" in capsys.readouterr().err


def test_recorded_states_of_a_server_are_replayed_without_a_request(
    guarded, tiny_manifest, tiny_backbone, tmp_path
):
    name = f"server:{guarded}/v1#m?prompt=1"
    shutil.copytree(tiny_manifest, tmp_path / "data")
    rows = [
        json.loads(line) for line in (tmp_path / "data/manifest.jsonl").read_text().splitlines()
    ]
    rows = [row | {"state_writer": name, "states_see": "first_frame"} for row in rows]
    (tmp_path / "data/manifest.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    command = ["prepare", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "cache")]
    command += ["--backbone", str(tiny_backbone), "--model.num_frames", "3"]
    assert aid.cli.main(command) == 0
    made = json.loads((tmp_path / "cache/cache.json").read_text())
    assert made["fingerprint"]["state_writer"] == name


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{url}/a.mp4'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation>'
        "<BaseURL>{url}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    ],
)
def test_a_video_that_is_a_list_of_addresses_is_refused(
    content, guarded, tiny_manifest, tiny_backbone, tmp_path, capsys
):
    shutil.copytree(tiny_manifest, tmp_path / "data")
    (tmp_path / "data/videos/0.mp4").write_text(content.format(url=guarded))
    command = ["prepare", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "cache")]
    command += ["--backbone", str(tiny_backbone), "--model.num_frames", "3"]
    assert aid.cli.main(command) == 2
    assert "0.mp4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attn_implementation": "somebody/kernels"}, "attn_implementation"),
        ({"auto_map": {"AutoModel": "somebody/model--code.Model"}}, "auto_map"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config"),
    ],
)
@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_backbone_that_brings_code_is_refused(part, change, words, tiny_backbone, tmp_path):
    shutil.copytree(tiny_backbone, tmp_path / "backbone")
    file = tmp_path / "backbone" / part / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=f"config.json' sets '{words}'"):
        load_backbone(tmp_path / "backbone", [part])


def test_a_backbone_that_names_another_model_is_refused(tiny_backbone, tmp_path):
    shutil.copytree(tiny_backbone, tmp_path / "backbone")
    file = tmp_path / "backbone/text_encoder/adapter_config.json"
    file.write_text('{"base_model_name_or_path": "somebody/model"}')
    with pytest.raises(ValueError, match="names another model to load"):
        load_backbone(tmp_path / "backbone", ["text_encoder"])
