// One kernel in, one callable out.
//
// `compile` turns kernels into bytes and knows nothing of caching; `load` turns bytes into
// something that runs. Between them sits the cache. Both may be called from any thread; an
// Executable is immutable and may be launched from several threads at once.
#pragma once
#include <encore/jit/kernel.h>
#include <encore/lazy/buffer.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace encore::jit {

struct Limits {
  uint32_t arguments = 64;
  uint32_t scalars = 64;
  uint32_t instructions = 512;
  // Rows that column accumulators add up are cut into chunks of about so many elements, into at
  // most so many chunks; into more, up to `most_narrow_chunks`, where that makes no more than
  // `chunked_columns` columns in all. Part of the accumulation order, so constants of a backend.
  int64_t chunk_elements = 1 << 16;
  int64_t most_chunks = 64, most_narrow_chunks = 64;
  int64_t chunked_columns = 1 << 19;
  int64_t product_chunk_rows = 1;  // in kernels with a contraction a chunk has a multiple of these
};

/// What `compile` makes of one kernel: self-contained bytes, free of addresses, that every process
/// whose backend has the same fingerprint can load.
struct Binary {
  std::vector<std::byte> bytes;
  /// What kernels that were compiled together have in common; `bytes` then only says which it is.
  std::shared_ptr<const std::vector<std::byte>> shared{};
};

/// Everything a launch needs besides code. A joined launch has several segments with the same code
/// and different pointers, extents and scalars.
struct Segment {
  void* const* arguments;   // one per Kernel::arguments
  const int64_t* sizes;     // one per Kernel::sizes, fixed ones included
  const uint64_t* scalars;  // one per Kernel::scalars, value in the low bytes
  // Uninitialized memory for this launch alone, see `Executable::scratch`. Null: the code takes its
  // own, no more than so many bytes where it can help it.
  void* scratch = nullptr;
  size_t scratch_bytes = ~size_t(0);
};

/// Bytes beside its arguments that a launch needs at least, and from which on more do not help.
struct ScratchWish {
  size_t least = 0, best = 0;
};

class Executable {
 public:
  virtual ~Executable() = default;
  /// Runs (CPU) or enqueues (CUDA) all segments as one launch.
  virtual void launch(std::span<const Segment> segments) const = 0;
  /// What a launch of the segment would do with memory beside its arguments, whose addresses need
  /// not be right: all that counts is which of them are equal.
  virtual ScratchWish scratch(const Segment&) const { return {}; }
  /// Bytes of code and data this holds.
  virtual size_t bytes() const = 0;
};

/// How far a run of a Sequence came, should it throw on the way.
struct Progress {
  bool launched = false;  // something may have been written
  uint32_t graphs = 0;    // launches of whole graphs
};

/// What people want to know of one launch; reported beside its time.
struct Label {
  std::string name;
  // Lines: "segments N"; "flops N" of a contraction; "at FILE:LINE", "in SCOPE" of what it
  // computes.
  std::string about;
  int64_t bytes = 0;  // the least that it has to move
};
using Labels = std::vector<Label>;

/// By launch: the earlier ones that must be over before it starts. What those wait for themselves
/// need not be named.
using Dependencies = std::vector<std::vector<uint32_t>>;

/// The launches of a program, to be run again and again with other segments: one after the other,
/// or side by side where none waits for the other. Used by one thread at a time.
///
/// Where somebody listens to EventKind::kernel each launch is timed and reported with its label; a
/// device that works asynchronously reports when it knows, at the latest at `synchronize`.
class Sequence {
 public:
  virtual ~Sequence() = default;
  /// Runs (CPU) or enqueues (CUDA) one launch per executable.
  virtual void run(std::span<const std::span<const Segment>> launches, Progress& progress) = 0;
};

/// Generated code for people: name -> text ("llvm", "assembly", "cuda", "sass").
struct Listing {
  std::string kind;
  std::string text;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  /// All that a binary depends on besides the kernel's text, and nothing else: which kind of
  /// backend, compiler and its version, ISA features, the sources that generate code (see
  /// jit/seal.h).
  virtual std::string fingerprint() const = 0;
  virtual Limits limits() const = 0;

  /// A number for `Kernel::variant`: which of several kinds of code suits the kernel's sizes as
  /// they are, fixed or not. Code of any variant gives what it should for all sizes of its
  /// structure for which this may be the answer. 0: there is one kind only.
  virtual uint32_t variant(const Kernel&) const { return 0; }
  virtual std::vector<Binary> compile(std::span<const Kernel* const> kernels) = 0;
  /// Throws Error for bytes that are not this kernel's, or damaged.
  virtual std::shared_ptr<const Executable> load(const Kernel& kernel, const Binary& binary) = 0;
  virtual std::vector<Listing> listings(const Kernel& kernel) = 0;

  /// What only a measurement on the device can tell about a kernel at its sizes, such as which of a
  /// library's algorithms is fastest: all that the answer depends on, in words. Empty: nothing is
  /// asked, or it is answered for this process. The kernel has its variant.
  virtual std::string question(const Kernel&) { return {}; }
  /// Answers it for all launches to come, by what `known` says or, where that is no answer, by
  /// measuring; gives the answer as bytes for later processes, or none.
  virtual std::vector<std::byte> answer(const Kernel&, std::span<const std::byte> known) {
    return {known.begin(), known.end()};
  }

  /// Launches one after the other, unless the backend knows better. One label and one list of
  /// dependencies a launch.
  virtual std::unique_ptr<Sequence> sequence(std::vector<std::shared_ptr<const Executable>> code,
                                             std::shared_ptr<const Labels> labels,
                                             Dependencies waits_for);

  /// At least `bytes` (0 is allowed), aligned to 64; throws OutOfMemory.
  virtual Ref<Buffer> allocate(size_t bytes) = 0;
  /// `from` is free again on return. True: the copy crosses beside what the device computes.
  virtual bool copy_to_device(void* to, const void* from, size_t bytes) = 0;
  virtual void copy_to_host(void* to, const void* from, size_t bytes) = 0;
  /// Waits for everything enqueued on the device, whichever thread did it.
  virtual void synchronize() = 0;
  /// Bytes handed out and not yet given back; bytes kept for reuse are not counted.
  virtual int64_t live_bytes() const = 0;
  virtual int64_t peak_bytes() const = 0;
  virtual void reset_peak_bytes() = 0;
  /// By default the host's.
  virtual DeviceBytes device_bytes() const;
};

/// The backend of a device; `ENCORE_BACKEND=reference` puts the interpreter in the CPU's place.
/// Throws DeviceUnavailable when the device does not exist here.
Backend& backend(Device device);

/// The CPU's, and those of all other devices that were used so far.
std::vector<Backend*> backends_in_use();

/// CUDA devices that can be used; 0 where the driver or the compiler for them is missing.
int cuda_device_count();

}  // namespace encore::jit
