"""`pip install .` where there is no Node: what is installed loads, chats, and shows in JupyterLab.

The fresh environment borrows the dependencies of this one; only the package itself is built and installed.
"""

import os
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

PROGRAM = """
from pathlib import Path
import llama_nb as llama
package = Path(llama.__file__).parent
files = ["py.typed", "widgets/static/reply.js", "bundled/cria/model.safetensors"]
for name in [*files, "notebooks/01_meet_your_llama.ipynb"]:
    assert (package / name).is_file(), name
model = llama.load("cria")
print(package, len(model.chat("What is a token?", temperature=0, max_tokens=5).tokens))
"""


class Fresh:
    """A new virtual environment on a PATH with nothing else on it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("PYTHON", "JUPYTER"))
            },
            "PATH": str(folder / "bin"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "IPYTHONDIR": str(folder / "ipython"),
        }

    def borrow_dependencies(self) -> None:
        """See this environment's packages; its own .pth files (and so the checkout) are not followed."""
        path = subprocess.run(
            [self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        borrowed = Path(path.stdout.strip()) / "borrowed.pth"
        borrowed.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    def run(self, arguments: Sequence[str], cwd: Path) -> str:
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def source(root: Path, tracked: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, as a clone has them."""
    folder = tmp_path_factory.mktemp("source")
    for path in tracked:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, folder / path)
    return folder


def test_install_without_node(source: Path, tmp_path: Path) -> None:
    fresh = Fresh(tmp_path / "venv")
    assert shutil.which("node", path=fresh.environment["PATH"]) is None
    fresh.run(["-m", "pip", "install", "--quiet", "--no-deps", "."], cwd=source)
    fresh.borrow_dependencies()
    said = fresh.run(["-c", PROGRAM], cwd=tmp_path).split()
    assert Path(said[-2]).is_relative_to(fresh.folder)
    assert said[-1] == "5"
    assert (fresh.folder / "share/jupyter/labextensions/llama-nb/package.json").is_file()
    fresh.environment["JUPYTER_DATA_DIR"] = str(tmp_path / "data")
    listed = fresh.run(["-m", "jupyterlab.labextensions", "list"], cwd=tmp_path)
    assert "llama-nb" in listed
    assert "enabled" in listed.split("llama-nb", 1)[1]
    magic = "shell.run_line_magic('load_ext', 'llama_nb'); print(shell.run_line_magic('llama', 'models'))"
    program = f"from IPython.testing.globalipapp import start_ipython\nshell = start_ipython()\n{magic}"
    assert "cria" in fresh.run(["-c", program], cwd=tmp_path)


@pytest.mark.full
def test_a_wheel_from_the_sdist_is_the_same(source: Path, tmp_path: Path) -> None:
    fresh = Fresh(tmp_path / "venv")
    fresh.borrow_dependencies()
    fresh.run(["-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist"), "."], cwd=source)
    fresh.run(
        ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path / "direct"), "."], cwd=source
    )
    (through,) = (tmp_path / "dist").glob("*.whl")
    (direct,) = (tmp_path / "direct").glob("*.whl")
    listings = [
        fresh.run(["-m", "zipfile", "--list", str(wheel)], cwd=tmp_path) for wheel in (through, direct)
    ]
    names = [{line.split()[0] for line in listing.splitlines()[1:]} for listing in listings]
    assert names[0] == names[1]
