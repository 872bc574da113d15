// Which cluster must run before which, kept while clusters grow and merge.
//
// Clusters are numbered as they are made; merging keeps one number and forwards the other. All live
// clusters have places in one order that can run; a search only looks at places in between, and a
// new dependency only moves what stands there (Pearce and Kelly, A dynamic topological sort
// algorithm for directed acyclic graphs, 2006). A search that meets too much says that there is a
// way: that refuses a fusion, which is always right.
#pragma once
#include <cstdint>
#include <vector>

namespace encore::trace {

class ClusterOrder {
 public:
  static constexpr uint32_t most_visits = 4096;

  uint32_t add();
  uint32_t find(uint32_t cluster) const;
  /// Whether `later` needs `earlier`, directly or through others; may say so of distant ones that
  /// do not.
  bool reaches(uint32_t earlier, uint32_t later) const;
  /// `cluster` reads from all of `needs` (itself aside), none of which reaches from it; those
  /// kernels must be over before it starts.
  void add_dependencies(uint32_t cluster, const std::vector<uint32_t>& needs);
  /// Whether neither needs the other, directly or through others.
  bool can_merge(uint32_t a, uint32_t b) const;
  /// `b` becomes part of `a`; they can merge.
  void merge(uint32_t a, uint32_t b);
  /// Live clusters in an order that can run; ties by number.
  std::vector<uint32_t> sorted() const;

 private:
  struct Entry {
    mutable uint32_t forward;
    uint32_t place;
    mutable uint32_t mark = 0;           // the latest search that met it
    std::vector<uint32_t> needs, users;  // direct; as of `find`
  };
  using Edges = std::vector<uint32_t> Entry::*;

  std::vector<uint32_t> closure(uint32_t from, Edges edges, uint32_t low, uint32_t high) const;
  void put_before(uint32_t earlier, uint32_t later);

  std::vector<Entry> entries_;
  mutable uint32_t search_ = 0;
};

}  // namespace encore::trace
