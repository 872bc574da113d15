// What a cubin says about its functions: stack memory, into which registers are spilled.
#pragma once
#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>

namespace encore::testing {

/// Bytes of stack a thread, by function.
inline std::map<std::string, uint32_t> stack_bytes(std::span<const std::byte> cubin) {
  auto header = reinterpret_cast<const Elf64_Ehdr*>(cubin.data());
  auto sections = reinterpret_cast<const Elf64_Shdr*>(cubin.data() + header->e_shoff);
  auto at = [&](const Elf64_Shdr& section) { return cubin.data() + section.sh_offset; };
  const char* names = reinterpret_cast<const char*>(at(sections[header->e_shstrndx]));
  const Elf64_Sym* symbols = nullptr;
  const char* strings = nullptr;
  for (int i = 0; i < header->e_shnum; ++i)
    if (sections[i].sh_type == SHT_SYMTAB) {
      symbols = reinterpret_cast<const Elf64_Sym*>(at(sections[i]));
      strings = reinterpret_cast<const char*>(at(sections[sections[i].sh_link]));
    }
  std::map<std::string, uint32_t> stacks;
  for (int i = 0; i < header->e_shnum; ++i) {
    if (std::string(names + sections[i].sh_name) != ".nv.info" || !symbols) continue;
    const std::byte* next = at(sections[i]);
    const std::byte* end = next + sections[i].sh_size;
    while (next + 4 <= end) {  // {format, attribute, 16 bits: a value or the bytes that follow}
      uint16_t bytes;
      std::memcpy(&bytes, next + 2, sizeof bytes);
      uint32_t words[2];
      constexpr uint8_t with_bytes = 4, frame_size = 0x11;
      if (uint8_t(next[0]) == with_bytes && uint8_t(next[1]) == frame_size) {
        std::memcpy(words, next + 4, sizeof words);
        stacks[strings + symbols[words[0]].st_name] = words[1];
      }
      next += 4 + (uint8_t(next[0]) == with_bytes ? bytes : 0);
    }
  }
  return stacks;
}

}  // namespace encore::testing
