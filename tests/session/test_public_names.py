"""What `import llama_nb` gives, and that it costs nothing."""

import subprocess
import sys

import pytest

import llama_nb

HEAVY = ("torch", "transformers", "ipywidgets", "IPython", "anywidget", "numpy", "pandas", "jinja2")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_every_public_name_is_there() -> None:
    assert set(llama_nb.__all__) == set(dir(llama_nb))
    for name in llama_nb.__all__:
        assert getattr(llama_nb, name) is not None
    with pytest.raises(AttributeError, match="nope"):
        llama_nb.nope  # noqa: B018 - the access is the test


@pytest.mark.parametrize(
    "code",
    [
        "import llama_nb",
        "import llama_nb; llama_nb.load, llama_nb.Model, llama_nb.Reply, llama_nb.Chat, llama_nb.loaded()",
        "import llama_nb as l; l.models.find('scout'), l.licence('3.3 70b'), l.select(vram_gb=48)",
    ],
)
def test_importing_imports_nothing_heavy(code: str) -> None:
    assert run(f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules])") == "[]"
