// Rules that turn gradients into new parameters.
//
// `step` records the update of every parameter that has a gradient and then computes everything
// pending in one sync of kind step, so that forward, backward and update are one trace and old
// values and states are donated. Hyperparameters and step counts reach the trace as runtime
// arguments: changing them recompiles nothing; only what is zero or absent (weight decay, momentum)
// is structure.
//
// An optimizer names its parameters' cells; it and they are used by one thread at a time.
#pragma once
#include <encore/autograd/parameter.h>
#include <encore/lazy/record.h>

#include <map>
#include <vector>

namespace encore {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Updates every parameter that has a gradient. A gradient that does not fit its parameter throws
  /// before anything is updated.
  void step(std::source_location at = std::source_location::current());
  /// zero_grad, backward and step in one, with the same numbers. No gradient is kept, so none has
  /// to be stored where a kernel can use it at once.
  void minimize(const Tensor& loss, std::source_location at = std::source_location::current());
  /// Forgets all gradients.
  void zero_grad();

  double learning_rate() const { return learning_rate_; }
  void set_learning_rate(double rate) { learning_rate_ = rate; }
  /// Momentum where the rule has one (Adam: the first beta); others ignore it.
  virtual void set_momentum(double) {}
  /// Calls of `step` so far.
  int64_t steps() const { return steps_; }
  const std::vector<ParameterRef>& parameters() const { return parameters_; }

 protected:
  /// Computes the parameters, each in its own memory: so the first step's trace is every step's.
  Optimizer(const char* name, std::vector<ParameterRef> parameters, double learning_rate,
            Location where);

  /// Throws where an option is not finite or out of its range.
  void require(bool holds, const char* what, double value, const char* range, Location where) const;

  /// The next value of parameter `i`; recorded without gradient. Replaces its own states.
  virtual Tensor update(size_t i, const Tensor& value, const Tensor& gradient) = 0;

  /// One state per parameter, of its shape and dtype, zero.
  std::vector<Tensor> zero_states(Location where) const;
  /// `number` as a runtime argument of like's dtype, one slot for all equal (which, variant) a
  /// step.
  const Tensor& slot(int which, double number, const Tensor& like, int64_t variant = 0);

 private:
  struct SlotKey {
    int which;
    int64_t variant;
    DType dtype;
    DeviceKind device;
    uint8_t device_index;
    auto operator<=>(const SlotKey&) const = default;
  };
  void update_all(Location where, bool keep_gradients);
  void check_gradient(const ParameterRef& parameter, Location where) const;

  const char* name_;
  std::vector<ParameterRef> parameters_;
  double learning_rate_;
  int64_t steps_ = 0;
  std::map<SlotKey, Tensor> slots_;  // of the step being recorded
};

}  // namespace encore
