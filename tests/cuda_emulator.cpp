#include "cuda_emulator.h"

#include <dlfcn.h>
#include <encore/core/error.h>
#include <encore/jit/cuda/prelude.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "emulated_tensor_map.h"

namespace encore::jit::cuda {
namespace {

// What NVRTC knows by itself, and device_prelude(), for the host.
constexpr const char* shim = R"(
#include <csetjmp>
#include <cmath>
#include <cstring>
#include <memory>
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
constexpr size_t stack_bytes = 1 << 18;
struct Fiber {
  jmp_buf place;
  ucontext_t start;
  bool begun, done;
  std::unique_ptr<char[]> stack{new char[stack_bytes]};
};
static std::vector<Fiber> fibers;
static std::vector<Group> warps, teams;
static std::vector<Group> wholes;  // by block of the cluster
static Group whole_cluster;
static unsigned me = 0, block_threads = 0;  // which fiber runs; fibers of a block
static u64 traded[4096];
static jmp_buf scheduler;
static void (*entry)(const void*);
static const void* parameters;
static unsigned team_size = 0;

static void yield() {
  if (_setjmp(fibers[me].place) == 0) _longjmp(scheduler, 1);
}
static void wait(Group& group) {
  unsigned round = group.round;
  if (++group.arrived == group.members) { group.arrived = 0; ++group.round; return; }
  while (group.round == round) yield();
}
static Group& my_warp() {
  return warps[me / block_threads * ((block_threads + 31) / 32) + threadIdx.x / 32];
}
static void __syncthreads() { wait(wholes[me / block_threads]); }
static void __syncwarp() { wait(my_warp()); }
template <int team, int count>
static void team_barrier() {
  if (team <= 32) return wait(my_warp());
  if (count == 1) return __syncthreads();
  teams[threadIdx.x / team].members = team;
  wait(teams[threadIdx.x / team]);
}
template <class T>
static T trade(T a, unsigned from) {
  u64 bits = 0;
  memcpy(&bits, &a, sizeof a);
  traded[me] = bits;
  wait(my_warp());
  if (from / 32 == threadIdx.x / 32 && from < block_threads) bits = traded[me - threadIdx.x + from];
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
  traded[me] = a != 0;
  wait(my_warp());
  for (unsigned i = 0; i < 32; ++i) {
    unsigned other = threadIdx.x / 32 * 32 + i;
    if (other < block_threads && traded[me - threadIdx.x + other]) all |= 1u << i;
  }
  wait(my_warp());
  return all;
}
static int __ffs(int a) { return __builtin_ffs(a); }

// Who is done is waited for no more.
static void leave(Group& group) {
  if (--group.members > 0 && group.arrived == group.members) group.arrived = 0, ++group.round;
}
static void width_barrier(int width, int team) {
  if (width <= 32) return wait(my_warp());
  Group& group = teams[me / block_threads * block_threads + (unsigned)(team + 1)];
  group.members = (unsigned)width;
  wait(group);
}

static void begin() {
  entry(parameters);
  leave(my_warp());
  leave(wholes[me / block_threads]);
  fibers[me].done = true;
  _longjmp(scheduler, 1);
}
// Blocks first_block, first_block + 1, ... of one cluster.
static void run_cluster(unsigned first_block, unsigned blocks, unsigned threads) {
  fibers.resize(blocks * threads);
  warps.assign(blocks * ((threads + 31) / 32), {});
  teams.assign(blocks * threads, {});
  wholes.assign(blocks, {0, threads, 0});
  whole_cluster = {0, blocks * threads, 0};
  block_threads = threads;
  for (unsigned w = 0; w < warps.size(); ++w)
    warps[w].members = std::min(32u, threads - 32 * (w % ((threads + 31) / 32)));
  for (Fiber& fiber : fibers) fiber.begun = fiber.done = false;
  volatile unsigned left = blocks * threads;
  volatile unsigned turn = 0;
  while (left > 0) {
    for (turn = 0; turn < blocks * threads; turn = turn + 1) {
      Fiber& fiber = fibers[turn];
      if (fiber.done) continue;
      me = turn;
      threadIdx.x = turn % threads;
      blockIdx.x = first_block + turn / threads;
      if (_setjmp(scheduler) == 0) {
        if (fiber.begun) _longjmp(fiber.place, 1);
        fiber.begun = true;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.get();
        fiber.start.uc_stack.ss_size = stack_bytes;
        makecontext(&fiber.start, begin, 0);
        setcontext(&fiber.start);
      }
      if (fibers[turn].done) left = left - 1;
    }
  }
}
static std::vector<std::vector<unsigned char>> dynamic_memory;  // by block of the cluster
static void emulate(void (*function)(const void*), const void* block, unsigned grid,
                        unsigned threads, unsigned shared, unsigned cluster) {
  entry = function, parameters = block;
  dynamic_memory.assign(cluster, {});
  for (unsigned first = 0; first < grid; first += cluster) {
    for (auto& memory : dynamic_memory) memory.assign(shared + 1024, 0xff);
    run_cluster(first, cluster, threads);
  }
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
static f32 __fadd_rn(f32 a, f32 b) { return a + b; }
static f32 __fsub_rn(f32 a, f32 b) { return a - b; }
static f32 __fmul_rn(f32 a, f32 b) { return a * b; }
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
static f32 reciprocal_near(f32 a) { return 1.0f / a; }
static u16 brain_bits(f32 a) {
  u32 bits = __float_as_uint(a);
  return a != a ? (u16)0x7fff : (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static u16 half_bits(f32 a) { _Float16 h = (_Float16)a; u16 r; memcpy(&r, &h, 2); return r; }
static f32 from_half_bits(u16 a) { _Float16 h; memcpy(&h, &a, 2); return (f32)h; }
)";

// contraction_intrinsics() for the host. Fragments are laid out as PTX describes them; tensor cores
// see what their dtype holds and cut off the rest.
constexpr const char* contraction_shim = R"(
#include <cstdio>
#include <cstdlib>
#define ENCORE_CONTRACTION_INTRINSICS
#define __device__
#define __cluster_dims__(...)
static void require(bool holds, const char* what) {
  if (!holds) { fprintf(stderr, "emulator: %s\n", what); abort(); }
}
namespace contraction {
static unsigned char* shared_memory() {
  unsigned char* bytes = dynamic_memory[me / block_threads].data();
  return bytes + (1024 - (u64)bytes % 1024) % 1024;
}
static u32 fragments[4096][6];
// Element `e` of register `r` of a's fragment: row lane / 4 + 8 (r % 2), depth
// word * (lane % 4 + 4 (r / 2)) + e; of b's likewise with columns.
template <int depths, class Number>
static void multiply(f32 (&sums)[4], const u32 (&a)[4], const u32 (&b)[2], Number number) {
  for (int i = 0; i < 4; ++i) fragments[me][i] = a[i];
  for (int i = 0; i < 2; ++i) fragments[me][4 + i] = b[i];
  wait(my_warp());
  constexpr int word = depths / 8;
  const unsigned lane = threadIdx.x % 32, warp = me - lane;
  for (int s = 0; s < 4; ++s) {
    const int row = lane / 4 + s / 2 * 8, column = lane % 4 * 2 + s % 2;
    for (int d = 0; d < depths; ++d) {
      const int register_half = d / word / 4, owner = d / word % 4;
      const u32 in_a = fragments[warp + row % 8 * 4 + owner][row / 8 + 2 * register_half];
      const u32 in_b = fragments[warp + column * 4 + owner][4 + register_half];
      sums[s] += number(in_a, d % word) * number(in_b, d % word);
    }
  }
  wait(my_warp());
}
static void multiply_tf32(f32 (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  multiply<8>(sums, a, b, [](u32 w, int) { return __uint_as_float(w & 0xffffe000u); });
}
static void multiply_bf16(f32 (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  multiply<16>(sums, a, b, [](u32 w, int e) { return __uint_as_float(w >> 16 * e << 16); });
}
static void multiply_f16(f32 (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  multiply<16>(sums, a, b, [](u32 w, int e) { return from_half_bits((u16)(w >> 16 * e)); });
}
static const u16* matrix_rows[4096];
template <bool transposed>
static void load_matrices(u32 (&words)[4], const void* row) {
  require((u64)row % 16 == 0, "a matrix's row is not aligned");
  matrix_rows[me] = (const u16*)row;
  wait(my_warp());
  const unsigned lane = threadIdx.x % 32, warp = me - lane;
  for (int m = 0; m < 4; ++m) {
    words[m] = 0;
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned r = lane / 4, c = lane % 4 * 2 + i;
      const u16** rows = matrix_rows + warp + m * 8;
      const u16 element = transposed ? rows[c][r] : rows[r][c];
      words[m] |= (u32)element << 16 * i;
    }
  }
  wait(my_warp());
}
// Copies arrive at once, into memory that nobody may still be reading: a race would show.
static void copy_16(void* to, const void* from, int bytes) {
  require((u64)to % 16 == 0 && (bytes == 0 || (u64)from % 16 == 0), "a copy is not aligned");
  memset(to, 0, 16);
  memcpy(to, from, bytes);
}
template <class T>
static void copy_one(T* to, const T* from, bool exists) { *to = exists ? *from : T(0); }
static void close_copies() {}
template <int open>
static void wait_for_copies() {}
static void meet_cluster() { wait(whole_cluster); }
static f32 read_of_block(const f32* mine, unsigned rank) {
  const u64 offset = (const unsigned char*)mine - shared_memory();
  const unsigned self = me;
  me = rank * block_threads;
  const f32 value = *(const f32*)(shared_memory() + offset);
  me = self;
  return value;
}
}  // namespace contraction
)";

// wgmma_intrinsics() for the host: boxes arrive and products are made at once.
constexpr const char* wgmma_shim = R"(
#define ENCORE_WGMMA_INTRINSICS
#pragma GCC push_options
#pragma GCC optimize("O2")
namespace contraction {
struct alignas(128) TensorMap {  // as encode_for_emulator() writes it
  const unsigned char* address;
  u32 axes, element, extents[5], box[5];
  u64 strides[5];
};
static u32 shared_address(const void* p) { return (u32)((const unsigned char*)p - shared_memory()); }
static unsigned char* align_boxes(unsigned char* bytes) { return bytes; }
struct Barrier { u16 awaited; i16 arrivals; i32 bytes : 31; u32 phase : 1; };
static void end_phase(Barrier& barrier) {
  if (barrier.awaited || barrier.bytes) return;
  barrier.awaited = barrier.arrivals;
  barrier.phase ^= 1;
}
static void make_barrier(u64* barrier, u32 arrivals) {
  *(Barrier*)barrier = {(u16)arrivals, (i16)arrivals, 0, 0};
}
static void publish_barriers() {}
static void arrive(u64* barrier) {
  require(((Barrier*)barrier)->awaited > 0, "more arrive than a barrier awaits");
  --((Barrier*)barrier)->awaited;
  end_phase(*(Barrier*)barrier);
}
static void expect_bytes(u64* barrier, u32 bytes) {
  ((Barrier*)barrier)->bytes += bytes;
  arrive(barrier);
}
static void wait_for(u64* barrier, u32 parity) {
  while (((Barrier*)barrier)->phase == parity) yield();
}
static f32 to_tf32(f32 a) { return a - a == 0 ? __uint_as_float((__float_as_uint(a) + 0x1000) & 0xffffe000) : a; }
static void load_box(void* to, const TensorMap* map, u64* barrier, int x, int y, int z = 0, int v = 0,
                     int w = 0) {
  const i64 place[5] = {x, y, z, v, w};
  const u32 element = map->element, lines = map->box[1];
  require(shared_address(to) % 1024 == 0 && map->box[0] * element == 128, "a box is not aligned");
  for (u32 line = 0; line < lines; ++line)
    for (u32 i = 0; i < map->box[0]; ++i) {
      bool exists = true;
      const unsigned char* from = map->address;
      for (u32 axis = 0; axis < map->axes; ++axis) {
        const i64 at = place[axis] + (axis == 0 ? i : axis == 1 ? line : 0);
        exists &= at >= 0 && at < map->extents[axis];
        from += at * (axis == 0 ? element : map->strides[axis]);
      }
      unsigned char* into = (unsigned char*)to + line * 128 + (i * element ^ line % 8 * 16);
      memset(into, 0, element);
      if (exists) memcpy(into, from, element);
      if (element == 4) *(f32*)into = to_tf32(*(f32*)into);
    }
  ((Barrier*)barrier)->bytes -= lines * 128;
  end_phase(*(Barrier*)barrier);
}
static void give_to_boxes() {}
static void open_products() {}
static void close_products() {}
template <int open>
static void wait_for_products() {}
static u64 describe_tile(const void* tile, u32 lead, u32 stride) {
  return shared_address(tile) | (u64)lead << 20 | (u64)stride << 40;
}
template <bool along_depth, class Element>
static Element element_of_tile(u64 tile, int line, int depth) {
  const u64 lead = tile >> 20 & 0xfffff, stride = tile >> 40;
  u64 at = tile & 0xfffff;
  at += along_depth ? line / 8 * stride + line % 8 * 128 + depth * sizeof(Element)
                    : line / 64 * lead + line % 64 * sizeof(Element) + depth / 8 * stride + depth % 8 * 128;
  return *(const Element*)(shared_memory() + (at ^ (at >> 7 & 7) << 4));
}
static f32 number_of(f32 a, bool) { return __uint_as_float(__float_as_uint(a) & 0xffffe000); }
static f32 number_of(u16 a, bool is_bf16) {
  return is_bf16 ? __uint_as_float((u32)a << 16) : from_half_bits(a);
}
template <class Step, int sums_of_thread>
static void multiply_warpgroup(f32 (&sums)[sums_of_thread], u64 a, u64 b) {
  typedef typename Step::Element Element;
  for (int i = 0; i < sums_of_thread; ++i) {
    const int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4 + i / 2 % 2 * 8;
    const int column = i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
    for (int depth = 0; depth < 32 / sizeof(Element); ++depth)
      sums[i] += number_of(element_of_tile<Step::a_along_depth, Element>(a, row, depth), Step::is_bf16) *
                 number_of(element_of_tile<Step::b_along_depth, Element>(b, column, depth), Step::is_bf16);
  }
}
#define ENCORE_WGMMA(...) multiply_warpgroup<Own>(sums, a, b)
}  // namespace contraction
#pragma GCC pop_options
)";

std::string symbol_of(size_t index) { return fmt::format("k{}", index); }

}  // namespace

std::string emulator_shim() { return std::string(shim) + contraction_shim + wgmma_shim; }

std::string emulator_calls(const std::string& text) {
  static const std::regex kernel(
      R"((?:__cluster_dims__\((\d+)[^)]*\) )?__launch_bounds__\([^)]*\) )"
      R"((\w+)\(const __grid_constant__ (\w+) p\))");
  std::string calls;
  for (std::sregex_iterator found(text.begin(), text.end(), kernel), end; found != end; ++found)
    calls += fmt::format(
        "extern \"C\" void run_{0}(const void* block, u32 grid, u32 threads, u32 shared) {{\n"
        "  emulate([](const void* p) {{ {0}(*(const {1}*)p); }}, block, grid, threads, shared, "
        "{2});\n"
        "}}\n"
        "extern \"C\" unsigned long size_{0}() {{ return sizeof({1}); }}\n",
        found->str(2), found->str(3), found->length(1) ? found->str(1) : "1");
  return calls;
}

EmulatedProgram::EmulatedProgram(const std::vector<const Kernel*>& kernels, const Target& target) {
  std::string source = emulator_shim() + portable_prelude();
  for (size_t i = 0; i < kernels.size(); ++i) {
    source += generate(*kernels[i], symbol_of(i), target);
    layouts_.emplace_back(*kernels[i], target);
  }
  source += emulator_calls(source);
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
  struct alignas(128) Line {
    std::byte bytes[128];
  };
  std::vector<Line> block((layout.parameter_bytes() + 127) / 128);
  std::byte* bytes = block[0].bytes;
  for (size_t first = 0; first < segments.size(); first += layout.capacity()) {
    size_t count = std::min<size_t>(layout.capacity(), segments.size() - first);
    Steps steps = layout.pack(segments.subspan(first, count), bytes);
    std::vector<uint64_t> scratch(steps.scratch_bytes / 8 + 1, 0x7ff8dead7ff8dead);
    layout.set_scratch(bytes, scratch.data());
    if (steps.needs_maps) {
      const auto maps = layout.tensor_maps(segments[first], steps.launches[0]);
      for (size_t i = 0; i < maps.size(); ++i)
        encode_for_emulator(maps[i], bytes + layout.maps_at() + i * TensorMap::bytes);
    }
    for (const Geometry& step : steps) {
      std::string name = "run_" + function_symbol(symbol_of(index), step.function);
      auto run = reinterpret_cast<EmulatedKernel>(dlsym(library_, name.c_str()));
      run(bytes, step.grid_x, step.threads, step.shared_bytes);
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
      std::copy(bytes.begin(), bytes.end(), memory.back()[0].bytes + skipped);
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
      std::copy_n(memory[next++][0].bytes + skipped, bytes.size(), bytes.begin());
  return result;
}

}  // namespace encore::jit::cuda
