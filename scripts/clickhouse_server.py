#!/usr/bin/env python3
"""Runs a real ClickHouse with its HTTP interface on 127.0.0.1, for the tests, the demo and the benchmarks.

Promises: it lives as long as its stdin is open, so it never outlives whoever started it; SIGTERM ends it in good
order; signal 9 leaves a data directory that the next start recovers. The process that was started is the server.
Assumes: Linux, and either a `clickhouse` program of 26.7 or newer (--program), or the PyPI package chdb-core in the
interpreter that runs this (scripts/install-servers.sh makes such an interpreter).

usage: clickhouse_server.py --path DIRECTORY --http-port PORT [--config-file FILE] [--program CLICKHOUSE]
       clickhouse_server.py --find-entry        (only makes the first start as fast as the others)

How the package becomes a server. chdb-core is one shared library with the whole engine, clickhouse-local included; and
clickhouse-local serves HTTP once it is told SYSTEM START LISTEN HTTP. What is missing is a name: the library exports
nothing that takes clickhouse-local's arguments. A function (int argc, char **argv) that does is in there all the same;
it constructs a DB::LocalServer, so it mentions the address of that class's table of virtual functions. From the
class's name in .rodata the relocations lead to its type information, from there to the table; a search of .text
for instructions that refer to the table gives places in code; .eh_frame_hdr says in which functions they are.
Destructors refer to it as well, but at their very start; the function we want only after other work.
The search takes seconds, so what it found is kept beside the interpreter under the library's build id.
"""

import argparse
import ctypes
import mmap
import os
import signal
import struct
import sys
import threading
from pathlib import Path

LIBRARY = "chdb/_chdb.abi3.so"

# A reference to the table nearer to its function's start than this is a destructor's.
DESTRUCTOR_BYTES = 0x40

# dlopen's flag for "own symbols first": the library brings its own C++ runtime.
RTLD_DEEPBIND = 0x8


def fail(message):
    sys.exit(f"clickhouse_server: {message}")


