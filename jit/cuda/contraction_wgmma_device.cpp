#include <encore/jit/cuda/contraction_wgmma.h>
#include <fmt/format.h>

namespace encore::jit::cuda {

std::string_view wgmma_intrinsics() {
  return R"cuda(
namespace contraction {

// As the driver encodes it.
struct alignas(128) TensorMap { u64 words[16]; };

static __device__ unsigned shared_address(const void* p) {
  return unsigned(__cvta_generic_to_shared(p));
}
// Swizzled rows repeat after 1024 bytes.
static __device__ unsigned char* align_boxes(unsigned char* bytes) {
  return bytes + (1024 - shared_address(bytes) % 1024) % 1024;
}

// Barriers whose phase ends when all have arrived and all expected bytes are there.
static __device__ void make_barrier(u64* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
static __device__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async;" ::: "memory");
}
static __device__ void expect_bytes(u64* barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
}
static __device__ void arrive(u64* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
// Until the phase of this parity has ended.
static __device__ void wait_for(u64* barrier, unsigned parity) {
  unsigned done;
  do
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; "
        "selp.u32 %0, 1, 0, p; }"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  while (!done);
}

// One box of 128 bytes times some lines, from the place whose coordinates these are.
#define ENCORE_LOAD_BOX(RANK, PLACE) \
  asm volatile("cp.async.bulk.tensor." RANK ".shared::cluster.global.tile.mbarrier::complete_tx" \
               "::bytes [%0], [%1, {" PLACE "}], [%2];" ::"r"(shared_address(to)), \
               "l"(map), "r"(shared_address(barrier)),
static __device__ void load_box(void* to, const TensorMap* map, u64* barrier, int x, int y) {
  ENCORE_LOAD_BOX("2d", "%3, %4") "r"(x), "r"(y) : "memory");
}
static __device__ void load_box(void* to, const TensorMap* map, u64* barrier, int x, int y, int z) {
  ENCORE_LOAD_BOX("3d", "%3, %4, %5") "r"(x), "r"(y), "r"(z) : "memory");
}
static __device__ void load_box(void* to, const TensorMap* map, u64* barrier, int x, int y, int z,
                                int v) {
  ENCORE_LOAD_BOX("4d", "%3, %4, %5, %6") "r"(x), "r"(y), "r"(z), "r"(v) : "memory");
}
static __device__ void load_box(void* to, const TensorMap* map, u64* barrier, int x, int y, int z,
                                int v, int w) {
  ENCORE_LOAD_BOX("5d", "%3, %4, %5, %6, %7") "r"(x), "r"(y), "r"(z), "r"(v), "r"(w) : "memory");
}
// What threads wrote or read in shared memory comes before what boxes bring there.
static __device__ void give_to_boxes() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#define ENCORE_WGMMA(...) asm volatile(__VA_ARGS__)
static __device__ void open_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
static __device__ void close_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until all but the newest OPEN groups of products are done.
template <int OPEN> __device__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(OPEN) : "memory");
}
// A tile of swizzled rows of 128 bytes: 8 of them are `stride` bytes apart from the next 8. Where
// rows are depths, boxes of 64 lines are `lead` bytes apart.
static __device__ u64 describe_tile(const void* tile, unsigned lead, unsigned stride) {
  return u64(shared_address(tile) >> 4 & 0x3fff) | u64(lead >> 4) << 16 | u64(stride >> 4) << 32 |
         u64(1) << 62;
}

}  // namespace contraction
)cuda";
}

std::string wgmma_instruction(const ContractionPlan& plan, bool a_along_depth, bool b_along_depth) {
  const bool wide = plan.multiplier == Multiplier::tf32;
  const char* dtype = wide ? "tf32" : plan.multiplier == Multiplier::bf16 ? "bf16" : "f16";
  const int sums = plan.columns / 2;
  std::string registers, operands;
  for (int i = 0; i < sums; ++i) {
    registers += fmt::format("{}%{}", i ? "," : "", i);
    operands += fmt::format("{}\"+f\"(sums[{}])", i ? ", " : "", i);
  }
  const std::string turns =
      wide ? "" : fmt::format(", {}, {}", a_along_depth ? 0 : 1, b_along_depth ? 0 : 1);
  return fmt::format(
      R"cuda(
#ifndef ENCORE_WGMMA_{0}_{1}_{2}{3}
#define ENCORE_WGMMA_{0}_{1}_{2}{3}
namespace contraction {{
// sums += a * b of 64 x {1} points by {4} depths.
struct Wgmma_{0}_{1}_{2}{3} {{
  typedef Wgmma_{0}_{1}_{2}{3} Own;
  typedef {5} Element;
  static constexpr bool a_along_depth = {2}, b_along_depth = {3};
  static constexpr bool is_bf16 = {11};
  static __device__ void step(float (&sums)[{6}], u64 a, u64 b) {{
    ENCORE_WGMMA("wgmma.mma_async.sync.aligned.m64n{1}k{4}.f32.{0}.{0} {{{7}}}, %{6}, %{8}, 1, 1, "
                 "1{9};"
                 : {10}
                 : "l"(a), "l"(b));
  }}
}};
}}  // namespace contraction
#endif
)cuda",
      dtype, plan.columns, int(a_along_depth), int(b_along_depth), wide ? 8 : 16,
      wide ? "float" : "unsigned short", sums, registers, sums + 1, turns, operands,
      plan.multiplier == Multiplier::bf16);
}

