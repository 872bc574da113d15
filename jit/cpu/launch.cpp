#include <encore/jit/cpu/launch.h>
#include <encore/jit/cpu/parallel.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <string>

namespace encore::jit {
namespace {

/// The cache that cores share, as the kernel tells it; the C library counts all of a socket's.
int64_t last_level_cache() {
  int64_t kilobytes = 0;
  for (const char* level : {"3", "2"}) {
    std::string path = std::string("/sys/devices/system/cpu/cpu0/cache/index") + level + "/size";
    if (std::ifstream(path) >> kilobytes) return kilobytes << 10;
  }
  return sysconf(_SC_LEVEL2_CACHE_SIZE);
}

/// Outputs above half of the last-level cache leave it before they are read, because what the
/// launch reads passes through it as well.
int64_t streaming_threshold() {
  static const int64_t bytes = std::max(last_level_cache() / 2, least_streamed_bytes);
  return bytes;
}

/// Inner points whose totals stay in the nearest caches.
constexpr int64_t column_block = 4 * inner_granule;

/// Memory for totals and kept rows, one a thread, grown as needed.
std::byte* thread_memory(size_t bytes) {
  thread_local std::unique_ptr<std::byte[]> memory;
  thread_local size_t held = 0;
  if (held < bytes + 64) {
    memory = std::make_unique_for_overwrite<std::byte[]>(bytes + 64);
    held = bytes + 64;
  }
  auto address = reinterpret_cast<uintptr_t>(memory.get());
  return memory.get() + (64 - address % 64) % 64;
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

struct Launcher::Unit {
  const Segment* segment;
  Range range;
};

struct Launcher::Extents {
  int64_t outer, rows, inner, chunks, rows_per_chunk, contracted;
  int64_t points() const { return outer * rows * inner; }
};

Launcher::Launcher(const Kernel& kernel) : kernel_(kernel), traits_(traits_of(kernel)) {
  point_ns_ = 0.01, row_ns_ = 2;
  for (const Stage& stage : kernel.stages) {
    for (uint32_t i = stage.begin; i < stage.end; ++i) {
      const Instruction& instruction = kernel.instructions[i];
      bool memory = instruction.op == Opcode::load || instruction.op == Opcode::store ||
                    instruction.op == Opcode::store_add;
      if (stage.kind == StageKind::row) row_ns_ += 1;
      if (stage.kind != StageKind::sweep) continue;
      point_ns_ += memory ? 0.03 * double(size_of(instruction.dtype)) : 0.02;
    }
  }
  for (const Accumulator& accumulator : kernel.accumulators)
    if (accumulator.column) totals_bytes_ = std::max(totals_bytes_, size_of(accumulator.dtype));
  for (const KeptRow& kept : traits_.kept_rows)
    kept_bytes_ = std::max(kept_bytes_, size_of(kernel.arguments[kept.argument].dtype));
}

Launcher::Extents Launcher::extents_of(const Segment& segment) const {
  Extents extents;
  extents.outer = extent_product(kernel_, Role::outer, segment.sizes);
  extents.rows = extent_product(kernel_, Role::row, segment.sizes);
  extents.inner = extent_product(kernel_, Role::inner, segment.sizes);
  extents.contracted = extent_product(kernel_, Role::contracted, segment.sizes);
  extents.chunks = chunk_count(kernel_, segment.sizes);
  extents.rows_per_chunk =
      kernel_.rows_per_chunk == none ? extents.rows : segment.sizes[kernel_.rows_per_chunk];
  return extents;
}

double Launcher::cost_ns(const Extents& extents) const {
  double depth = kernel_.contraction ? double(extents.contracted) : 0;
  return double(extents.outer) * double(extents.rows) *
         (row_ns_ + double(extents.inner) * (point_ns_ + 0.2 * depth));
}

/// Cuts the independent points into equal pieces, each at most three ranges of whole rows.
void Launcher::split_points(const Extents& extents, int64_t pieces, Unit unit,
                            std::vector<Unit>& units) const {
  int64_t points = extents.outer * extents.rows;
  auto add = [&](int64_t outer_begin, int64_t outer_end, int64_t row_begin, int64_t row_end) {
    if (outer_begin >= outer_end || row_begin >= row_end) return;
    unit.range.outer_begin = outer_begin, unit.range.outer_end = outer_end;
    unit.range.row_begin = row_begin, unit.range.row_end = row_end;
    units.push_back(unit);
  };
  for (int64_t piece = 0; piece < pieces; ++piece) {
    int64_t begin = points * piece / pieces, end = points * (piece + 1) / pieces;
    int64_t first = begin / extents.rows, last = end / extents.rows;
    if (first == last) {
      add(first, first + 1, begin % extents.rows, end % extents.rows);
      continue;
    }
    int64_t whole = begin % extents.rows ? first + 1 : first;
    if (whole > first) add(first, whole, begin % extents.rows, extents.rows);
    add(whole, last, 0, extents.rows);
    add(last, last + 1, 0, end % extents.rows);
  }
}

/// The units of one range of inner points.
void Launcher::split_lines(const Extents& extents, int64_t pieces, Unit unit,
                           std::vector<Unit>& units) const {
  Range& range = unit.range;
  if (traits_.column_accumulators) {
    for (int64_t outer = 0; outer < extents.outer; ++outer) {
      for (int64_t chunk = 0; chunk < extents.chunks; ++chunk) {
        range.outer_begin = outer, range.outer_end = outer + 1, range.chunk = chunk;
        range.row_begin = chunk * extents.rows_per_chunk;
        range.row_end = std::min(range.row_begin + extents.rows_per_chunk, extents.rows);
        units.push_back(unit);
      }
    }
  } else if (traits_.serial_rows) {
    pieces = std::min(pieces, extents.outer);
    for (int64_t piece = 0; piece < pieces; ++piece) {
      range.outer_begin = extents.outer * piece / pieces;
      range.outer_end = extents.outer * (piece + 1) / pieces;
      units.push_back(unit);
    }
  } else if (int64_t points = extents.outer * extents.rows) {
    split_points(extents, std::min(pieces, points), unit, units);
  }
}

Launcher::Unit Launcher::whole(const Segment& segment, const Extents& extents) const {
  Unit unit{&segment, {}};
  Range& range = unit.range;
  range = {0, extents.outer, 0, extents.rows, 0, extents.inner, 0, nullptr, 0, nullptr, 0, 0};
  range.streaming = traits_.streamed_bytes * extents.points() > streaming_threshold();
  return unit;
}

void Launcher::split(const Segment& segment, const Extents& extents, double unit_ns,
                     std::vector<Unit>& units) const {
  Unit unit = whole(segment, extents);
  Range& range = unit.range;
  int64_t pieces = std::max<int64_t>(1, int64_t(std::llround(cost_ns(extents) / unit_ns)));
  int64_t lines = extents.outer * (traits_.column_accumulators ? extents.chunks
                                   : traits_.serial_rows       ? 1
                                                               : extents.rows);
  if (traits_.splits_inner && extents.inner > 0) {
    int64_t block = extents.inner;
    if (lines < 4 * pieces)
      block = divide_up(block, divide_up(pieces, std::max<int64_t>(lines, 1)));
    if (traits_.column_accumulators) block = std::min(block, column_block);
    block = divide_up(block, inner_granule) * inner_granule;
    pieces = divide_up(pieces, divide_up(extents.inner, block));
    for (int64_t begin = 0; begin < extents.inner; begin += block) {
      range.inner_begin = begin, range.inner_end = std::min(begin + block, extents.inner);
      split_lines(extents, pieces, unit, units);
    }
    return;
  }
  split_lines(extents, pieces, unit, units);
}

void Launcher::run(KernelFunction function, std::span<const Unit> units) const {
  for (const Unit& unit : units) {
    Range range = unit.range;
    int64_t points = std::max<int64_t>(1, range.inner_end - range.inner_begin);
    range.totals_stride = divide_up(int64_t(totals_bytes_) * points, 64) * 64;
    range.kept_stride = divide_up(int64_t(kept_bytes_) * points, 64) * 64;
    int64_t totals = range.totals_stride * int64_t(kernel_.accumulators.size());
    int64_t kept = range.kept_stride * int64_t(traits_.kept_rows.size());
    if (totals + kept > 0) range.totals = thread_memory(size_t(totals + kept));
    range.kept = range.totals + totals;
    function(unit.segment, &range);
  }
}

void Launcher::launch(KernelFunction function, std::span<const Segment> segments) const {
  if (segments.size() == 1 && !traits_.column_accumulators) {
    Extents extents = extents_of(segments[0]);
    if (extents.points() > 0 && cost_ns(extents) < 2 * splitting_threshold_ns) {
      Unit unit = whole(segments[0], extents);
      return run(function, {&unit, 1});
    }
  }
  thread_local std::vector<Unit> units;
  units.clear();
  double total_ns = 0;
  for (const Segment& segment : segments) total_ns += cost_ns(extents_of(segment));
  // Chunks are units of their own, and serial rows want these in order.
  bool serial = traits_.serial_rows && traits_.column_accumulators;
  int threads = serial || total_ns < 2 * splitting_threshold_ns ? 1 : thread_count();
  double parts = threads * (segments.size() > 1 ? 4 : 1);
  double unit_ns =
      threads == 1 ? std::max(total_ns, 1.0) : std::max(splitting_threshold_ns, total_ns / parts);
  for (const Segment& segment : segments) split(segment, extents_of(segment), unit_ns, units);
  if (threads == 1) return run(function, units);
  std::span<const Unit> all = units;
  parallel_for(int64_t(all.size()), [&](int64_t begin, int64_t end) {
    run(function, all.subspan(size_t(begin), size_t(end - begin)));
  });
}

}  // namespace encore::jit
