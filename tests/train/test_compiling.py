import sysconfig

import pytest
import torch
from torch import nn

from aid.train.execution import compile_unet, plain_errors, without_compiling

CPU = torch.device("cpu")


class Layer(nn.Module):
    def forward(self, x):
        return x + 1


def test_a_missing_compiler_or_header_is_named_before_anything_is_compiled(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setenv("CXX", "no-such-compiler")
        with pytest.raises(ValueError, match=r"C\+\+ compiler, and 'no-such-compiler' .* g\+\+\)"):
            compile_unet(Layer(), CPU)
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(ValueError, match=r"Python's headers, and .*Python\.h' .* python3-dev"):
        compile_unet(Layer(), CPU)


def test_pages_of_a_compiler_become_a_sentence_and_stay_as_its_cause():
    def failing(graph, inputs):
        raise RuntimeError("C++ compile error\n" + "page\n" * 100)

    layer = Layer()
    layer.compile(backend=failing)
    words = r"^torch.compile failed \(C\+\+ compile error\)\. Train without"
    with pytest.raises(ValueError, match=words) as caught, plain_errors():
        layer(torch.zeros(1, 2))
    assert "\n" not in str(caught.value)
    assert "page" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match="its own"), plain_errors():
        raise RuntimeError("its own")


def test_checks_run_without_compiling():
    graphs = []
    layer = Layer()
    layer.compile(backend=lambda graph, inputs: graphs.append(graph) or graph)
    without_compiling(lambda: layer(torch.zeros(1, 2)))()
    assert not graphs
    layer(torch.zeros(1, 2))
    assert len(graphs) == 1