class Library:
    """The sections of the shared library, as the ELF section headers tell them."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self.bytes[:6] != b"\x7fELF\x02\x01":
            fail(f"{path} is no 64-bit little-endian ELF file")
        (table,) = struct.unpack_from("<Q", self.bytes, 0x28)
        size, count, names = struct.unpack_from("<HHH", self.bytes, 0x3A)
        headers = [struct.unpack_from("<IIQQQQ", self.bytes, table + size * number) for number in range(count)]
        text = headers[names][4]
        self.sections = {}
        for name, _type, _flags, address, offset, length in headers:
            end = self.bytes.find(b"\0", text + name)
            self.sections[self.bytes[text + name : end].decode()] = (address, offset, length)

    def build_id(self):
        _, offset, length = self.sections[".note.gnu.build-id"]
        # Three lengths and "GNU\0" come before the id itself.
        return self.bytes[offset + 16 : offset + length].hex()

    def find(self, section, wanted):
        """The address of the first occurrence of some bytes."""
        address, offset, length = self.sections[section]
        at = self.bytes.find(wanted, offset, offset + length)
        if at < 0:
            fail(f"{self.path} has no {wanted!r}: not a build with clickhouse-local")
        return address + at - offset


def find_entry(library):
    """The address of the function that makes a DB::LocalServer and runs it."""
    import numpy

    def array(section, kind, skip=0, count=-1):
        _, offset, length = library.sections[section]
        size = numpy.dtype(kind).itemsize
        count = (length - skip) // size if count < 0 else count
        return numpy.frombuffer(library.bytes, dtype=kind, count=count, offset=offset + skip)

    relocations = array(".rela.dyn", [("place", "<u8"), ("info", "<u8"), ("addend", "<i8")])

    def pointers_to(address):
        return relocations["place"][relocations["addend"] == address].astype(numpy.int64)

    # The Itanium C++ ABI: type information is {table, name, ..}; a table is {offset, type information, functions ..}.
    name = library.find(".rodata", b"N2DB11LocalServerE\0")
    type_information = int(pointers_to(name)[0]) - 8
    table = int(min(pointers_to(type_information))) - 8
    targets = (table, table + 16)

    # An instruction refers to an address by its distance from the instruction's end, in its last four bytes.
    address, _, _ = library.sections[".text"]
    block = 1 << 24
    places = []
    for phase in range(4):
        distances = array(".text", "<i4", skip=phase)
        for start in range(0, len(distances), block):
            piece = distances[start : start + block]
            here = address + phase + 4 * numpy.arange(start, start + len(piece), dtype=numpy.int64)
            reached = here + 4 + piece
            places += here[(reached == targets[0]) | (reached == targets[1])].tolist()

    # A search table of (function, its description), both relative to the section, sorted by function.
    frames, frames_offset, _ = library.sections[".eh_frame_hdr"]
    (count,) = struct.unpack_from("<I", library.bytes, frames_offset + 8)
    functions = array(".eh_frame_hdr", "<i4", skip=12, count=2 * count)[::2].astype(numpy.int64) + frames
    found = set()
    for place in places:
        function = int(functions[numpy.searchsorted(functions, place, side="right") - 1])
        if place - function > DESTRUCTOR_BYTES:
            found.add(function)
    if len(found) != 1:
        fail(f"{library.path}: {len(found)} functions could be the entry of clickhouse-local, not one")
    return found.pop()


def known_entry(library):
    """find_entry, remembered."""
    memory = Path(sys.prefix) / f"clickhouse-entry-{library.build_id()}"
    try:
        return int(memory.read_text(), 16)
    except (OSError, ValueError):
        pass
    entry = find_entry(library)
    unfinished = memory.with_name(f"{memory.name}.{os.getpid()}")
    unfinished.write_text(f"{entry:#x}\n")
    unfinished.rename(memory)
    return entry


def library_path():
    for directory in sys.path:
        path = os.path.join(directory, LIBRARY)
        if os.path.isfile(path):
            return path
    fail(f"this Python ({sys.executable}) has no chdb-core: run scripts/install-servers.sh clickhouse")


def end_stdin_on_request():
    """Puts a pipe in the place of stdin, which ends when the real one does or SIGTERM comes.

    The thread that runs the engine never gets to run a signal handler of Python's, so another one waits for the signal.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    lifeline = os.dup(0)
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)

    def wait_for_signal():
        signal.sigwait({signal.SIGTERM})
        os.close(writing)

    def wait_for_end():
        while os.read(lifeline, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    for wait in (wait_for_signal, wait_for_end):
        threading.Thread(target=wait, daemon=True).start()


def call(path, entry, arguments):
    """Runs the library's clickhouse-local in this process; returns when the server has ended."""
    ctypes.CDLL(path, mode=os.RTLD_LAZY | RTLD_DEEPBIND)
    real = os.path.realpath(path)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        base = next(int(line.split("-")[0], 16) for line in maps if line.rstrip("\n").endswith(real))
    words = [argument.encode() for argument in arguments]
    argv = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    function = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(base + entry)
    # What it returns is a pointer to the queries' output, of which there is none.
    function(len(words), ctypes.cast(argv, ctypes.c_void_p))


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path")
    parser.add_argument("--http-port", type=int)
    parser.add_argument("--config-file")
    parser.add_argument("--program")
    parser.add_argument("--find-entry", action="store_true")
    options = parser.parse_args()

    if options.find_entry:
        known_entry(Library(library_path()))
        return
    if options.path is None or options.http_port is None:
        parser.error("--path and --http-port are needed")

    # The second statement reads stdin to its end: that is what keeps the server alive, and what ends it.
    queries = "SYSTEM START LISTEN HTTP; SELECT count() FROM file('-', 'LineAsString') FORMAT Null"
    arguments = ["--path", options.path, "--listen_host", "127.0.0.1", "--http_port", str(options.http_port)]
    if options.config_file is not None:
        arguments += ["--config-file", options.config_file]
    arguments += ["--query", queries]

    if options.program is not None:
        os.execv(options.program, [options.program, "local", *arguments])
    path = library_path()
    entry = known_entry(Library(path))
    end_stdin_on_request()
    call(path, entry, ["clickhouse-local", *arguments])
    # Not exit(): the engine's threads may still run, and the interpreter has nothing to tidy up.
    os._exit(0)


main()
