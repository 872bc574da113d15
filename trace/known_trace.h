// What is remembered of a trace, so that a later one can be told how it differs: its canonical
// graph with the user's lines, and why each value was stored or kept. Values and addresses are not
// in it.
//
// Of a very long trace only the beginning is kept.
#pragma once
#include <encore/core/settings.h>
#include <encore/trace/capture.h>

#include <span>
#include <vector>

namespace encore::trace {

std::string_view name_of(SyncKind kind);

/// Why a value is stored.
enum class StoredFor : uint8_t { handle, gradient, others };

/// Why a leaf may not be overwritten.
enum class Kept : uint8_t {
  donated,
  no_step,
  checked,
  handle,
  users,
  shared_buffer,
  foreign_buffer
};
std::string_view name_of(Kept kept);
/// Asked while the capture that read the leaf is the latest.
Kept why_kept(const Node* leaf, bool donated, SyncKind kind);

struct KnownTrace {
  struct Node {
    OpId op;
    OpId made_by;  // of a leaf, the op that computed it earlier
    DType dtype;
    uint8_t rank;
    uint32_t attribute_count, input_count;
    size_t first;  // in `numbers`: extents, attributes, inputs, then a literal's bits
    Location location;
    const char* scope;  // may be null
  };
  struct Output {
    NodeId node;
    StoredFor stored_for;
  };
  struct Leaf {
    NodeId node;
    Kept kept;
  };
  /// Numeric flags and what else a key holds of the settings.
  struct Flags {
    Device device;
    bool interpreted, strict, fuse, check_numerics;
    MatmulPrecision matmul_precision;
  };
  static constexpr size_t most_nodes = 1 << 15;

  Hash128 key;
  SyncKind kind = SyncKind::read;
  Location sync;
  Flags flags;
  bool is_whole = true;
  std::vector<Node> nodes;
  std::vector<int64_t> numbers;
  std::vector<Output> outputs;
  std::vector<Leaf> leaves;     // by slot
  std::vector<uint32_t> lines;  // hashes of the computed nodes' ops and lines, sorted

  std::span<const int64_t> shape(const Node& node) const {
    return {numbers.data() + node.first, node.rank};
  }
  std::span<const int64_t> attributes(const Node& node) const {
    return {numbers.data() + node.first + node.rank, node.attribute_count};
  }
  std::span<const int64_t> inputs(const Node& node) const {
    return {numbers.data() + node.first + node.rank + node.attribute_count, node.input_count};
  }
  int64_t literal(const Node& node) const {
    return node.op == OpId::literal ? inputs(node).data()[node.input_count] : 0;
  }
  int64_t bytes() const;
};

/// `graph` is the capture's own.
KnownTrace remember(const Graph& graph, const Capture& capture, Location sync);

/// What `KnownTrace::lines` holds of an op.
uint32_t line_hash(OpId op, Location where);

/// Equal lines of equally named files.
bool same_place(Location a, Location b);

}  // namespace encore::trace
