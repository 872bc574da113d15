#include <encore/trace/place_blocks.h>

#include <algorithm>
#include <bit>

namespace encore::trace {
namespace {

/// Calls `visit` for the fewest nodes of a binary tree that together are the leaves of `life`.
template <class Visit>
void for_each_cover(uint32_t leaves, Interval life, Visit visit) {
  uint64_t from = uint64_t(life.first) + leaves, to = uint64_t(life.last) + leaves + 1;
  for (; from < to; from /= 2, to /= 2) {
    if (from & 1) visit(from++);
    if (to & 1) visit(--to);
  }
}

/// The start of the smallest gap between blocks that all live at once, else behind them.
int64_t find_gap(std::vector<Block>& blocks, int64_t bytes) {
  std::sort(blocks.begin(), blocks.end(),
            [](const Block& a, const Block& b) { return a.begin < b.begin; });
  int64_t best = nowhere, best_gap = INT64_MAX, top = 0;
  for (const Block& block : blocks) {
    int64_t gap = block.begin - top;
    if (gap >= bytes && gap < best_gap) best = top, best_gap = gap;
    top = std::max(top, block.end);
  }
  return best == nowhere ? top : best;
}

int64_t aligned(int64_t bytes) {
  return (bytes + block_alignment - 1) / block_alignment * block_alignment;
}

}  // namespace

GrowingRange::GrowingRange(uint32_t times)
    : leaves_(std::bit_ceil(std::max(times, 1u))),
      covering_(2 * size_t(leaves_)),
      top_(2 * size_t(leaves_)),
      top_inside_(2 * size_t(leaves_)) {}

/// Blocks alive in `life`: at its start, and those that start later. False: there are too many.
bool GrowingRange::find_neighbours(Interval life, std::vector<Block>& found) const {
  for (uint64_t node = uint64_t(life.first) + leaves_; node > 0; node /= 2) {
    if (found.size() + covering_[node].size() > most_neighbours) return false;
    found.insert(found.end(), covering_[node].begin(), covering_[node].end());
  }
  auto end = by_first_.upper_bound(life.last);
  for (auto next = by_first_.upper_bound(life.first); next != end; ++next) {
    if (found.size() == most_neighbours) return false;
    found.push_back(next->second);
  }
  return true;
}

int64_t GrowingRange::top_over(Interval life) const {
  int64_t top = 0;
  for_each_cover(leaves_, life, [&](uint64_t node) {
    top = std::max(top, top_inside_[node]);
    for (; node > 0; node /= 2) top = std::max(top, top_[node]);
  });
  return top;
}

int64_t GrowingRange::place(Interval life, int64_t bytes) {
  std::vector<Block> neighbours;
  bool all = find_neighbours(life, neighbours);
  int64_t begin = all ? find_gap(neighbours, aligned(bytes)) : top_over(life);
  Block block{life, begin, begin + aligned(bytes)};
  by_first_.insert({life.first, block});
  for_each_cover(leaves_, life, [&](uint64_t node) {
    covering_[node].push_back(block);
    top_[node] = std::max(top_[node], block.end);
    for (; node > 0; node /= 2) top_inside_[node] = std::max(top_inside_[node], block.end);
  });
  bytes_ = std::max(bytes_, block.end);
  return begin;
}

int64_t FixedRange::place(Interval life, int64_t bytes) {
  if (blocks_.size() >= most_blocks) return nowhere;
  std::vector<Block> neighbours;
  for (const Block& block : blocks_)
    if (block.life.meets(life)) neighbours.push_back(block);
  int64_t begin = find_gap(neighbours, bytes);
  if (begin + bytes > bytes_) return nowhere;
  blocks_.push_back({life, begin, begin + aligned(bytes)});
  return begin;
}

}  // namespace encore::trace
