"""Make ``assets/tokens/o200k_base.gz`` from the npm package ``js-tiktoken``.

::

    npm pack js-tiktoken
    .venv/bin/python packaging/tokens.py js-tiktoken-1.0.21.tgz

``dist/ranks/o200k_base.js`` in the package is one JavaScript object: the pattern that cuts a text
into words, the special tokens, and the ranks as text, ``! OFFSET TOKEN TOKEN ...`` in base64, where
the token at place *i* of a line has the rank OFFSET + *i*.

The result, before gzip, has three parts one after the other:

- one line of JSON: ``pattern``, ``special`` (text to rank), ``count`` and ``source``;
- ``count`` bytes: the length in bytes (1 to 255) of each token, by rank from 0;
- the tokens, by rank, with nothing between them.

It has no time stamp, so that the same package gives the same bytes. The licence of the package and
where it came from are written to ``assets/tokens/README.md`` by hand.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
import tarfile
from pathlib import Path

_MEMBER = "package/dist/ranks/o200k_base.js"
_TARGET = Path(__file__).resolve().parent.parent / "assets" / "tokens" / "o200k_base.gz"


def read_package(path: str) -> tuple[dict, str]:
    """Return the ranks object of a package file and the package's name with its version."""
    with tarfile.open(path) as package:
        script = package.extractfile(_MEMBER).read().decode()
        about = json.load(package.extractfile("package/package.json"))
    ranks = json.loads(script[script.index("{") : script.rindex("}") + 1])
    return ranks, f"{about['name']} {about['version']}"


def read_tokens(text: str) -> list[bytes]:
    """Return the tokens by rank."""
    by_rank: dict[int, bytes] = {}
    for line in filter(None, text.split("\n")):
        _, offset, *tokens = line.split(" ")
        for place, token in enumerate(tokens):
            by_rank[int(offset) + place] = base64.b64decode(token)
    if sorted(by_rank) != list(range(len(by_rank))):
        raise SystemExit("The ranks are not 0, 1, 2 and so on; the format has changed.")
    return [by_rank[rank] for rank in range(len(by_rank))]


def render(ranks: dict, source: str) -> bytes:
    """Return the content of the asset."""
    tokens = read_tokens(ranks["bpe_ranks"])
    head = {
        "pattern": ranks["pat_str"],
        "special": ranks["special_tokens"],
        "count": len(tokens),
        "source": source,
    }
    lengths = bytes(len(token) for token in tokens)
    plain = json.dumps(head).encode() + b"\n" + lengths + b"".join(tokens)
    return gzip.compress(plain, compresslevel=9, mtime=0)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    content = render(*read_package(sys.argv[1]))
    _TARGET.parent.mkdir(parents=True, exist_ok=True)
    _TARGET.write_bytes(content)
    print(f"{_TARGET.name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
