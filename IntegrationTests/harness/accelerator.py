"""TCG or KVM. A /dev/kvm that opens proves nothing (nested machines): the real guest has to boot."""

import os
import selectors
import subprocess
import time


def accelerator(image, seconds=10):
    """`kvm` where the guest boots under it, else `tcg`; tried once, remembered beside the image."""
    wanted = os.environ.get("WIREVALE_ACCEL")
    if wanted:
        return wanted
    cache = os.path.join(image, "accelerator")
    try:
        with open(cache) as file:
            return file.read().strip()
    except FileNotFoundError:
        pass
    answer = "kvm" if boots_under_kvm(image, seconds) else "tcg"
    with open(cache, "w") as file:
        file.write(answer + "\n")
    return answer


def boots_under_kvm(image, seconds):
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError:
        return False
    child = subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "max", "-m", "192", "-nodefaults",
         "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
         "-kernel", image + "/vmlinuz", "-initrd", image + "/initramfs",
         "-append", "console=ttyS0 quiet panic=-1 no_timer_check"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        seen = b""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                if selector.select(0.2):
                    data = os.read(child.stdout.fileno(), 4096)
                    if not data:
                        return False
                    seen += data
                    if b"@ready" in seen:
                        return True
        return False
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
