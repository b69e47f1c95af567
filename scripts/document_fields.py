#!/usr/bin/env python3
"""The fields of the documents of --json: document_fields.py PROGRAM > fields.json

Makes every call of crates/miyasawa-cli/tests/written_by_0_1/calls.txt with the model beside it and
prints, for each, the paths of all fields, `[]` for the elements of a list. tests/compatible.rs
holds later versions to those that the version of commit e62b84a wrote.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

HERE = pathlib.Path(__file__).resolve().parent.parent
WRITTEN = HERE / "crates/miyasawa-cli/tests/written_by_0_1"


def png(path: pathlib.Path, side: int) -> None:
    """A grey ramp."""
    row = lambda y: bytes((8 * (x + y)) % 256 for x in range(side))
    rows = b"".join(b"\0" + row(y) for y in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def fields(value: object, path: str, found: set[str]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            found.add(f"{path}.{key}")
            fields(inner, f"{path}.{key}", found)
    elif isinstance(value, list):
        for inner in value:
            fields(inner, f"{path}[]", found)


def main() -> None:
    program = str(pathlib.Path(sys.argv[1]).resolve())
    documents = {}
    with tempfile.TemporaryDirectory() as folder:
        png(pathlib.Path(folder) / "a.png", 12)
        (pathlib.Path(folder) / "c.toml").write_bytes((WRITTEN / "c.toml").read_bytes())
        for call in (WRITTEN / "calls.txt").read_text().splitlines():
            args = call.replace("MODEL", str(WRITTEN / "run/model.safetensors")).split()
            done = subprocess.run([program, *args], cwd=folder, capture_output=True, text=True)
            if not done.stdout.startswith("{"):
                sys.exit(f"{call}: {done.stderr}")
            found: set[str] = set()
            fields(json.loads(done.stdout), "", found)
            documents[call] = sorted(found)
    json.dump(documents, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
