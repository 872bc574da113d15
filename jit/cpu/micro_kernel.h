// Register tiles of C = A * B, generated on first use: a block of rows x vectors sums is held in
// registers while one loop runs over the contracted points.
//
// A kernel is keyed by the tile alone; strides, depth and the number of tiles are arguments, so the
// table of kernels is small and never shrinks. Code is position-independent and has no relocations.
//
// Threads: `micro_kernel` may be called from any thread; a known kernel costs one atomic load.
#pragma once
#include <encore/jit/cpu/target.h>
#include <encore/lazy/dtype.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace encore::jit {

/// Elements of a vector.
constexpr int lanes_of(Isa isa, DType dtype) { return vector_bytes(isa) / int(size_of(dtype)); }

/// How a kernel steps through A. B's rows of a tile are contiguous always.
enum class AOrder : uint8_t {
  depth_contiguous,  // one row: consecutive depths; any row stride
  row_contiguous,    // one depth: consecutive rows; any depth stride
};

struct MicroTile {
  Isa isa = Isa::avx2;
  DType dtype = DType::f32;  // f32 or f64
  uint8_t rows = 0;
  uint8_t vectors = 0;
  AOrder a_order = AOrder::depth_contiguous;
  bool masked = false;     // the last vector has `tail` lanes only
  bool copies_b = false;   // writes the panel of B that it reads to `b_copy`, without gaps
  bool half_tail = false;  // `tail` lanes fit into half a register; with AVX-512 only
};

inline constexpr int max_tile_rows = 30;
inline constexpr int max_tile_vectors = 8;

/// The most rows whose sums fit the registers beside a row of B and an element of A, whether or not
/// the last vector is masked; 0: so many vectors do not fit.
int most_tile_rows(Isa isa, int vectors);

/// Strides are in bytes. The kernel uses the struct as its own memory.
struct MicroCall {
  const std::byte* a;
  const std::byte* b;
  std::byte* c;
  int64_t a_row, a_depth;  // only the one that `a_order` leaves open is read
  int64_t b_depth;
  int64_t c_row;
  int64_t a_tile, c_tile;  // from one tile of rows to the next
  int64_t tiles;           // at least 1
  int64_t depth;           // may be 0
  int64_t accumulate;      // 0: sums start from 0; else from what c holds
  int64_t tail;            // lanes of a masked last vector
  std::byte* b_copy;       // aligned to a vector
};

using MicroKernel = void (*)(MicroCall*);

/// Generates the kernel, or finds it. Throws Error when the machine refuses executable memory.
MicroKernel micro_kernel(const MicroTile& tile);

/// What the kernel is called in profiles and backtraces: "encore_micro_f32_8x3".
std::string name_of(const MicroTile& tile);

/// The kernel's assembly, for people and for tests.
std::string assembly_of(const MicroTile& tile);

}  // namespace encore::jit
