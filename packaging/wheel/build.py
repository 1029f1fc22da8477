"""Packs the program `backroom` as a wheel, so that `pip install` gives the server.

    python3 packaging/wheel/build.py target/release/backroom dist/

It needs Python 3.9 and nothing else. The wheel fits the machine that it was built on: its platform is that of this Python, or what
`--platform` says, such as manylinux_2_28_x86_64.
"""

import argparse
import base64
import hashlib
import pathlib
import subprocess
import sysconfig
import zipfile

NAME = "backroom_server"
# So that the same program makes the same wheel.
MOMENT = (2020, 1, 1, 0, 0, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path, help="the binary")
    parser.add_argument("folder", type=pathlib.Path, help="where the wheel goes")
    parser.add_argument("--platform", default=sysconfig.get_platform(), help="default: that of this machine")
    parser.add_argument("--stored", action="store_true", help="do not compress: faster, and larger")
    options = parser.parse_args()
    said = subprocess.run([options.program, "--version"], check=True, capture_output=True, text=True).stdout
    version = said.split()[1]
    tag = "py3-none-" + options.platform.replace("-", "_").replace(".", "_")
    info = f"{NAME}-{version}.dist-info"
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"{NAME}-{version}-{tag}.whl"
    files = {
        f"{NAME}-{version}.data/scripts/backroom": options.program.read_bytes(),
        f"{info}/METADATA": metadata(version).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: backroom\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
    }
    record = [f"{name},sha256={digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()
    method = zipfile.ZIP_STORED if options.stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", method) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.compress_type = method
            mode = 0o755 if "/scripts/" in name else 0o644
            entry.external_attr = (0o100000 | mode) << 16
            wheel.writestr(entry, content)
    print(path)


def metadata(version):
    return "\n".join([
        "Metadata-Version: 2.1",
        "Name: backroom-server",
        f"Version: {version}",
        "Summary: Background jobs for programs in any language: the server and its command line",
        "License: MIT OR Apache-2.0",
        "Requires-Python: >=3.9",
        "",
        "",
    ])


def digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
