"""Programs of this machine inside one guest, so that every other guest stays small."""

import os
import re
import shutil
import subprocess

from .process import Failed, Skipped


def initramfs(test, *programs):
    """The guest's initramfs, followed by an archive of programs and their libraries; the kernel unpacks both."""
    root = os.path.join(test.directory, "overlay")
    for program in programs:
        path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if not path:
            raise Skipped(f"{program} is not installed: scripts/install-packages test")
        libraries = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=True).stdout
        for source in [path, *re.findall(r"(/\S+) \(0x", libraries)]:
            target = root + ("/bin/" + program if source == path else source)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)
    names = "".join(os.path.relpath(os.path.join(folder, name), root) + "\n"
                    for folder, folders, files in os.walk(root) for name in folders + files)
    archive = subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if archive.returncode:
        raise Failed(f"cpio: {archive.stderr.decode()}")
    path = os.path.join(test.directory, "initramfs")
    shutil.copy(os.path.join(test.image(), "initramfs"), path)
    with open(path, "ab") as file:
        # The kernel looks for an archive at multiples of four.
        file.write(bytes(-file.tell() % 4) + archive.stdout)
    return path
