// Places blocks that live for a while into a range of memory: those alive at once never overlap.
//
// A block goes into the smallest gap that fits between those alive with it. Offsets and sizes are
// multiples of `block_alignment`. Place large blocks first: the rest finds room between them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace encore::trace {

inline constexpr int64_t block_alignment = 64, nowhere = -1;

/// Launches, both ends included.
struct Interval {
  uint32_t first = ~0u, last = 0;
  bool meets(const Interval& other) const { return first <= other.last && other.first <= last; }
};

struct Block {
  Interval life;
  int64_t begin, end;
};

/// A range that grows. Where too many blocks live at once to look at all, a new one goes behind
/// them; so placing n blocks costs about n log n.
class GrowingRange {
 public:
  static constexpr size_t most_neighbours = 512;

  /// `times`: all intervals end before it.
  explicit GrowingRange(uint32_t times);

  /// The offset of a new block.
  int64_t place(Interval life, int64_t bytes);
  /// The end of the last block.
  int64_t bytes() const { return bytes_; }

 private:
  bool find_neighbours(Interval life, std::vector<Block>& found) const;
  int64_t top_over(Interval life) const;

  uint32_t leaves_;  // of the trees over time; a power of two
  int64_t bytes_ = 0;
  std::multimap<uint32_t, Block> by_first_;
  std::vector<std::vector<Block>> covering_;  // tree: blocks alive in all of a node's times
  std::vector<int64_t> top_, top_inside_;     // tree: highest end over all of it; over a part of it
};

/// A range of fixed size, for a few blocks.
class FixedRange {
 public:
  static constexpr size_t most_blocks = 64;

  explicit FixedRange(int64_t bytes) : bytes_(bytes) {}

  /// Nothing may be placed while `life` lasts.
  void close(Interval life) { blocks_.push_back({life, 0, bytes_}); }
  /// The offset of a new block, or `nowhere`.
  int64_t place(Interval life, int64_t bytes);

 private:
  int64_t bytes_;
  std::vector<Block> blocks_;
};

}  // namespace encore::trace
