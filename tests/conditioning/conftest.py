import pytest
from language_models import write_tiny_llava


@pytest.fixture(scope="session")
def llava(tmp_path_factory):
    """The folder of a tiny vision-language model that has learnt four answers."""
    return write_tiny_llava(tmp_path_factory.mktemp("models") / "llava", steps=150)
