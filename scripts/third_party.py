"""Writes the licences of every crate in the program: third_party.py TARGET > THIRD-PARTY.txt

TARGET is a triple, as `x86_64-unknown-linux-gnu`. Reads `cargo metadata` and the files in the
crates' own folders. The same text is printed once, with the crates that it belongs to. Ends with an
error if a crate has no licence.
"""

import json
import pathlib
import subprocess
import sys

target = sys.argv[1]


def cargo(command):
    command = ["cargo", *command.split()]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def licence_files(folder):
    for file in sorted(folder.rglob("*")):
        words = any(word in file.name.lower() for word in ("licen", "copying", "notice"))
        # Fonts have theirs beside them, by the names of the licences.
        words = words or "fonts" in file.relative_to(folder).parts
        if words and file.is_file() and file.suffix.lower() in ("", ".txt", ".md"):
            yield file


# `cargo metadata` knows the folders, but also lists crates that no feature in use asks for;
# `cargo tree` does not. Build scripts and macros are not linked; to name them too is simpler.
metadata = json.loads(cargo(f"metadata --locked --format-version 1 --filter-platform {target}"))
crates = {(crate["name"], crate["version"]): crate for crate in metadata["packages"]}
tree = cargo(f"tree --locked -p miyasawa-cli -e normal,build --target {target} --prefix none")
used = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
used = sorted((name, version.removeprefix("v")) for name, version in used)

texts, lines, bare = {}, [], []
for crate in (crates[key] for key in used):
    if not crate["source"]:
        continue  # one of this project's own
    name = f"{crate['name']} {crate['version']}"
    files = list(licence_files(pathlib.Path(crate["manifest_path"]).parent))
    if not crate["license"] and not files:
        bare.append(name)
    lines.append(f"{name}: {crate['license'] or 'see its text below'}")
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n").strip()
        if text:
            texts.setdefault(text, []).append(name)

if bare:
    sys.exit(f"no licence: {', '.join(bare)}")
print("Crates in this program and their licences. Their texts follow.\n")
print("\n".join(lines))
for text, names in texts.items():
    print("\n" + "=" * 80 + "\n" + ", ".join(dict.fromkeys(names)) + "\n" + "-" * 80 + "\n" + text)
