// Memory on a device, counted by reference; what it holds is unknown here.
//
// A buffer's bytes are written by one program at a time; readers only exist after the writer is
// done.
#pragma once
#include <encore/core/counted.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>

namespace encore {

enum class DeviceKind : uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  uint8_t index = 0;
  constexpr bool operator==(const Device&) const = default;
};

/// Bytes of a device's memory: free and total as its driver counts them, for all processes; held in
/// live buffers of this process, and reserved by it for these and for reuse.
struct DeviceBytes {
  int64_t free = 0, total = 0, held = 0, reserved = 0;
};

inline constexpr Device cpu{};

/// `cuda(0)` names a device, `cuda.is_available()` asks; an object, since a function and a
/// namespace of one name cannot be. The questions are answered by trace/.
struct Cuda {
  constexpr Device operator()(int index = 0) const {
    return {DeviceKind::cuda, uint8_t(index < 0 || index > 255 ? 255 : index)};
  }
  /// Whether there is a device, and the driver and compiler that it needs. Never throws.
  bool is_available() const;
  int device_count() const;
  /// Throws DeviceUnavailable.
  DeviceBytes memory(int index = 0) const;
};
inline constexpr Cuda cuda;

/// "cpu", "cuda:0"
std::string name_of(Device device);
std::ostream& operator<<(std::ostream& to, Device device);

class Buffer : public Counted<Buffer> {
 public:
  /// `free` gives the memory back; it may run on any thread.
  Buffer(void* data, size_t bytes, Device device, std::function<void(void*, size_t)> free)
      : data_(data), bytes_(bytes), device_(device), free_(std::move(free)) {}
  ~Buffer() {
    if (free_) free_(data_, bytes_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  /// Memory of the user's (from_blob) is read in place but never donated.
  bool is_foreign() const { return foreign_; }
  void mark_foreign() { foreign_ = true; }
  /// It was donated to a program that failed on the way: what it holds is no value of anything.
  bool is_lost() const { return lost_; }
  void lose() { lost_ = true; }

 private:
  void* data_;
  size_t bytes_;
  Device device_;
  bool foreign_ = false;
  bool lost_ = false;
  std::function<void(void*, size_t)> free_;
};

}  // namespace encore
