// One walk over the tape: the heart of backward and grad.
#pragma once
#include <encore/autograd/backward.h>
#include <encore/lazy/record.h>

#include <vector>

namespace encore {

class Walk {
 public:
  /// With targets, their gradients are collected and cells are left alone.
  Walk(std::span<const Target> targets, BackwardOptions options, Location where);
  ~Walk();
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  /// Begins at `output` with its gradient, which has its shape; throws where it is not on a tape.
  void start(const Tensor& output, Tensor gradient);
  /// Visits everything. Afterwards the three below are filled.
  void run();

  struct CellGradient {
    std::shared_ptr<ParameterRef::Cell> cell;
    Tensor gradient;
  };
  /// In the order in which the walk met them; a cell used n times occurs n times.
  std::vector<CellGradient>& cell_gradients() { return cells_; }
  /// One per target; empty where the walk never came by.
  std::vector<Tensor>& target_gradients() { return found_; }
  /// Ends the tape of what was visited, unless it is to be retained.
  void consume();

 private:
  /// A gradient on its way to `node`, which it keeps alive as a user.
  struct Arrival {
    Node* node;
    uint64_t order;  // of arrival; sums are taken in this order
    Tensor gradient;
    bool operator<(const Arrival& other) const {
      return node->sequence != other.node->sequence ? node->sequence < other.node->sequence
                                                    : order > other.order;
    }
  };
  void arrive(Node* node, Tensor gradient);
  Arrival take();
  bool deliver(Node* node, const Tensor& gradient);
  void differentiate(Node* node, const Tensor& gradient);
  void refuse_consumed(const Node* node) const;

  std::span<const Target> targets_;
  BackwardOptions options_;
  Location where_;
  uint64_t lowest_target_ = 0;  // nodes recorded before it cannot lead to a target
  uint64_t arrivals_ = 0;
  std::vector<Arrival> heap_;  // latest record first
  std::vector<Node*> visited_;
  std::vector<CellGradient> cells_;
  std::vector<Tensor> found_;
};

/// `gradient` as a gradient of something of this shape and dtype: axes that were broadcast are
/// summed, missing ones expanded, and the result is cast.
Tensor fit_gradient(Tensor gradient, const Shape& shape, DType dtype);

}  // namespace encore
