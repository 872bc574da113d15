#include <elf.h>
#include <encore/core/error.h>
#include <encore/jit/cpu/jit_symbols.h>
#include <encore/jit/cpu/perf_files.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string_view>

// gdb's JIT interface, whose names and layout gdb knows: it breaks in the function and reads the
// descriptor. Weak, because a program's own LLVM may define them as well.
extern "C" {
struct jit_code_entry {
  jit_code_entry *next, *previous;
  const char* file;
  uint64_t bytes;
};
struct jit_descriptor {
  uint32_t version, action;
  jit_code_entry *relevant, *first;
};
__attribute__((weak, noinline, used)) void __jit_debug_register_code() {
  asm volatile("" ::: "memory");
}
__attribute__((weak, used)) jit_descriptor __jit_debug_descriptor = {1, 0, nullptr, nullptr};
}

namespace encore::jit {
namespace {

enum GdbAction : uint32_t { register_code = 1, unregister_code = 2 };

std::mutex& gdb_mutex() {
  static auto& mutex = *new std::mutex;
  return mutex;
}

/// A file in gdb's list.
class KnownToGdb final : public AnnouncedCode {
 public:
  explicit KnownToGdb(std::vector<std::byte> file) : file_(std::move(file)) {
    std::lock_guard lock(gdb_mutex());
    entry_ = {__jit_debug_descriptor.first, nullptr, reinterpret_cast<const char*>(file_.data()),
              file_.size()};
    if (entry_.next) entry_.next->previous = &entry_;
    __jit_debug_descriptor.first = &entry_;
    tell(register_code);
  }
  ~KnownToGdb() override {
    std::lock_guard lock(gdb_mutex());
    (entry_.previous ? entry_.previous->next : __jit_debug_descriptor.first) = entry_.next;
    if (entry_.next) entry_.next->previous = entry_.previous;
    tell(unregister_code);
  }

 private:
  void tell(GdbAction action) {
    __jit_debug_descriptor.relevant = &entry_;
    __jit_debug_descriptor.action = action;
    __jit_debug_register_code();
  }
  std::vector<std::byte> file_;
  jit_code_entry entry_;
};

struct Wanted {
  bool perf = false, jitdump = false, gdb = false;
};

Wanted parse(std::string_view words) {
  Wanted wanted;
  while (!words.empty()) {
    std::string_view word = words.substr(0, words.find(','));
    words.remove_prefix(std::min(word.size() + 1, words.size()));
    if (word == "perf")
      wanted.perf = true;
    else if (word == "jitdump")
      wanted.jitdump = true;
    else if (word == "gdb")
      wanted.gdb = true;
    else
      throw Error(fmt::format("ENCORE_JIT_SYMBOLS: unknown word '{}'", word), {},
                  "use perf, jitdump or gdb");
  }
  return wanted;
}

/// Strings of an ELF file, each by its place.
class StringTable {
 public:
  uint32_t add(std::string_view text) {
    uint32_t place = uint32_t(bytes_.size());
    bytes_.append(text).push_back('\0');
    return place;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_ = std::string(1, '\0');
};

}  // namespace

std::vector<std::byte> symbol_file(const std::vector<CodeSymbol>& symbols) {
  uint64_t begin = ~uint64_t(0), end = 0;
  StringTable names, section_names;
  std::vector<Elf64_Sym> table(1);
  for (const CodeSymbol& symbol : symbols) {
    auto address = uint64_t(reinterpret_cast<uintptr_t>(symbol.address));
    begin = std::min(begin, address), end = std::max(end, address + symbol.bytes);
    table.push_back({.st_name = names.add(symbol.name),
                     .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                     .st_other = STV_DEFAULT,
                     .st_shndx = 1,
                     .st_value = address,
                     .st_size = symbol.bytes});
  }
  Elf64_Shdr sections[5] = {};
  auto describe = [&](int i, const char* name, uint32_t type, uint64_t place, uint64_t bytes) {
    sections[i].sh_name = section_names.add(name);
    sections[i].sh_type = type;
    sections[i].sh_offset = place, sections[i].sh_size = bytes;
    sections[i].sh_addralign = 8;
  };
  const uint64_t table_bytes = table.size() * sizeof(Elf64_Sym), table_place = sizeof(Elf64_Ehdr);
  const uint64_t names_place = table_place + table_bytes;
  const uint64_t sections_names_place = names_place + names.bytes().size();
  describe(1, ".text", SHT_NOBITS, 0, end - begin);
  sections[1].sh_flags = SHF_ALLOC | SHF_EXECINSTR, sections[1].sh_addr = begin;
  describe(2, ".symtab", SHT_SYMTAB, table_place, table_bytes);
  sections[2].sh_link = 3, sections[2].sh_info = 1, sections[2].sh_entsize = sizeof(Elf64_Sym);
  describe(3, ".strtab", SHT_STRTAB, names_place, names.bytes().size());
  describe(4, ".shstrtab", SHT_STRTAB, sections_names_place, 0);
  sections[4].sh_size = section_names.bytes().size();
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64, header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC, header.e_machine = EM_X86_64, header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof header, header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 5, header.e_shstrndx = 4;
  header.e_shoff = (sections_names_place + section_names.bytes().size() + 7) / 8 * 8;
  std::vector<std::byte> file(header.e_shoff + sizeof sections);
  auto put = [&](uint64_t place, const void* from, size_t bytes) {
    std::memcpy(file.data() + place, from, bytes);
  };
  put(0, &header, sizeof header);
  put(table_place, table.data(), table_bytes);
  put(names_place, names.bytes().data(), names.bytes().size());
  put(sections_names_place, section_names.bytes().data(), section_names.bytes().size());
  put(header.e_shoff, sections, sizeof sections);
  return file;
}

std::unique_ptr<AnnouncedCode> announce(const std::vector<CodeSymbol>& symbols) {
  Wanted wanted = parse(settings().jit_symbols);
  for (const CodeSymbol& symbol : symbols) {
    if (wanted.perf) tell_perf_map(symbol);
    if (wanted.jitdump) tell_jitdump(symbol);
  }
  if (!wanted.gdb || symbols.empty()) return nullptr;
  return std::make_unique<KnownToGdb>(symbol_file(symbols));
}

}  // namespace encore::jit