std::string_view wgmma_tiles() {
  return R"cuda(
namespace contraction {

// ROWS / 64 warpgroups multiply a tile, 64 rows each. What follows 128 bytes of a row's or a
// depth's elements lies in rows below.
template <class Step, int ROWS, int COLUMNS> struct Warpgroups {
  typedef typename Step::Element Element;
  static constexpr int groups = ROWS / 64, depths = 128 / sizeof(Element);
  static constexpr int bytes_a = ROWS * 128, bytes_b = COLUMNS * 128;
  // A box of depths is 64 lines wide and so many bytes long.
  static constexpr int box = depths * 128;
  float sums[COLUMNS / 2];

  static __device__ bool multiplies() { return threadIdx.x < groups * 128; }
  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < COLUMNS / 2; ++i) sums[i] = 0;
  }
  template <bool ALONG_DEPTH>
  static __device__ u64 describe(const unsigned char* tile, int part) {
    return ALONG_DEPTH ? describe_tile(tile + part * 32, 16, 1024)
                       : describe_tile(tile + part * 2048, box, 1024);
  }
  // Begins; `wait_for_products` ends it.
  __device__ void multiply(const unsigned char* tile_a, const unsigned char* tile_b) {
    const unsigned char* const own = tile_a + threadIdx.x / 128 * 8192;
    open_products();
#pragma unroll
    for (int part = 0; part < 4; ++part)
      Step::step(sums, describe<Step::a_along_depth>(own, part),
                 describe<Step::b_along_depth>(tile_b, part));
    close_products();
  }
  __device__ void write(float* tile, int pitch) const {
    const int row = int(threadIdx.x) / 32 * 16 + int(threadIdx.x) % 32 / 4;
    const int column = int(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int i = 0; i < COLUMNS / 2; i += 2) {
      Vector<float, 2> pair = {{sums[i], sums[i + 1]}};
      *reinterpret_cast<Vector<float, 2>*>(tile + (row + i / 2 % 2 * 8) * pitch + column +
                                           i / 4 * 8) = pair;
    }
  }
};

// STAGES pairs of tiles: a barrier for each that it is full, then one each that it is free.
template <int STAGES, class Multiplier> __device__ void make_barriers(u64* barriers) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; ++i) {
      make_barrier(barriers + i, 1);
      make_barrier(barriers + STAGES + i, Multiplier::groups);
    }
    publish_barriers();
  }
  __syncthreads();
}

// All products of a tile over [depth_begin, depth_end). One thread sends for tiles as they become
// free; `turn` counts them through the life of the block. Ends with the tiles free for other use.
template <int STAGES, class Multiplier, class LoadA, class LoadB>
__device__ void multiply_boxes(Multiplier& multiplier, unsigned char* tiles, u64* barriers,
                               unsigned& turn, const LoadA& load_a, const LoadB& load_b,
                               i64 depth_begin, i64 depth_end) {
  constexpr int stage = Multiplier::bytes_a + Multiplier::bytes_b, depths = Multiplier::depths;
  const int steps = depth_begin < depth_end ? int((depth_end - depth_begin + depths - 1) / depths)
                                            : 0;
  if (Multiplier::multiplies()) {
    multiplier.clear();
    unsigned slot = turn % STAGES, parity = turn / STAGES % 2, before = 0;
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      unsigned char* const tile = tiles + slot * stage;
      wait_for(barriers + slot, parity);
      multiplier.multiply(tile, tile + Multiplier::bytes_a);
      wait_for_products<1>();
      if (step > 0 && threadIdx.x % 128 == 0) arrive(barriers + STAGES + before);
      before = slot;
      slot = slot + 1 == STAGES ? 0 : slot + 1;
      parity ^= slot == 0;
    }
    wait_for_products<0>();
    if (steps > 0 && threadIdx.x % 128 == 0) arrive(barriers + STAGES + before);
  } else if (threadIdx.x == Multiplier::groups * 128) {
    unsigned slot = turn % STAGES, parity = turn / STAGES % 2;
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      unsigned char* const tile = tiles + slot * stage;
      wait_for(barriers + STAGES + slot, parity ^ 1);
      expect_bytes(barriers + slot, stage);
      load_a(tile, depth_begin + i64(step) * depths, barriers + slot);
      load_b(tile + Multiplier::bytes_a, depth_begin + i64(step) * depths, barriers + slot);
      slot = slot + 1 == STAGES ? 0 : slot + 1;
      parity ^= slot == 0;
    }
  }
  turn += steps;
  __syncthreads();
}

}  // namespace contraction
)cuda";
}

}  // namespace encore::jit::cuda
