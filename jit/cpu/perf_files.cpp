// The formats are those of Linux' tools/perf/Documentation: jit-interface.txt for the map,
// jitdump-specification.txt for the dump.
#include <elf.h>
#include <encore/jit/cpu/perf_files.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>

namespace encore::jit {
namespace {

struct DumpHeader {
  uint32_t magic = 0x4A695444;  // "JiTD"
  uint32_t version = 1;
  uint32_t bytes = sizeof(DumpHeader);
  uint32_t machine = EM_X86_64;
  uint32_t padding = 0;
  uint32_t process;
  uint64_t time;
  uint64_t flags = 0;
};
static_assert(sizeof(DumpHeader) == 40);

/// Followed by the name, a zero and the code.
struct CodeLoad {
  uint32_t kind = 0;  // JIT_CODE_LOAD
  uint32_t bytes;     // of the whole record
  uint64_t time;
  uint32_t process, thread;
  uint64_t virtual_address, address;
  uint64_t code_bytes;
  uint64_t number;
};
static_assert(sizeof(CodeLoad) == 56);

/// The clock that `perf record -k 1` uses.
uint64_t monotonic_now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1'000'000'000 + uint64_t(now.tv_nsec);
}

/// A file of this process; a forked child has one of its own.
struct ProcessFile {
  std::mutex mutex;
  std::FILE* file = nullptr;
  pid_t process = 0;
  bool failed = false;
  uint64_t count = 0;

  /// Whether the process has just opened it.
  bool open(const std::string& path, const char* mode) {
    if (failed || (file && process == getpid())) return false;
    file = std::fopen(path.c_str(), mode);
    process = getpid();
    count = 0;
    if (!file) fail(path);
    return file != nullptr;
  }
  void fail(const std::string& path) {
    failed = true;
    fmt::print(stderr, "encore: names of generated code cannot be written to {}: {}\n", path,
               std::strerror(errno));
  }
  bool usable() const { return file && !failed; }
};

std::string dump_path() {
  const char* folder = std::getenv("JITDUMPDIR");
  return fmt::format("{}/jit-{}.dump", folder && *folder ? folder : ".", getpid());
}

/// perf finds the dump through a mapping of it that may be executed.
void show_to_perf(std::FILE* file) {
  mmap(nullptr, size_t(sysconf(_SC_PAGESIZE)), PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(file), 0);
}

}  // namespace

void tell_perf_map(const CodeSymbol& symbol) {
  static auto& map = *new ProcessFile;
  std::lock_guard lock(map.mutex);
  const std::string path = fmt::format("/tmp/perf-{}.map", getpid());
  map.open(path, "a");
  if (!map.usable()) return;
  fmt::print(map.file, "{:x} {:x} {}\n", reinterpret_cast<uintptr_t>(symbol.address), symbol.bytes,
             symbol.name);
  if (std::fflush(map.file) != 0) map.fail(path);
}

void tell_jitdump(const CodeSymbol& symbol) {
  static auto& dump = *new ProcessFile;
  std::lock_guard lock(dump.mutex);
  const std::string path = dump_path();
  auto put = [&](const void* from, size_t bytes) { std::fwrite(from, 1, bytes, dump.file); };
  if (dump.open(path, "w+")) {
    DumpHeader header{.process = uint32_t(getpid()), .time = monotonic_now()};
    put(&header, sizeof header);
    std::fflush(dump.file);
    show_to_perf(dump.file);
  }
  if (!dump.usable()) return;
  auto address = uint64_t(reinterpret_cast<uintptr_t>(symbol.address));
  CodeLoad record{
      .bytes = uint32_t(sizeof(CodeLoad) + symbol.name.size() + 1 + symbol.bytes),
      .time = monotonic_now(),
      .process = uint32_t(getpid()),
      .thread = uint32_t(gettid()),
      .virtual_address = address,
      .address = address,
      .code_bytes = symbol.bytes,
      .number = dump.count++,
  };
  put(&record, sizeof record);
  put(symbol.name.c_str(), symbol.name.size() + 1);
  put(symbol.address, symbol.bytes);
  if (std::fflush(dump.file) != 0) dump.fail(path);
}

}  // namespace encore::jit
