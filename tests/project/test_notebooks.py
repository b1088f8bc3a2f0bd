"""The tool that stores the notebooks' outputs: what it strips, and that it notices what is not its own."""

from pathlib import Path

import nbformat
import pytest

from tools import notebooks


def notebook_with_traces() -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=1)
    cell.metadata = nbformat.from_dict({"execution": {"iopub.execute_input": "2026"}, "tags": ["exercise"]})
    output = nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=1)
    output.metadata = nbformat.from_dict({"isolated": True})
    cell.outputs = [output]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata = nbformat.from_dict({"widgets": {"state": {}}, "language_info": {"version": "3.11.7"}})
    return notebook


def test_what_a_front_end_adds_is_stripped() -> None:
    notebook = notebook_with_traces()
    notebooks.strip(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    assert notebook.cells[0].metadata == {"tags": ["exercise"]}
    assert notebook.cells[0].id == "cell-01"
    assert notebook.cells[0].outputs[0].metadata == {}


def test_a_notebook_that_was_not_stored_by_the_tool_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    notebook = notebook_with_traces()
    nbformat.write(notebook, path)
    assert notebooks.unstripped(path) == "it holds what front ends add"
    notebooks.strip(notebook)
    nbformat.write(notebook, path)
    assert notebooks.unstripped(path) == ""
    notebook.cells[0].execution_count = None
    nbformat.write(notebook, path)
    assert notebooks.unstripped(path) == "not every cell was run"


def test_an_output_that_differs_fails_the_check(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.ipynb"
    cell = nbformat.v4.new_code_cell("print(6 * 7)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    notebooks.run(path)
    assert notebooks.check([path]) == 0
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"42\\n"', '"41\\n"'), encoding="utf-8")
    assert notebooks.check([path]) == 1
    assert "1 failed" in capfd.readouterr().out
