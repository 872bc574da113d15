// Products by blocks, knowing nothing of kernels: how to cut one, and how to run one piece.
//
// A product is cut twice. Between threads: outer points x rows x columns, each *unit* belonging to
// one thread. Within a unit: blocks of depth whose panel of B stays in the second-level cache,
// blocks of rows whose part of A stays there too, then register tiles. B is packed, where that
// pays, by the first row of tiles that reads it.
//
// Threads: `run_unit` may run for different units at once; plans and products are then read only.
#pragma once
#include <encore/jit/cpu/contraction_pack.h>

#include <cstddef>
#include <cstdint>

namespace encore::jit {

/// Where complete sums go: straight to memory, or through a finisher.
struct Sink {
  std::byte* base = nullptr;  // affine store; null where a finisher runs
  Steps outer, rows, columns;
  TileFinisher finish = nullptr;
  const Segment* segment = nullptr;
  int64_t column_accumulators = 0;
  int64_t rows_per_chunk = 0;  // 0: chunks do not matter
};

struct Product {
  Isa isa = Isa::avx2;
  DType dtype = DType::f32;
  int64_t outers = 1, rows = 0, columns = 0, depth = 0;
  Operand a, b;
  Sink sink;

  int64_t element() const { return a.element; }
  int64_t lanes() const { return lanes_of(isa, dtype); }
  /// Whether micro-kernels may store sums where they belong.
  bool stores_directly() const {
    return sink.base && sink.rows.is_linear() && sink.columns.is_linear() &&
           sink.columns.stride(element()) == element();
  }
};

struct Plan {
  int64_t tile_rows = 1;     // at most
  int64_t tile_vectors = 1;  // at most
  int64_t depth_block = 1;
  int64_t row_block = 1;
  int64_t row_group = 1;     // rows that pass through all blocks of depth before the next ones
  int64_t column_block = 1;  // columns whose packed panels are kept
  bool packs_a = false;
  bool packs_b = false;
  int64_t row_units = 1, column_units = 1;  // per outer point
  int64_t threads = 1;                      // that it was made for
};

/// Plans for `threads` threads. Deterministic; the sums do not depend on it.
Plan plan_product(const Product& product, int64_t threads);

/// Estimated time of the whole product on one core, in cycles.
double estimated_cycles(const Product& product);

int64_t unit_count(const Product& product, const Plan& plan);
void run_unit(const Product& product, const Plan& plan, int64_t unit);

/// The register tile that multiplies most of a product with rows and columns, for people.
MicroTile main_tile(const Product& product, const Plan& plan);

/// Tells the finisher of rows or columns that do not exist: where a kernel has no rows its column
/// accumulators still give their identities.
void finish_empty(const Product& product);

}  // namespace encore::jit
