// Does a second process find its code on disk, and never anything that is not its code? The test
// starts itself as a small training program, again and again, on folders of its own.
#include <encore/cache/entry.h>
#include <encore/core/error.h>
#include <encore/encore.h>
#include <encore/jit/cpu/target.h>
#include <encore/trace/kernel_store.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "kernel_maker.h"

namespace encore {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// ---- the program

int64_t number(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoll(text) : otherwise;
}

void print_bits(const char* name, const Tensor& tensor) {
  std::printf("values %s", name);
  for (float value : tensor.to(f32).to_vector<float>())
    std::printf(" %08x", std::bit_cast<uint32_t>(value));
  std::printf("\n");
}

/// Three steps of training with a short last batch, some bf16, an index and a random mask.
void train_all() {
  const int64_t batch = number("TEST_BATCH", 48);
  const double rate = double(number("TEST_RATE", 10)) / 1000;
  manual_seed(3);
  Sequential model{Linear(20, 32), LayerNorm(32), GELU(), Dropout(0.25), Linear(32, 7)};
  Sgd optimizer(model.parameters(), {.lr = rate, .momentum = 0.125});
  for (int64_t size : {batch, batch, batch - 5}) {
    Tensor x = randn({size, 20}), labels = randint(0, 7, {size});
    Tensor loss = cross_entropy(model(x), labels);
    optimizer.minimize(loss);
    print_bits("loss", loss);
  }
  Tensor x = randn({batch, 20});
  NoGrad off;
  print_bits("output", softmax(model(x).to(bf16) * 3.0, 1).sum({0}));
  for (const ParameterRef& parameter : model.parameters())
    print_bits("parameter", parameter.value());
}

void train_small() {
  manual_seed(3);
  Parameter weight(randn({12, 5}));
  Sgd optimizer({weight}, {.lr = 0.5});
  for (int64_t size : {16, 16, 11}) {
    Tensor loss = cross_entropy(matmul(randn({size, 12}), weight), randint(0, 5, {size}));
    optimizer.minimize(loss);
    print_bits("loss", loss);
  }
  print_bits("parameter", weight.value());
}

int run_program() {
  auto train = std::getenv("TEST_SMALL") ? train_small : train_all;
  const bool forbidden = settings().compile == "forbid";
  try {
    train();
  } catch (const CompileForbidden& error) {
    std::printf("forbidden %s at %s:%d: %s\n", error.kernel().c_str(), error.where().file,
                int(error.where().line), error.what());
    if (!std::getenv("TEST_ALLOW_LATER")) return 3;
    settings().compile = "allow";
    train();
  }
  Stats after = stats();
  std::printf("counts %lld %lld %lld %lld\n", (long long)after.kernels_compiled,
              (long long)after.kernels_loaded, (long long)after.disk_misses,
              (long long)after.disk_rejects);
  return forbidden && after.kernels_compiled && settings().compile == "forbid" ? 4 : 0;
}

// ---- running it

/// What a run said.
struct Ran {
  int status = -1;
  std::string values;  // all numbers that it computed
  int64_t compiled = -1, loaded = -1, misses = -1, rejects = -1;
  std::string output;  // all of it
};

Ran parse(std::string output, int status) {
  Ran run{.status = status};
  for (size_t at = 0; at < output.size();) {
    size_t end = std::min(output.find('\n', at), output.size());
    std::string line = output.substr(at, end - at);
    if (line.starts_with("values ")) run.values += line + '\n';
    if (long long a, b, c, d;
        std::sscanf(line.c_str(), "counts %lld %lld %lld %lld", &a, &b, &c, &d) == 4)
      run.compiled = a, run.loaded = b, run.misses = c, run.rejects = d;
    at = end + 1;
  }
  run.output = std::move(output);
  return run;
}

std::string self() { return fs::read_symlink("/proc/self/exe"); }

std::string folder_variable(const fs::path& folder) {
  return "ENCORE_CACHE=on ENCORE_CACHE_DIR='" + folder.string() + "'";
}

std::string said_by(const std::string& command, int* status = nullptr) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string said;
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) said.append(part, size);
  const int ended = pclose(pipe);
  if (status) *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  return said;
}

