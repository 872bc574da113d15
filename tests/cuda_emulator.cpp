#include "cuda_emulator.h"

#include <dlfcn.h>
#include <encore/core/error.h>
#include <encore/jit/cuda/prelude.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace encore::jit::cuda {
namespace {

// What NVRTC knows by itself, and device_prelude(), for the host.
constexpr const char* shim = R"(
#include <csetjmp>
#include <cmath>
#include <cstring>
#include <vector>
#include <ucontext.h>
typedef signed char i8; typedef short i16; typedef int i32; typedef long long i64;
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64; typedef float f32; typedef double f64;
#define INLINE inline
#define __global__
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static
struct Index { unsigned x; };
static Index threadIdx, blockIdx;

struct Group { unsigned arrived = 0, members = 0, round = 0; };
struct Fiber { jmp_buf place; ucontext_t start; bool begun, done; std::vector<char> stack; };
static std::vector<Fiber> fibers;
static std::vector<Group> warps, teams;
static Group whole;
static u64 traded[1024];
static jmp_buf scheduler;
static void (*entry)(const void*);
static const void* parameters;
static unsigned team_size = 0;

static void yield() {
  unsigned me = threadIdx.x;
  if (_setjmp(fibers[me].place) == 0) _longjmp(scheduler, 1);
}
static void wait(Group& group) {
  unsigned round = group.round;
  if (++group.arrived == group.members) { group.arrived = 0; ++group.round; return; }
  while (group.round == round) yield();
}
static Group& my_warp() { return warps[threadIdx.x / 32]; }
static void __syncthreads() { wait(whole); }
static void __syncwarp() { wait(my_warp()); }
template <int team, int count>
static void team_barrier() {
  if (team <= 32) return wait(my_warp());
  if (count == 1) return wait(whole);
  teams[threadIdx.x / team].members = team;
  wait(teams[threadIdx.x / team]);
}
template <class T>
static T trade(T a, unsigned from) {
  u64 bits = 0;
  memcpy(&bits, &a, sizeof a);
  traded[threadIdx.x] = bits;
  wait(my_warp());
  if (from / 32 == threadIdx.x / 32 && from < fibers.size()) bits = traded[from];
  wait(my_warp());
  memcpy(&a, &bits, sizeof a);
  return a;
}
template <class T>
static T __shfl_xor_sync(u32, T a, int m) { return trade(a, threadIdx.x ^ (unsigned)m); }
template <class T>
static T __shfl_down_sync(u32, T a, int h) { return trade(a, threadIdx.x + (unsigned)h); }
template <class T>
static T __shfl_sync(u32, T a, int lane) { return trade(a, threadIdx.x / 32 * 32 + (unsigned)lane); }
static u32 __ballot_sync(u32, int a) {
  u32 all = 0;
  traded[threadIdx.x] = a != 0;
  wait(my_warp());
  for (unsigned i = 0; i < 32; ++i) {
    unsigned other = threadIdx.x / 32 * 32 + i;
    if (other < fibers.size() && traded[other]) all |= 1u << i;
  }
  wait(my_warp());
  return all;
}
static int __ffs(int a) { return __builtin_ffs(a); }

static void begin() {
  entry(parameters);
  fibers[threadIdx.x].done = true;
  _longjmp(scheduler, 1);
}
static void run_block(unsigned threads) {
  fibers.resize(threads);
  warps.assign((threads + 31) / 32, {});
  teams.assign(threads, {});
  whole = {0, threads, 0};
  for (unsigned w = 0; w < warps.size(); ++w) warps[w].members = std::min(32u, threads - 32 * w);
  for (Fiber& fiber : fibers) fiber.begun = fiber.done = false, fiber.stack.resize(1 << 16);
  volatile unsigned left = threads;
  volatile unsigned turn = 0;
  while (left > 0) {
    for (turn = 0; turn < threads; turn = turn + 1) {
      Fiber& fiber = fibers[turn];
      if (fiber.done) continue;
      threadIdx.x = turn;
      if (_setjmp(scheduler) == 0) {
        if (fiber.begun) _longjmp(fiber.place, 1);
        fiber.begun = true;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.data();
        fiber.start.uc_stack.ss_size = fiber.stack.size();
        makecontext(&fiber.start, begin, 0);
        setcontext(&fiber.start);
      }
      if (fibers[turn].done) left = left - 1;
    }
  }
}
extern "C" void emulate(void (*function)(const void*), const void* block, unsigned grid,
                        unsigned threads) {
  entry = function, parameters = block;
  for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x) run_block(threads);
}

static u32 __float_as_uint(f32 a) { u32 r; memcpy(&r, &a, 4); return r; }
static f32 __uint_as_float(u32 a) { f32 r; memcpy(&r, &a, 4); return r; }
static i64 __double_as_longlong(f64 a) { i64 r; memcpy(&r, &a, 8); return r; }
static f64 __longlong_as_double(i64 a) { f64 r; memcpy(&r, &a, 8); return r; }
template <class T, class F>
static T saturate(F a, F low, F high) {  // high: the first value too large
  if (a != a) return 0;
  if (a >= high) return (T)(high == (F)18446744073709551616.0 ? ~0ull : (u64)high - 1);
  return a <= low ? (T)low : (T)a;
}
#define SATURATE(name, from, T, low, high) \
  static T name(from a) { return saturate<T, from>(a, (from)low, (from)high); }
