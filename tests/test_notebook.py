"""minidl/lab/notebook.py in a real Jupyter kernel; skipped where there is none."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("ipykernel")
manager = pytest.importorskip("jupyter_client.manager")


@pytest.fixture(scope="module")
def cell(tmp_path_factory, module_folder):
    """Runs a cell in a kernel that stands in the project -> its text, pictures and errors."""
    out = tmp_path_factory.mktemp("notebook") / "out"
    environment = os.environ | {"IPYTHONDIR": str(out.parent)}
    kernel, client = manager.start_new_kernel(kernel_name="python3", cwd=ROOT, env=environment)

    def run(code):
        text, pictures, errors = "", 0, []

        def take(message):
            nonlocal text, pictures
            content = message["content"]
            text += content.get("text", "")
            pictures += "image/png" in content.get("data", {})
            errors.extend([content["ename"]] if "ename" in content else [])

        client.execute_interactive(
            code.format(f"--quick --epochs 1 --data {module_folder} --out {out}"),
            output_hook=take, timeout=600)
        return text, pictures, errors

    yield run
    client.stop_channels()
    kernel.shutdown_kernel(now=True)


def test_run_shows_the_scripts_figures_below_the_cell(cell):
    text, pictures, errors = cell("%run assignments/ex2_conv_ae.py {}")
    assert errors == [] and pictures >= 2 and "test l1" in text


def test_a_mistake_is_a_sentence_without_a_traceback(cell):
    for flag in ("--latent 0", "--data /nowhere"):
        text, _, errors = cell(f"%run assignments/ex2_conv_ae.py {{}} {flag}")
        assert errors == [] and "ex2_conv_ae.py: " in text
        assert "Traceback" not in text and "SystemExit" not in text


def test_a_class_of_a_script_is_imported_as_the_readme_says(cell):
    (line,) = [line for line in (ROOT / "README.md").read_text().splitlines()
               if line.startswith("import sys; sys.path")]
    text, _, errors = cell(f"{line}\nfrom ex2_conv_ae import Encoder\nprint(Encoder())")
    assert errors == [] and "Conv2d" in text
