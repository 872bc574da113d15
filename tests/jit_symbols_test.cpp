// Do perf and gdb learn the names of generated code? The files are read back by the rules of their
// specifications; perf and gdb themselves are asked where they are installed and allowed.
#include <elf.h>
#include <encore/encore.h>
#include <encore/jit/cpu/jit_symbols.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace encore {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

/// It is about the CPU's code, so programs make their tensors there.
std::string run(const std::string& command, int* status = nullptr) {
  FILE* pipe = popen(("export ENCORE_DEVICE=cpu; " + command + " 2>&1").c_str(), "r");
  std::string said;
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) said.append(part, size);
  int code = pclose(pipe);
  if (status) *status = code;
  return said;
}

/// This program, to run the test below in a process of its own.
std::string child_command() {
  return fmt::format("'{}' --gtest_filter=JitSymbols.Child",
                     fs::read_symlink("/proc/self/exe").string());
}

class Folder {
 public:
  explicit Folder(const std::string& name)
      : path(fs::path(testing::TempDir()) / fmt::format("encore_{}_{}", name, getpid())) {
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  const fs::path path;
};

TEST(JitSymbols, Child) {
  if (!std::getenv("ENCORE_JIT_SYMBOLS")) GTEST_SKIP() << "for the tests below";
  std::printf("process %d\n", getpid());
  Tensor x = ones({100'000}), w = ones({64, 64});
  int rounds = std::getenv("ENCORE_TEST_LONG") ? 3000 : 1;
  for (int i = 0; i < rounds; ++i) x = exp(sin(x)), eval(x);
  EXPECT_EQ(matmul(w, w).sum().item<float>(), 64 * 64 * 64);
}

struct Function {
  uint64_t address = 0, bytes = 0;
};
using Functions = std::map<std::string, Function>;

/// By "jitdump-specification.txt" of Linux' tools/perf.
Functions read_jitdump(const fs::path& path, uint32_t process) {
  std::ifstream stream(path, std::ios::binary);
  std::string all{std::istreambuf_iterator<char>(stream), {}};
  size_t at = 0;
  auto read = [&](auto value) {
    EXPECT_LE(at + sizeof value, all.size());
    std::memcpy(&value, all.data() + at, sizeof value);
    at += sizeof value;
    return value;
  };
  EXPECT_EQ(read(uint32_t()), 0x4A695444u);
  EXPECT_EQ(read(uint32_t()), 1u);
  const uint32_t header_bytes = read(uint32_t());
  EXPECT_EQ(read(uint32_t()), uint32_t(EM_X86_64));
  read(uint32_t());
  EXPECT_EQ(read(uint32_t()), process);
  uint64_t time = read(uint64_t());
  EXPECT_EQ(read(uint64_t()), 0u);
  EXPECT_EQ(at, header_bytes);
  Functions functions;
  for (uint64_t number = 0; at + 16 <= all.size(); ++number) {
    const size_t begin = at;
    EXPECT_EQ(read(uint32_t()), 0u) << "JIT_CODE_LOAD";
    const uint32_t bytes = read(uint32_t());
    const uint64_t now = read(uint64_t());
    EXPECT_GE(now, time);
    time = now;
    EXPECT_EQ(read(uint32_t()), process);
    EXPECT_GT(read(uint32_t()), 0u);
    const uint64_t virtual_address = read(uint64_t());
    Function function{read(uint64_t()), read(uint64_t())};
    EXPECT_EQ(virtual_address, function.address);
    EXPECT_EQ(read(uint64_t()), number);
    const std::string name = all.c_str() + at;
    EXPECT_EQ(at + name.size() + 1 + function.bytes, begin + bytes);
    at = begin + bytes;
    EXPECT_LE(at, all.size());
    EXPECT_NE(all[at - 1], '\0') << "code ends in an instruction";
    functions[name] = function;
  }
  EXPECT_EQ(at, all.size());
  return functions;
}

Functions read_perf_map(const fs::path& path) {
  std::ifstream stream(path);
  Functions functions;
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    Function function;
    std::string name;
    EXPECT_TRUE(words >> std::hex >> function.address >> function.bytes >> name) << line;
    functions[name] = function;
  }
  return functions;
}

TEST(JitSymbols, PerfsFilesNameEachFunction) {
  Folder folder("jitdump");
  int status = 0;
  const std::string said =
      run(fmt::format("ENCORE_JIT_SYMBOLS=perf,jitdump JITDUMPDIR={0} ENCORE_DUMP={0}/dump {1}",
                      folder.path.string(), child_command()),
          &status);
  ASSERT_EQ(status, 0) << said;
  const int process = std::stoi(said.substr(said.find("process ") + 8));
  const fs::path map = fmt::format("/tmp/perf-{}.map", process);
  Functions mapped = read_perf_map(map);
  Functions dumped =
      read_jitdump(folder.path / fmt::format("jit-{}.dump", process), uint32_t(process));
  fs::remove(map);
  EXPECT_GE(mapped.size(), 2u);
  bool micro = false;
  for (const auto& [name, function] : mapped) {
    EXPECT_GT(function.bytes, 0u) << name;
    EXPECT_EQ(function.address, dumped[name].address) << name;
    EXPECT_EQ(function.bytes, dumped[name].bytes) << name;
    micro |= name.starts_with("encore_micro_f32_");
  }
  EXPECT_EQ(mapped.size(), dumped.size());
  EXPECT_TRUE(mapped.contains("encore_sin_exp"));
  EXPECT_TRUE(micro) << "of the product";
  // The dump lists the micro-kernel that ran.
  int listed = 0;
  for (const auto& file : fs::recursive_directory_iterator(folder.path / "dump")) {
    if (file.path().extension() != ".micro") continue;
    std::string mark, name;
    std::ifstream(file.path()) >> mark >> name;
    EXPECT_TRUE(mapped.contains(name.substr(0, name.find(':')))) << name;
    ++listed;
  }
  EXPECT_EQ(listed, 1);
}

TEST(JitSymbols, AFileThatCannotBeWrittenIsOneWarning) {
  int status = 0;
  const std::string said =
      run("ENCORE_JIT_SYMBOLS=jitdump JITDUMPDIR=/nonexistent " + child_command(), &status);
  EXPECT_EQ(status, 0) << said;
  const size_t first = said.find("cannot be written to /nonexistent/jit-");
  EXPECT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("cannot be written", first + 1), std::string::npos) << said;
}

TEST(JitSymbols, UnknownWordsAreRefused) {
  EXPECT_THAT(run("ENCORE_JIT_SYMBOLS=vtune " + child_command()),
              HasSubstr("ENCORE_JIT_SYMBOLS: unknown word 'vtune'"));
}

TEST(JitSymbols, TheFileForGdbDefinesTheSymbols) {
  const std::byte code[64] = {};
  auto address = [&](size_t i) { return uint64_t(reinterpret_cast<uintptr_t>(code + i)); };
  std::vector<std::byte> file = jit::symbol_file({{"one", code, 16}, {"two", code + 16, 48}});
  auto at = [&](size_t place) { return file.data() + place; };
  Elf64_Ehdr header;
  std::memcpy(&header, file.data(), sizeof header);
  ASSERT_EQ(std::memcmp(header.e_ident, ELFMAG, SELFMAG), 0);
  ASSERT_EQ(header.e_shoff + header.e_shnum * sizeof(Elf64_Shdr), file.size());
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  std::memcpy(sections.data(), at(header.e_shoff), sections.size() * sizeof(Elf64_Shdr));
  auto name_of = [&](const Elf64_Shdr& section) {
    return std::string(
        reinterpret_cast<const char*>(at(sections[header.e_shstrndx].sh_offset + section.sh_name)));
  };
  EXPECT_EQ(name_of(sections[1]), ".text");
  EXPECT_EQ(sections[1].sh_addr, address(0));
  EXPECT_EQ(sections[1].sh_size, 64u);
  const Elf64_Shdr& table = sections[2];
  EXPECT_EQ(name_of(table), ".symtab");
  ASSERT_EQ(table.sh_size, 3 * sizeof(Elf64_Sym));
  Elf64_Sym symbols[3];
  std::memcpy(symbols, at(table.sh_offset), sizeof symbols);
  auto symbol_name = [&](int i) {
    return std::string(
        reinterpret_cast<const char*>(at(sections[table.sh_link].sh_offset + symbols[i].st_name)));
  };
  EXPECT_EQ(symbol_name(1), "one");
  EXPECT_EQ(symbols[1].st_value, address(0));
  EXPECT_EQ(symbol_name(2), "two");
  EXPECT_EQ(symbols[2].st_value, address(16));
  EXPECT_EQ(symbols[2].st_size, 48u);
}

TEST(JitSymbols, GdbNamesKernelsInABacktrace) {
  if (run("gdb --version").find("GNU gdb") == std::string::npos) GTEST_SKIP() << "no gdb here";
  const std::string said =
      run(fmt::format("ENCORE_JIT_SYMBOLS=gdb gdb -q -batch -nx -ex 'set breakpoint pending on' "
                      "-ex 'break encore_sin_exp' -ex run -ex backtrace --args {}",
                      child_command()));
  if (said.find("ptrace") != std::string::npos) GTEST_SKIP() << "gdb is not allowed:\n" << said;
  EXPECT_THAT(said, testing::ContainsRegex("#0 .*encore_sin_exp"));
  EXPECT_THAT(said, testing::ContainsRegex("#1 .*Launcher::run"));
}

TEST(JitSymbols, PerfReportNamesKernels) {
  Folder folder("perf");
  const std::string data = (folder.path / "perf.data").string();
  const std::string recorded =
      run(fmt::format("ENCORE_TEST_LONG=1 ENCORE_JIT_SYMBOLS=perf perf record -e cpu-clock -o {} "
                      "-- {}",
                      data, child_command()));
  if (!fs::exists(data) || recorded.find("Captured and wrote") == std::string::npos)
    GTEST_SKIP() << "perf is missing or not allowed:\n" << recorded;
  const int process = std::stoi(recorded.substr(recorded.find("process ") + 8));
  EXPECT_THAT(run(fmt::format("perf report --stdio -i {}", data)), HasSubstr("encore_sin_exp"));
  fs::remove(fmt::format("/tmp/perf-{}.map", process));
}

}  // namespace
}  // namespace encore
