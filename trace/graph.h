// A captured trace as the compiler's passes see it: nodes by number, inputs before users.
#pragma once
#include <encore/core/location.h>
#include <encore/lazy/buffer.h>
#include <encore/lazy/op.h>
#include <encore/lazy/shape.h>

#include <cstdint>
#include <string>
#include <vector>

namespace encore::trace {

using NodeId = uint32_t;

struct GraphNode {
  OpId op;
  DType dtype;
  Shape shape;
  std::vector<NodeId> inputs;
  std::vector<int64_t> attributes;
  uint64_t bits = 0;  // literal: its value
  uint32_t slot = 0;  // leaf: leaf slot; scalar: scalar slot
  Location location;
  const char* scope = nullptr;

  int64_t bytes() const { return shape.numel() * int64_t(size_of(dtype)); }
  OpFamily family() const { return family_of(op); }
};

struct Graph {
  std::vector<GraphNode> nodes;
  std::vector<NodeId> outputs;  // in output order; the same node may stand there twice
  std::vector<bool> donated;    // by leaf slot: the program may overwrite it
  uint32_t leaf_count = 0;
  uint32_t scalar_count = 0;
  Device device;
};

/// A literal's value, for people.
std::string literal_text(uint64_t bits, DType dtype);

/// One line a node: `%5 = f32[64, 10] add %3 %4   # train.cpp:12 linear`.
std::string to_text(const Graph& graph);

}  // namespace encore::trace
