"""Loads the scripts of ``packaging/``, which is no package: it would shadow the library of that name."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "packaging"


def load(name):
    """Return a script as a module; those that it imports from beside itself are found."""
    loaded = sys.modules.get(f"dragoman_{name}")
    if loaded is not None:
        return loaded
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location(f"dragoman_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module
