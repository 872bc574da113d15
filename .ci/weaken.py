#!/usr/bin/env python3
"""While folders are still growing: makes the undefined encore:: symbols of a shared library weak, so that programs that
do not need them start. Prints their names."""
import struct, sys

path = sys.argv[1]
data = bytearray(open(path, "rb").read())
section_offset, = struct.unpack_from("<Q", data, 0x28)
entry_size, count = struct.unpack_from("<HH", data, 0x3A)
sections = [struct.unpack_from("<IIQQQQIIQQ", data, section_offset + i * entry_size) for i in range(count)]
for _, kind, _, _, offset, size, link, _, _, entry in sections:
    if kind != 11:  # SHT_DYNSYM
        continue
    names = sections[link][4]
    for at in range(offset, offset + size, entry):
        name_at, info, _, index = struct.unpack_from("<IBBH", data, at)
        end = data.index(0, names + name_at)
        name = data[names + name_at:end].decode()
        if index == 0 and info >> 4 == 1 and "6encore" in name:
            data[at + 4] = (2 << 4) | (info & 15)
            print("not there yet:", name)
open(path, "r+b").write(data)
