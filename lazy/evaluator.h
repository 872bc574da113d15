// The one way up: how lazy/ asks for values. trace/ defines `evaluator()`.
#pragma once
#include <encore/lazy/node.h>

namespace encore {

enum class SyncKind : uint8_t {
  read,  // the cone of the roots; donates nothing
  step,  // everything pending on this thread; may donate
  cut,   // everything pending on this thread; donates nothing
};

class Evaluator {
 public:
  virtual ~Evaluator() = default;
  /// Afterwards every root has a buffer. On a throw nothing has changed, save where numerics are
  /// checked (everything is computed, then the culprit thrown) or a device failed on the way (what
  /// it had overwritten throws BufferLost from then on).
  virtual void evaluate(std::span<Node* const> roots, SyncKind kind, Location where) = 0;
  /// `walked` were tape nodes; no gradient will flow through them again. Those that are
  /// materialized drop their inputs now, the others when they are. The runtime holds its lock
  /// around this.
  virtual void consume_tape(std::span<Node* const> walked) {
    for (Node* node : walked) {
      node->needs_gradient = false;
      node->tape_consumed = true;
      if (node->materialized()) drop_inputs(node);
    }
  }
  virtual Ref<Buffer> allocate(Device device, size_t bytes, Location where) = 0;
  /// `from` is free again on return, whenever the device reads the copy.
  virtual void copy_to_device(const Buffer& to, const void* from, size_t bytes, Location where) = 0;
  /// Waits for the device.
  virtual void copy_to_host(void* to, const Buffer& from, size_t offset, size_t bytes,
                            Location where) = 0;
  /// Waits for all devices.
  virtual void synchronize(Location where) = 0;
  /// Bytes of the device's memory in all.
  virtual int64_t total_bytes(Device device, Location where) = 0;
  /// Throws at `where` when this process has no such device.
  virtual void check_device(Device device, Location where) = 0;
};

Evaluator& evaluator();

}  // namespace encore
