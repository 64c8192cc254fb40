"""The documents say what is true: files, commands, settings and code blocks."""

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import fields, is_dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
import yaml
from checkpoints import write_tiny_model
from PIL import Image

import aid
from aid.cli import COMMANDS
from aid.cli.parser import flags_of, name_of
from aid.config import ModelConfig, SamplerConfig, TrainConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SOURCES = sorted((ROOT / "src/aid").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def section(text, title):
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_architecture_names_every_package_and_no_other():
    table = section((ROOT / "docs/architecture.md").read_text(), "Packages")
    packages = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / "src/aid").iterdir()
        if not path.name.startswith("__")
    }
    assert set(re.findall(r"^\| `([\w./]+)` \|", table, re.MULTILINE)) == packages


def anchors(page):
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    links = re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text())
    for target, anchor in links:
        if target.startswith("http"):
            continue
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name} links to nothing: {target}"
        assert not anchor or anchor in anchors(path), f"{page.name}: no heading {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_compiles(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        ast.parse(block)


def test_the_readmes_python_runs(tmp_path, monkeypatch, tiny_backbone, tiny_config, capsys):
    """Word for word, except that "tabletop" is the tests' tiny model."""
    model = write_tiny_model(tmp_path / "model", tiny_backbone, tiny_config)
    load = aid.Predictor.from_pretrained

    def load_tiny(name):
        assert name == "tabletop"
        return load(model, tiny_backbone)

    monkeypatch.setattr(aid.Predictor, "from_pretrained", load_tiny)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((64, 64, 3), 120, np.uint8)).save("frame.png")
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 1
    with pytest.warns(UserWarning, match="cut off"):  # the tiny tokenizer spells the words out
        exec(compile(blocks[0], "README.md", "exec"), {})
    assert "(3, 64, 64, 3)" in capsys.readouterr().out
    assert (tmp_path / "prediction.mp4").stat().st_size > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_documents_have_only_flags_that_exist(page):
    text = page.read_text().replace("\\\n", " ")
    for recipe in re.findall(r"--(?:config|recipe) (configs/\S+\.yaml)", text):
        assert (ROOT / recipe).is_file(), f"there is no {recipe}"
    for words in re.findall(r"\baid(?:\.cli)? (\w[^\n`#]*)", text):
        flags, name = re.findall(r"--(\w+)", words), name_of(words.split(), COMMANDS)
        if not flags:
            continue
        assert name in COMMANDS, f"there is no command aid {words}"
        known = {*flags_of(COMMANDS[name]), "config", "help"}
        assert set(flags) <= known, f"aid {name} has no --{', --'.join(set(flags) - known)}"


def test_the_recipes_commands_have_only_flags_that_exist():
    for path in (ROOT / "configs").rglob("*.yaml"):
        head = "".join(
            line.removeprefix("#").replace("COMMAND", "").strip().removesuffix("\\") + " "
            if line.rstrip().endswith("\\")
            else line.removeprefix("#").replace("COMMAND", "").strip() + "\n"
            for line in path.read_text().splitlines()
            if line.startswith("#")
        )
        for words in re.findall(r"^(?:aid|.*\baid\.cli) (\w.*)$", head, re.MULTILINE):
            known = {*flags_of(COMMANDS[name_of(words.split(), COMMANDS)]), "config"}
            assert set(re.findall(r"--(\w+)", words)) <= known, f"{path.name}: aid {words}"
            for recipe in re.findall(r"--config (\S+)", words):
                assert (ROOT / recipe).is_file(), f"{path.name} names {recipe}"


def test_make_help_names_every_target():
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE).group(1).split()
    told = set(re.findall(r'@echo "make (\w+)', text))
    assert told == set(targets) - {"help"}
    assert {"make demo", "make test"} <= set(re.findall(r"make \w+", README))


def test_ci_runs_what_people_run():
    script = (ROOT / ".ci/run").read_text()
    assert "set -euo pipefail" in script
    assert "make check" in script
    assert "AID_REQUIRE_GL=1" in script
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_every_file_of_the_code_says_what_it_is_for():
    silent = [str(p) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not silent


def test_the_paper_map_has_every_setting_that_is_not_in_the_paper():
    """A field whose docstring says "Not in the paper" needs a row."""
    said = (ROOT / "docs/paper_map.md").read_text()
    missing = [name for cls in (ModelConfig, SamplerConfig, TrainConfig) for name in silent_on(cls)]
    missing = [name for name in missing if f".{name}`" not in said and f"`{name}`" not in said]
    assert not missing, f"docs/paper_map.md has no row for {missing}"


def silent_on(cls):
    """Names of the fields of a config, nested ones included, on which the paper is silent."""
    found = []
    for one in [c for c in cls.__mro__ if is_dataclass(c)]:
        body = ast.parse(Path(sys.modules[one.__module__].__file__).read_text()).body
        node = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == one.__name__)
        for name, doc in zip(node.body, node.body[1:], strict=False):
            told = isinstance(name, ast.AnnAssign) and isinstance(doc, ast.Expr)
            if told and "Not in the paper" in " ".join(doc.value.value.split()):
                found.append(name.target.id)
    for field in fields(cls):
        if is_dataclass(field.default_factory):
            found += silent_on(field.default_factory)
    return found


def test_settings_named_in_the_paper_map_exist():
    said = (ROOT / "docs/paper_map.md").read_text()
    roots = {"model": ModelConfig, "sampler": SamplerConfig, "train": TrainConfig}
    for room, names in re.findall(r"`(model|sampler|train)((?:\.\w+)+)`", said):
        at = roots[room]()
        for name in names.strip(".").split("."):
            assert hasattr(at, name), f"docs/paper_map.md names {room}{names}"
            at = getattr(at, name)


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *(d for e in extras if e != "dev" for d in extras[e])]
    names = {re.match(r"[\w-]+", line).group().lower() for line in declared}
    told = (ROOT / "docs/architecture.md").read_text().lower()
    assert all(f"| {name}" in told for name in names), "docs/architecture.md, Dependencies"
    owners = packages_distributions()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                modules = [node.module] if node.level == 0 else []
            else:
                modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for module in {m.split(".")[0] for m in modules} - {"aid", *sys.stdlib_module_names}:
                # What an extra brings may not be installed; packages are mostly named alike.
                owned_by = {name.lower() for name in owners.get(module, (module,))}
                assert owned_by & names, f"{path.name} imports {module}, which is not declared"


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == aid.__version__
    assert f"## {aid.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert citation["preferred-citation"]["year"] == 2025


def test_the_contributing_page_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 150


def test_the_import_rules_hold():
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [lint, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_example_is_short_and_imports_what_exists():
    path = ROOT / "examples/step_by_step.py"
    lines = path.read_text().splitlines()
    assert len(lines) <= 70
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("aid"):
            module = __import__(node.module, fromlist=[a.name for a in node.names])
            assert all(hasattr(module, a.name) for a in node.names)
