// From live nodes to a canonical trace: what a sync has to compute, numbered in record order.
//
// The words of a capture are its key: ops, attributes, relative ids, dtypes, shapes, device,
// outputs, donation, numeric flags. Addresses, values of scalars, ids and locations are not in it.
// A capture is filled and read under the runtime's lock. It holds what it stores, and thereby all
// that is needed for that: while the lock is held, no node but a destroyed one drops its inputs.
#pragma once
#include <encore/core/hash.h>
#include <encore/lazy/compute_bits.h>
#include <encore/lazy/evaluator.h>
#include <encore/trace/graph.h>

#include <vector>

namespace encore::trace {

struct Capture {
  struct Scalar {
    explicit Scalar(const Node* node)
        : node(node),
          value(node->number_dtype == DType::f32 ? node->bits
                                                 : compute_bits(node->number_dtype, node->bits)) {}

    const Node* node;  // the number's own, or the one that keeps it
    uint64_t value;    // as its compute dtype stores it
  };

  std::vector<Node*> nodes;      // to compute, users before inputs
  std::vector<Node*> leaves;     // by leaf slot
  std::vector<Scalar> scalars;   // by scalar slot
  std::vector<Node*> outputs;    // to store, in record order
  std::vector<uint8_t> donated;  // by leaf slot
  std::vector<Node*> held;       // one user each
  std::vector<uint64_t> words;
  Hash128 key;
  SyncKind kind = SyncKind::read;  // not in the key
  Device device;

  Capture() = default;
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() { clear(); }
  void clear() noexcept;
  void forget_all_but_held() noexcept;
  /// Looks at the scalars again: a recording that runs anew holds other numbers.
  void renew_scalars();
};

/// Finds what `roots` (and, for a step or cut, every pending node of `device` with a handle) need,
/// and the key. All roots are on `device`; so is whatever they need. A movement of a leaf or number
/// that only a handle holds stays lazy in a step or cut.
void capture(std::span<Node* const> roots, SyncKind kind, Device device, Capture& into);

/// Of a node's scratch: it has no number yet.
inline constexpr uint32_t not_numbered = ~0u;

/// A node that a trace reads instead of computing.
inline bool is_given(const Node* node) { return node->is_source() || node->materialized(); }

/// Whether a node is but another name of its input.
inline bool is_identity(const Node* node) { return node->op == OpId::variable; }

/// The graph of a capture; done once a trace, on a miss. Numbers nodes anew.
Graph build_graph(const Capture& capture);

}  // namespace encore::trace
