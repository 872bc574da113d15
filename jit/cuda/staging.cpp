#include <encore/core/error.h>
#include <encore/core/events.h>
#include <encore/jit/cpu/parallel.h>
#include <encore/jit/cuda/staging.h>

#include <algorithm>
#include <cstring>

namespace encore::jit::cuda {
namespace {

constexpr size_t alignment = 64;
constexpr size_t least_together = 1 << 20;  // less is copied before other threads are awake
constexpr size_t piece_bytes = 256 << 10;

CUdeviceptr device_pointer(const void* pointer) { return CUdeviceptr(uintptr_t(pointer)); }

/// Much is copied by several threads: one alone is slower than the bus.
void copy_on_host(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes < least_together) {
    std::memcpy(to, from, bytes);
    return;
  }
  parallel_for(int64_t((bytes + piece_bytes - 1) / piece_bytes), [&](int64_t first, int64_t last) {
    const size_t begin = size_t(first) * piece_bytes, end = size_t(last) * piece_bytes;
    std::memcpy(to + begin, from + begin, std::min(end, bytes) - begin);
  });
}

std::shared_ptr<const Labels> upload_of(size_t bytes) {
  return std::make_shared<Labels>(Labels{{"upload", {}, int64_t(bytes)}});
}

}  // namespace

Staging::~Staging() {
  try {
    settle();
  } catch (const Error&) {
    return;  // nothing can be given back to a lost device
  }
  auto destroy = [](auto& chunks) {
    for (Chunk& chunk : chunks) {
      if (chunk.done) driver().cuEventDestroy.status(chunk.done);
      if (chunk.data) driver().cuMemFreeHost.status(chunk.data);
    }
  };
  destroy(outgoing_);
  destroy(incoming_);
  destroy(crossing_);
  if (copies_) driver().cuStreamDestroy.status(copies_);
}

void Staging::make(Chunk& chunk) {
  if (!chunk.done) driver().cuEventCreate(&chunk.done, CU_EVENT_DISABLE_TIMING);
  if (!chunk.data) driver().cuMemHostAlloc(&chunk.data, chunk_bytes, CU_MEMHOSTALLOC_PORTABLE);
}

void Staging::mark(Chunk& chunk, CUstream stream) {
  driver().cuEventRecord(chunk.done, stream);
  chunk.pending = true;
}

void Staging::wait(Chunk& chunk) {
  if (!chunk.pending) return;
  driver().cuEventSynchronize(chunk.done);
  chunk.pending = false;
}

bool Staging::to_device(void* to, const void* from, size_t bytes) {
  gpu_.enter();
  auto* source = static_cast<const std::byte*>(from);
  if (bytes >= least_apart_.load(std::memory_order_relaxed)) {
    std::lock_guard lock(crossing_mutex_);
    if (can_go_apart()) {
      go_apart(device_pointer(to), source, bytes);
      return true;
    }
  }
  std::lock_guard lock(writing_);
  go_straight(device_pointer(to), source, bytes);
  return false;
}

/// The chunk to write into: the current one, or when it is full the one filled longest ago.
Staging::Chunk& Staging::next_chunk() {
  Chunk& current = outgoing_[current_];
  if (current.used < chunk_bytes) {
    make(current);
    return current;
  }
  if (!current.pending) mark(current, gpu_.stream());
  size_t following = (current_ + 1) % outgoing_.size();
  Chunk& next = outgoing_[following];
  make(next);
  wait(next);
  next.used = 0;
  current_ = following;
  return next;
}

void Staging::go_straight(CUdeviceptr to, const std::byte* from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    Chunk& chunk = next_chunk();
    size_t part = std::min(bytes - done, chunk_bytes - chunk.used);
    std::byte* place = static_cast<std::byte*>(chunk.data) + chunk.used;
    copy_on_host(place, from + done, part);
    driver().cuMemcpyHtoDAsync(to + done, place, part, gpu_.stream());
    chunk.used = std::min(chunk_bytes, (chunk.used + part + alignment - 1) / alignment * alignment);
    done += part;
  }
}

/// False where the device has no memory to spare. Waits for what a failed copy may have left.
bool Staging::can_go_apart() {
  if (in_doubt_) settle();
  if (!copies_) driver().cuStreamCreate(&copies_, CU_STREAM_NON_BLOCKING);
  return landing_.most() > 0;
}

void Staging::go_apart(CUdeviceptr to, const std::byte* from, size_t bytes) {
  in_doubt_ = true;
  const size_t most = landing_.most();
  for (size_t done = 0; done < bytes; done += most)
    land(to + done, from + done, std::min(most, bytes - done));
  in_doubt_ = false;
}

/// Crosses the bus chunk by chunk; the stream waits for the last one only.
void Staging::land(CUdeviceptr to, const std::byte* from, size_t bytes) {
  const bool timed = events::wanted(EventKind::kernel);
  if (timed) {
    timer_.harvest(false);
    timer_.mark(copies_, nullptr, 0);  // may tie clocks, which waits for the copies before
  }
  const CUdeviceptr place = landing_.take(bytes, copies_);
  if (timed) timer_.mark(copies_, nullptr, 0);
  CUevent landed = nullptr;
  for (size_t done = 0; done < bytes; done += chunk_bytes) {
    Chunk& chunk = crossing_[next_crossing_++ % crossing_.size()];
    make(chunk);
    wait(chunk);
    const size_t part = std::min(chunk_bytes, bytes - done);
    copy_on_host(static_cast<std::byte*>(chunk.data), from + done, part);
    driver().cuMemcpyHtoDAsync(place + done, chunk.data, part, copies_);
    if (timed && done + part == bytes) timer_.mark(copies_, upload_of(bytes), 0);
    mark(chunk, copies_);
    landed = chunk.done;
  }
  driver().cuStreamWaitEvent(gpu_.stream(), landed, 0);
  landing_.move(to, bytes);
}

/// Waits for all that is on its way.
void Staging::settle() {
  gpu_.synchronize();
  if (copies_) driver().cuStreamSynchronize(copies_);
  landing_.forget();
  for (Chunk& chunk : crossing_) chunk.pending = false;
  in_doubt_ = false;
}

void Staging::to_host(void* to, const void* from, size_t bytes) {
  std::lock_guard lock(reading_);
  gpu_.enter();
  auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  size_t parts = (bytes + chunk_bytes - 1) / chunk_bytes;
  auto length = [&](size_t part) { return std::min(chunk_bytes, bytes - part * chunk_bytes); };
  // While one chunk is copied out, the device fills the other.
  for (size_t part = 0; part <= parts; ++part) {
    if (part < parts) {
      Chunk& chunk = incoming_[part % 2];
      make(chunk);
      wait(chunk);  // left over from a copy that failed on the way
      driver().cuMemcpyDtoHAsync(chunk.data, device_pointer(source + part * chunk_bytes),
                                 length(part), gpu_.stream());
      mark(chunk, gpu_.stream());
    }
    if (part > 0) {
      Chunk& chunk = incoming_[(part - 1) % 2];
      wait(chunk);
      copy_on_host(target + (part - 1) * chunk_bytes, static_cast<std::byte*>(chunk.data),
                   length(part - 1));
    }
  }
}

}  // namespace encore::jit::cuda