/// Runs the program in a shell with these settings of variables.
Ran run_with(const std::string& environment) {
  int status;
  std::string said = said_by(environment + " TEST_PROGRAM=1 '" + self() + "' 2>&1", &status);
  return parse(std::move(said), status);
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string read_file(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// In place, as a disk would damage it.
void write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

class DiskCache : public ::testing::Test {
 protected:
  DiskCache() {
    std::string name = fs::temp_directory_path() / "encore_disk_cache_XXXXXX";
    root_ = mkdtemp(name.data());
  }
  ~DiskCache() override { fs::remove_all(root_); }

  /// What the program computes without any cache.
  const Ran& plain() {
    if (plain_.status == 0) return plain_;
    plain_ = run_with(program_ + "ENCORE_CACHE=off");
    EXPECT_EQ(plain_.status, 0) << plain_.output;
    EXPECT_GT(plain_.compiled, 3) << plain_.output;
    EXPECT_EQ(plain_.loaded, 0);
    return plain_;
  }
  Ran run_in(const fs::path& folder, const std::string& environment = {}) {
    return run_with(program_ + environment + " " + folder_variable(folder));
  }
  /// A folder that the program ran in once.
  fs::path filled(const std::string& name = "cache") {
    fs::path folder = root_ / name;
    Ran run = run_in(folder);
    EXPECT_EQ(run.values, plain().values) << run.output;
    EXPECT_EQ(run.compiled, plain().compiled);
    return folder;
  }
  /// A run that finds everything, and has the numbers of `plain`.
  void expect_full(const Ran& run) {
    EXPECT_EQ(run.status, 0) << run.output;
    EXPECT_EQ(run.values, plain().values);
    EXPECT_EQ(run.compiled, 0) << run.output;
    EXPECT_EQ(run.loaded, plain().compiled);
    EXPECT_EQ(run.rejects, 0);
  }

  fs::path root_;
  Ran plain_;
  std::string program_;  // variables that choose it; none: the large one
};

/// What runs the program many times over takes the small one.
class SmallDiskCache : public DiskCache {
 protected:
  SmallDiskCache() { program_ = "TEST_SMALL=1 "; }
};

TEST_F(DiskCache, ASecondProcessCompilesNothingAndHasTheSameBits) {
  fs::path folder = filled();
  expect_full(run_in(folder));
  expect_full(run_in(folder));
}

TEST_F(DiskCache, AnotherBatchCompilesEachKernelAtMostOnceAndAllLaterOnesNothing) {
  fs::path folder = filled();
  Ran other = run_in(folder, "TEST_BATCH=37");
  EXPECT_EQ(other.status, 0) << other.output;
  EXPECT_LE(other.compiled, plain().compiled);
  EXPECT_EQ(other.values, run_with("ENCORE_CACHE=off TEST_BATCH=37").values);
  for (const char* batch : {"TEST_BATCH=41", "TEST_BATCH=29", "TEST_BATCH=37"})
    EXPECT_EQ(run_in(folder, batch).compiled, 0) << batch;
  expect_full(run_in(folder));
  std::printf("%lld kernels; another batch compiles %lld\n", (long long)plain().compiled,
              (long long)other.compiled);
}

TEST_F(DiskCache, AFolderThatWasCopiedIsHitByAnyProcessAnywhere) {
  fs::path folder = filled();
  fs::path home = root_ / "another home", copy = home / "some" / "cache";
  fs::create_directories(copy.parent_path());
  fs::copy(folder, copy, fs::copy_options::recursive);
  fs::permissions(copy, fs::perms::owner_all);
  fs::remove_all(folder);
  expect_full(run_with("cd '" + home.string() + "' && HOME='" + home.string() +
                       "' TMPDIR=/ LANG=C USER=nobody MALLOC_ARENA_MAX=1 ENCORE_THREADS=1 " +
                       folder_variable(copy)));
}

TEST_F(DiskCache, TwoProcessesInDifferentPlacesWriteTheSameFiles) {
  fs::path one = filled("one"), other = root_ / "other";
  Ran run =
      run_with("cd / && HOME=/nowhere LANG=C TMPDIR=/ A_LONG_VARIABLE=" + std::string(5000, 'x') +
               " " + folder_variable(other));
  EXPECT_EQ(run.compiled, plain().compiled);
  std::map<fs::path, std::string> files[2];
  for (int i = 0; i < 2; ++i) {
    const fs::path& folder = i ? other : one;
    for (const fs::path& file : files_below(folder))
      files[i][fs::relative(file, folder)] = read_file(file);
  }
  EXPECT_GT(files[0].size(), size_t(plain().compiled));
  EXPECT_EQ(files[0], files[1]);
}

TEST_F(SmallDiskCache, OtherCodeIsNeverTakenForOnesOwn) {
  const std::vector<std::string> variants = {"ENCORE_ISA=avx2", "ENCORE_STRICT=1", "ENCORE_FUSE=0",
                                             "ENCORE_BACKEND=reference",
                                             "ENCORE_STRICT=1 ENCORE_ISA=avx2"};
  fs::path folder = filled();
  for (const std::string& variant : variants) {
    Ran alone = run_with(program_ + variant + " ENCORE_CACHE=off");
    Ran shared = run_in(folder, variant);
    EXPECT_EQ(alone.status, 0) << alone.output;
    EXPECT_EQ(shared.values, alone.values) << variant;
    EXPECT_EQ(shared.rejects, 0);
    const bool is_alien = default_device() == cpu &&  // a GPU's code depends on neither
                          (variant == "ENCORE_BACKEND=reference" ||
                           (variant == "ENCORE_ISA=avx2" && jit::chosen_isa() != jit::Isa::avx2));
    EXPECT_TRUE(!is_alien || shared.compiled == alone.compiled) << variant;
    Ran again = run_in(folder, variant);
    EXPECT_EQ(again.values, alone.values) << variant;
    EXPECT_EQ(again.compiled, 0) << variant;
  }
  expect_full(run_in(folder));
}

TEST_F(DiskCache, ScalarsThatHappenToBeEqualChangeNeitherCodeNorNumbers) {
  fs::path folder = filled();
  Ran equal = run_in(folder, "TEST_RATE=125");  // the rate is the momentum
  EXPECT_EQ(equal.compiled, 0);
  EXPECT_EQ(equal.values, run_with("ENCORE_CACHE=off TEST_RATE=125").values);
  EXPECT_NE(equal.values, plain().values);
}

TEST_F(SmallDiskCache, EveryDamagedEntryIsCompiledAgainAndHealed) {
  fs::path folder = filled();
  const std::vector<fs::path> files = files_below(folder);
  const std::vector<std::string> good = [&] {
    std::vector<std::string> all;
    for (const fs::path& file : files) all.push_back(read_file(file));
    return all;
  }();
  using Damage = std::function<std::string(size_t)>;
  const std::vector<std::pair<const char*, Damage>> damages = {
      {"a byte at the start",
       [&](size_t i) {
         std::string s = good[i];
         s[i % 8] ^= 4;
         return s;
       }},
      {"a byte in the middle",
       [&](size_t i) {
         std::string s = good[i];
         s[s.size() / 2] ^= 1;
         return s;
       }},
      {"the last byte",
       [&](size_t i) {
         std::string s = good[i];
         s.back() ^= 0x40;
         return s;
       }},
      {"cut off", [&](size_t i) { return good[i].substr(0, good[i].size() * (i % 7) / 7); }},
      {"empty", [&](size_t) { return std::string(); }},
      {"too long", [&](size_t i) { return good[i] + "more"; }},
      {"another's entry", [&](size_t i) { return good[(i + 1) % good.size()]; }},
      {"noise", [&](size_t i) { return std::string(4096, char(i * 37 + 11)); }},
  };
  for (const auto& [name, damage] : damages) {
    for (size_t i = 0; i < files.size(); ++i) write_file(files[i], damage(i));
    Ran run = run_in(folder);
    EXPECT_EQ(run.status, 0) << name << run.output;
    EXPECT_EQ(run.values, plain().values) << name;
    EXPECT_EQ(run.compiled, plain().compiled) << name;
    EXPECT_GT(run.rejects, 0) << name;
    expect_full(run_in(folder));
  }
}

TEST_F(DiskCache, WhatIsForbiddenToCompileIsFoundOrIsATypedError) {
  fs::path folder = filled();
  expect_full(run_in(folder, "ENCORE_COMPILE=forbid"));
  Ran refused = run_in(root_ / "empty", "ENCORE_COMPILE=forbid");
  EXPECT_EQ(refused.status, 3) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("forbidden "));
  EXPECT_THAT(refused.output, HasSubstr("disk_cache_test.cpp:"));
  EXPECT_THAT(refused.output, HasSubstr("first_structure"));
  EXPECT_THAT(refused.output, HasSubstr("needed by trace "));
  EXPECT_THAT(refused.output, HasSubstr("ENCORE_COMPILE=allow"));
  Ran later = run_in(root_ / "empty", "ENCORE_COMPILE=forbid TEST_ALLOW_LATER=1");
  EXPECT_EQ(later.status, 0) << later.output;
  EXPECT_EQ(later.values, plain().values);
  EXPECT_EQ(later.compiled, plain().compiled);
}

TEST_F(DiskCache, APackRunsWithCompilingForbiddenAndNoFolder) {
  fs::path folder = filled(), pack = root_ / "program.pack";
  const std::string tool = ENCORE_DUMP_TOOL " cache export '" + pack.string() + "' --dir '";
  ASSERT_EQ(std::system((tool + folder.string() + "' > /dev/null").c_str()), 0);
  fs::remove_all(folder);
  const std::string shipped = "ENCORE_COMPILE=forbid ENCORE_CACHE_PACK='" + pack.string() + "'";
  expect_full(run_in(root_ / "empty", shipped));
  expect_full(run_with(shipped + " ENCORE_CACHE=read ENCORE_CACHE_DIR=/nowhere"));
  // Other extents are in no pack; the kernels for them are made once, and found with it.
  const std::string packed = "ENCORE_CACHE_PACK='" + pack.string() + "' ";
  Ran other = run_in(root_ / "empty", packed + "TEST_BATCH=37");
  EXPECT_LE(other.compiled, plain().compiled);
  EXPECT_EQ(run_in(root_ / "empty", packed + "TEST_BATCH=41").compiled, 0);
}

TEST_F(SmallDiskCache, CubinsAreFoundWithoutACompiler) {
  // A driver and a compiler without a device; the compiler starts g++, which no PATH has later on.
  const std::string device = "ENCORE_DEVICE=cuda ENCORE_CUDA_PATH='" ENCORE_FAKE_CUDA_FOLDER "' ";
  fs::path folder = root_ / "cache";
  Ran first = run_in(folder, device);
  ASSERT_EQ(first.status, 0) << first.output;
  EXPECT_GT(first.compiled, 2);
  Ran second = run_in(folder, device + "PATH=/nowhere ENCORE_COMPILE=forbid");
  EXPECT_EQ(second.status, 0) << second.output;
  EXPECT_EQ(second.values, first.values);
  EXPECT_EQ(second.compiled, 0);
  EXPECT_EQ(second.loaded, first.compiled);
  // Kernels that were compiled together share one entry with their code.
  const std::string listed =
      said_by(ENCORE_DUMP_TOOL " cache list --json --dir '" + folder.string() + "'");
  int shared = 0, references = 0;
  for (const auto& entry : nlohmann::json::parse(listed)) {
    shared += entry["kind"] == "code";
    references += entry["kind"] == "kernel" && entry["payload_bytes"] < 64;
  }
  EXPECT_GE(shared, 1);
  EXPECT_GE(references, 2 * shared);
  // Strict mode's code is another, though the kernels may read the same.
  Ran strict = run_in(folder, device + "PATH=/nowhere ENCORE_COMPILE=forbid ENCORE_STRICT=1");
  EXPECT_EQ(strict.status, 3) << strict.output;
  // Without the shared code its kernels are compiled again.
  std::vector<fs::path> codes;
  for (const fs::path& file : files_below(folder)) {
    const std::string bytes = read_file(file);
    const auto entry = cache::decode_entry(std::as_bytes(std::span(bytes))).entry;
    if (entry && entry->kind == "code") codes.push_back(file);
  }
  EXPECT_FALSE(codes.empty());
  for (const bool swept : {false, true}) {
    for (const fs::path& code : codes)
      swept ? void(fs::remove(code)) : write_file(code, read_file(code) + "more");
    Ran refused = run_in(folder, device + "PATH=/nowhere ENCORE_COMPILE=forbid");
    EXPECT_EQ(refused.status, 3) << refused.output;
    EXPECT_EQ(refused.output.find("values"), std::string::npos);
  }
  // Where code for all sizes is left it serves instead, so the last bit may be another.
  Ran healed = run_in(folder, device);
  EXPECT_EQ(healed.status, 0) << healed.output;
  EXPECT_GT(healed.compiled, 0);
  EXPECT_EQ(run_in(folder, device + "PATH=/nowhere ENCORE_COMPILE=forbid").values, healed.values);
}

TEST_F(DiskCache, AFolderThatIsOnlyReadIsReadAndNeverWritten) {
  fs::path folder = filled();
  expect_full(run_in(folder, "env ENCORE_CACHE=read"));
  fs::path empty = root_ / "empty";
  fs::create_directories(empty);
  fs::permissions(empty, fs::perms::owner_all);
  Ran run = run_with("ENCORE_CACHE=read ENCORE_CACHE_DIR='" + empty.string() + "'");
  EXPECT_EQ(run.values, plain().values);
  EXPECT_EQ(run.compiled, plain().compiled);
  EXPECT_TRUE(files_below(empty).empty());
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    fs::permissions(entry, fs::perms::owner_write, fs::perm_options::remove);
  fs::permissions(folder, fs::perms::owner_write, fs::perm_options::remove);
  expect_full(run_in(folder));
  Ran other = run_in(folder, "TEST_BATCH=37");  // has something to write, and cannot
  EXPECT_EQ(other.status, 0) << other.output;
  EXPECT_EQ(other.values, run_with("ENCORE_CACHE=off TEST_BATCH=37").values);
  fs::permissions(folder, fs::perms::owner_all);
}

// ---- in one process

/// out[i] = op(in[i], in[i]) over 8 elements, under a name that says nothing.
jit::Kernel kernel_of(Opcode op) {
  jit::KernelMaker maker;
  maker.kernel.name = "k";
  maker.axis(jit::Role::inner, maker.fixed(8));
  jit::SizeId one = maker.fixed(1);
  uint32_t in = maker.argument(f32, jit::Use::read), out = maker.argument(f32, jit::Use::write);
  jit::ValueId x = maker.load(f32, maker.access(in, {one}));
  maker.store(maker.emit(op, f32, {x, x}), maker.access(out, {one}));
  maker.stage(jit::StageKind::sweep);
  return maker.kernel;
}

TEST_F(DiskCache, TwoKernelsOfOneNameNeverShareCode) {
  Settings before = settings();
  settings().cache = "on";
  settings().cache_dir = root_ / "cache";
  jit::Backend& backend = jit::backend(cpu);
  const jit::Kernel kernels[] = {kernel_of(Opcode::add), kernel_of(Opcode::mul)};
  for (int process = 0; process < 2; ++process) {
    trace::KernelStore store;
    Stats start = stats();
    for (int i : {0, 1}) {
      trace::KernelRequest request{&kernels[i], false};
      auto code = store.get(backend, {&request, 1})[0];
      float in[8] = {3, 4, 5, 6, 7, 8, 9, 10}, out[8] = {};
      void* arguments[] = {in, out};
      std::vector<int64_t> sizes;
      for (const jit::Size& size : kernels[i].sizes) sizes.push_back(size.value);
      jit::Segment segment{arguments, sizes.data(), nullptr};
      code->launch({&segment, 1});
      for (int k = 0; k < 8; ++k) EXPECT_EQ(out[k], i ? in[k] * in[k] : in[k] + in[k]);
    }
    EXPECT_EQ(stats().kernels_compiled - start.kernels_compiled, process ? 0 : 2);
    EXPECT_EQ(stats().kernels_loaded - start.kernels_loaded, process ? 2 : 0);
  }
  settings() = before;
}

// ---- many processes

/// Starts the program with its output in a file.
pid_t start(const fs::path& folder, const fs::path& output) {
  const pid_t child = fork();
  if (child) return child;
  setenv("TEST_PROGRAM", "1", 1);
  setenv("TEST_SMALL", "1", 1);
  setenv("ENCORE_CACHE", "on", 1);
  setenv("ENCORE_CACHE_DIR", folder.c_str(), 1);
  setenv("ENCORE_THREADS", "1", 1);
  if (!freopen(output.c_str(), "w", stdout)) _exit(9);
  execl("/proc/self/exe", "disk_cache_test", nullptr);
  _exit(9);
}

TEST_F(SmallDiskCache, SixtyFourProcessesAtOnceSomeKilledAreAllRight) {
  constexpr int processes = 64;
  fs::path folder = root_ / "cache";
  std::vector<pid_t> children;
  for (int i = 0; i < processes; ++i)
    children.push_back(start(folder, root_ / fmt::format("output{}", i)));
  std::mt19937 random(number("ENCORE_FUZZ_SEED", 1));
  int killed = 0, finished = 0;
  std::vector<bool> doomed(processes);
  for (int i = 0; i < processes; i += 2) doomed[i] = true;
  std::vector<int> order;
  for (int i = 0; i < processes; i += 2) order.push_back(i);
  std::shuffle(order.begin(), order.end(), random);
  for (int i : order) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 120));
    kill(children[i], SIGKILL);
  }
  for (int i = 0; i < processes; ++i) {
    int status = 0;
    waitpid(children[i], &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && doomed[i]) {
      ++killed;
      continue;
    }
    Ran run = parse(read_file(root_ / fmt::format("output{}", i)), WEXITSTATUS(status));
    EXPECT_TRUE(WIFEXITED(status) && run.status == 0) << run.output;
    EXPECT_EQ(run.values, plain().values);
    EXPECT_EQ(run.rejects, 0);
    ++finished;
  }
  std::printf("%d killed, %d finished\n", killed, finished);
  EXPECT_GE(finished, processes / 2);
  EXPECT_GT(killed, 0);
  expect_full(run_in(folder));
}

}  // namespace
}  // namespace encore

int main(int argc, char** argv) {
  if (std::getenv("TEST_PROGRAM")) return encore::run_program();
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