SATURATE(__float2int_rz, f32, i32, -2147483648.0, 2147483648.0)
SATURATE(__double2int_rz, f64, i32, -2147483648.0, 2147483648.0)
SATURATE(__float2uint_rz, f32, u32, 0.0, 4294967296.0)
SATURATE(__double2uint_rz, f64, u32, 0.0, 4294967296.0)
SATURATE(__float2ll_rz, f32, i64, -9223372036854775808.0, 9223372036854775808.0)
SATURATE(__double2ll_rz, f64, i64, -9223372036854775808.0, 9223372036854775808.0)
SATURATE(__float2ull_rz, f32, u64, 0.0, 18446744073709551616.0)
SATURATE(__double2ull_rz, f64, u64, 0.0, 18446744073709551616.0)
static u32 __umulhi(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
static u64 __umul64hi(u64 a, u64 b) { return (u64)((unsigned __int128)a * b >> 64); }
static f32 __fmaf_rn(f32 a, f32 b, f32 c) { return fmaf(a, b, c); }
static f64 __fma_rn(f64 a, f64 b, f64 c) { return fma(a, b, c); }
static f32 __fsqrt_rn(f32 a) { return sqrtf(a); }
static f64 __dsqrt_rn(f64 a) { return sqrt(a); }
static f32 max_or_nan(f32 a, f32 b) {
  if (a != a || b != b) return __uint_as_float(0x7fffffff);
  return a == b ? (std::signbit(a) ? b : a) : a > b ? a : b;
}
static f32 min_or_nan(f32 a, f32 b) { return -max_or_nan(-a, -b); }
// By way of the compiler's own _Float16.
static u16 half_bits(f32 a) { _Float16 h = (_Float16)a; u16 r; memcpy(&r, &h, 2); return r; }
static f32 from_half_bits(u16 a) { _Float16 h; memcpy(&h, &a, 2); return (f32)h; }
)";

std::string symbol_of(size_t index) { return fmt::format("k{}", index); }

}  // namespace

const char* emulator_shim() { return shim; }

EmulatedProgram::EmulatedProgram(const std::vector<const Kernel*>& kernels, const Target& target) {
  std::string source = shim + portable_prelude();
  for (size_t i = 0; i < kernels.size(); ++i) {
    source += generate(*kernels[i], symbol_of(i), target);
    layouts_.emplace_back(*kernels[i], target);
    for (uint32_t f = 0; f < layouts_.back().functions(); ++f)
      source += fmt::format(
          "extern \"C\" void run_{}(const void* p) {{ {}(*(const {}_Parameters*)p); }}\n",
          function_symbol(symbol_of(i), f), function_symbol(symbol_of(i), f), symbol_of(i));
  }
  char name[] = "/tmp/encore_emulator_XXXXXX";
  folder_ = mkdtemp(name);
  std::ofstream(folder_ + "/kernels.cpp") << source;
  std::string command = fmt::format(
      "g++ -std=c++17 -O0 -w -fPIC -shared -ffp-contract=off -fno-strict-aliasing -mfma -o "
      "{}/kernels.so "
      "{}/kernels.cpp 2> {}/errors",
      folder_, folder_, folder_);
  if (system(command.c_str()) != 0) {
    std::stringstream errors;
    errors << std::ifstream(folder_ + "/errors").rdbuf();
    throw Error("the generated code does not compile: " + errors.str().substr(0, 4000), {});
  }
  library_ = dlopen((folder_ + "/kernels.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library_) throw Error(dlerror(), {});
}

EmulatedProgram::~EmulatedProgram() {
  if (library_) dlclose(library_);
  std::filesystem::remove_all(folder_);
}

void EmulatedProgram::launch(size_t index, std::span<const Segment> segments) const {
  const LaunchLayout& layout = layouts_[index];
  auto emulate = reinterpret_cast<void (*)(void (*)(const void*), const void*, unsigned, unsigned)>(
      dlsym(library_, "emulate"));
  std::vector<uint64_t> block((layout.parameter_bytes() + 7) / 8);
  auto* bytes = reinterpret_cast<std::byte*>(block.data());
  for (size_t first = 0; first < segments.size(); first += layout.capacity()) {
    size_t count = std::min<size_t>(layout.capacity(), segments.size() - first);
    Steps steps = layout.pack(segments.subspan(first, count), bytes);
    std::vector<uint64_t> scratch(steps.scratch_bytes / 8 + 1, 0x7ff8dead7ff8dead);
    layout.set_scratch(bytes, scratch.data());
    for (const Geometry& step : steps) {
      std::string name = "run_" + function_symbol(symbol_of(index), step.function);
      auto function = reinterpret_cast<void (*)(const void*)>(dlsym(library_, name.c_str()));
      emulate(function, bytes, step.grid_x, step.threads);
    }
  }
}

std::vector<LaunchData> EmulatedProgram::run(size_t index, const RandomKernel& random,
                                             bool misaligned) const {
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  size_t skipped = misaligned ? 8 : 0;
  std::vector<LaunchData> result = random.segments;
  std::vector<std::vector<Line>> memory;
  std::vector<std::vector<void*>> arguments;
  std::vector<Segment> segments;
  for (const LaunchData& data : random.segments) {
    size_t first = memory.size();
    for (const std::vector<std::byte>& bytes : data.arguments) {
      memory.emplace_back(bytes.size() / 64 + 2);
      std::memcpy(memory.back()[0].bytes + skipped, bytes.data(), bytes.size());
    }
    std::vector<void*>& pointers = arguments.emplace_back();
    for (uint32_t owner : random.owners)
      pointers.push_back(memory[first + owner][0].bytes + skipped);
    segments.push_back({pointers.data(), data.sizes.data(), data.scalars.data()});
  }
  launch(index, segments);
  size_t next = 0;
  for (LaunchData& data : result)
    for (std::vector<std::byte>& bytes : data.arguments)
      std::memcpy(bytes.data(), memory[next++][0].bytes + skipped, bytes.size());
  return result;
}

}  // namespace encore::jit::cuda
