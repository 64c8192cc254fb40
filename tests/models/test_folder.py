import httpx
import pytest
from huggingface_hub import errors

from aid.models import folder as backbone_folder
from aid.models.folder import backbone_hash, fetch_backbone, is_name, part_folder, sources_of
from aid.predict import find_backbone

NAME = "stabilityai/stable-video-diffusion-img2vid"


@pytest.fixture
def online(tiny_backbone, monkeypatch, tmp_path):
    """A hub that has the tiny backbone, its text tower in a second repository."""
    asked = []
    revisions = {"video": tmp_path / "video" / "abc123", "text": tmp_path / "text" / "def456"}
    for folder, parts in (
        (revisions["video"], backbone_folder.VIDEO_PARTS),
        (revisions["text"], backbone_folder.TEXT_PARTS),
    ):
        folder.mkdir(parents=True)
        for part in parts:
            (folder / part).symlink_to(tiny_backbone / part)
    (revisions["video"] / "model_index.json").symlink_to(tiny_backbone / "model_index.json")

    def download(repository, revision, allow_patterns):
        asked.append((repository, revision, tuple(allow_patterns)))
        return str(revisions["video" if "unet/*.json" in allow_patterns else "text"])

    monkeypatch.setattr(backbone_folder, "snapshot_download", download)
    monkeypatch.setattr(backbone_folder.constants, "HF_HOME", str(tmp_path / "home"))
    return asked


def test_names_are_told_from_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_name(NAME)
    assert is_name(f"{NAME}-xt@v1.0+owner/text@main")
    (tmp_path / "runs" / "backbone").mkdir(parents=True)
    assert not is_name("runs/backbone")
    assert not is_name("/some/deep/folder")
    assert not is_name("tabletop")


def test_a_name_has_a_revision_and_a_text_tower():
    video, text = sources_of(NAME)
    assert (video.repository, video.revision) == (NAME, None)
    assert text.repository == backbone_folder.TEXT_TOWER
    video, text = sources_of(f"{NAME}@abc+stable-diffusion-v1-5/stable-diffusion-v1-5@def")
    assert (video.revision, text.revision) == ("abc", "def")
    assert text.repository == "stable-diffusion-v1-5/stable-diffusion-v1-5"


def test_a_named_backbone_is_a_whole_folder_in_half_precision_files(online, tiny_backbone):
    folder = find_backbone(f"{NAME}@abc")
    assert backbone_hash(folder) == backbone_hash(tiny_backbone)
    assert {path.name for path in folder.iterdir()} == {
        *backbone_folder.VIDEO_PARTS, *backbone_folder.TEXT_PARTS, "model_index.json",
    }  # fmt: skip
    (repository, revision, patterns), (text, _, _) = online
    assert (repository, revision, text) == (NAME, "abc", backbone_folder.TEXT_TOWER)
    assert "unet/*.fp16.safetensors" in patterns
    assert not any(pattern.endswith((".bin", "/*")) for pattern in patterns)
    assert find_backbone(f"{NAME}@abc") == folder, "the second time it is there"


RESPONSE = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co"))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errors.GatedRepoError("no", response=RESPONSE), r"accept.*hf auth login"),
        (errors.RepositoryNotFoundError("no", response=RESPONSE), "no repository"),
        (errors.RevisionNotFoundError("no", response=RESPONSE), "no revision 'abc'"),
        (
            errors.LocalEntryNotFoundError("offline"),
            rf"without HF_HUB_OFFLINE, run: hf download {NAME} --revision abc --include",
        ),
        (OSError("no route to host"), "run: hf download"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_had_is_answered_with_the_command_that_mends_it(
    online, monkeypatch, error, remedy
):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(backbone_folder, "snapshot_download", refuse)
    with pytest.raises(ValueError, match=remedy):
        fetch_backbone(f"{NAME}@abc")


def test_a_repository_in_another_layout_is_refused_and_leaves_nothing(online, tmp_path):
    (tmp_path / "text" / "def456" / "tokenizer").unlink()
    with pytest.raises(ValueError, match="has no folder 'tokenizer'"):
        fetch_backbone(NAME)
    assert list((tmp_path / "home" / "aid").iterdir()) == []


def test_a_missing_part_is_named_with_the_remedy_that_fits(tmp_path):
    with pytest.raises(ValueError, match=r"has no 'unet' folder. There is no such folder; correct"):
        part_folder(tmp_path / "nowhere", "unet")
    with pytest.raises(
        ValueError, match=r"folder. Copy it there from where the backbone came from.$"
    ):
        part_folder(tmp_path, "unet")
    with pytest.raises(ValueError, match=r"has no text tower; this adds one: hf download"):
        part_folder(tmp_path, "text_encoder")
