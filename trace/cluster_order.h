// Which cluster must run before which, kept while clusters grow and merge.
//
// Clusters are numbered as they are made; merging keeps one number and forwards the other. For each
// cluster a bit set holds everything that must run before it.
#pragma once
#include <cstdint>
#include <vector>

namespace encore::trace {

class ClusterOrder {
 public:
  uint32_t add();
  uint32_t find(uint32_t cluster) const;
  /// Whether `later` needs `earlier`, directly or through others.
  bool reaches(uint32_t earlier, uint32_t later) const;
  /// `cluster` reads from all of `needs` (itself aside); those kernels must be over before it
  /// starts.
  void add_dependencies(uint32_t cluster, const std::vector<uint32_t>& needs);
  /// Whether neither needs the other, directly or through others.
  bool can_merge(uint32_t a, uint32_t b) const;
  /// `b` becomes part of `a`.
  void merge(uint32_t a, uint32_t b);
  /// Live clusters in an order that can run; ties by number.
  std::vector<uint32_t> sorted() const;

 private:
  struct Entry {
    uint32_t forward;
    std::vector<uint32_t> needs;   // direct
    std::vector<uint64_t> before;  // transitive, by number as of `find`
  };
  bool test(uint32_t cluster, uint32_t earlier) const;
  void close(uint32_t cluster, uint32_t earlier);

  std::vector<Entry> entries_;
};

}  // namespace encore::trace
