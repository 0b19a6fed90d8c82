"""A filter on system calls for sandboxed code (Linux): no namespaces, no mounts, no debugging.

Without it, code in the sandbox could make user namespaces of its own, and in them file systems
in memory that no limit counts. The program is classic BPF; numbers are those of the kernel's
tables. ``clone3`` answers "not implemented", as its flags cannot be seen by a filter, and the C
library then uses ``clone``.
"""

import errno
import platform
import struct

# audit architecture, number of clone, number of clone3, refused calls
_TABLES = {
    "x86_64": (0xC000003E, 56, 435, {
        "ptrace": 101, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
        "unshare": 272, "setns": 308, "keyctl": 250, "add_key": 248, "request_key": 249,
        "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "process_vm_writev": 311,
        "process_vm_readv": 310, "memfd_create": 319, "io_uring_setup": 425, "shmget": 29,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432,
    }),
    "aarch64": (0xC00000B7, 220, 435, {
        "ptrace": 117, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
        "unshare": 97, "setns": 268, "keyctl": 219, "add_key": 217, "request_key": 218,
        "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "process_vm_writev": 271,
        "process_vm_readv": 270, "memfd_create": 279, "io_uring_setup": 425, "shmget": 194,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432,
    }),
}  # fmt: skip
_CLONE_NEWUSER_AND_OTHERS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS ... NEWNET
_LOAD, _EQUAL, _SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000  # the bit of the second table of x86_64


def program() -> bytes:
    """Return the filter for this machine; nothing where its table is not known."""
    known = _TABLES.get(platform.machine())
    if known is None:
        return b""
    architecture, clone, clone3, refused = known
    refuse = _ERROR | errno.EPERM
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    if platform.machine() == "x86_64":
        steps += [(_SET, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    for number in refused.values():
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    steps += [(_EQUAL, 0, 1, clone3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    steps += [
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, 16),  # the flags, the first argument
        (_SET, 0, 1, _CLONE_NEWUSER_AND_OTHERS),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
