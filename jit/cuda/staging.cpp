#include <encore/jit/cuda/staging.h>

#include <algorithm>
#include <cstring>

namespace encore::jit::cuda {
namespace {

constexpr size_t alignment = 64;

CUdeviceptr device_pointer(const void* pointer) { return CUdeviceptr(uintptr_t(pointer)); }

}  // namespace

Staging::~Staging() {
  auto destroy = [](auto& chunks) {
    for (Chunk& chunk : chunks) {
      if (chunk.done) driver().cuEventDestroy.status(chunk.done);
      if (chunk.on_device) driver().cuMemFree.status(chunk.on_device);
      if (chunk.data) driver().cuMemFreeHost.status(chunk.data);
    }
  };
  try {
    gpu_.synchronize();
  } catch (...) {
    return;  // nothing can be given back to a lost device
  }
  destroy(outgoing_);
  destroy(incoming_);
  if (arrived_) driver().cuEventDestroy.status(arrived_);
  if (copies_) driver().cuStreamDestroy.status(copies_);
}

void Staging::make(Chunk& chunk) {
  if (!chunk.done) driver().cuEventCreate(&chunk.done, CU_EVENT_DISABLE_TIMING);
  if (!chunk.data) driver().cuMemHostAlloc(&chunk.data, chunk_bytes, CU_MEMHOSTALLOC_PORTABLE);
}

/// Where the device has no memory to spare, copies go straight to their place.
bool Staging::can_go_apart(Chunk& chunk) {
  if (!copies_) driver().cuStreamCreate(&copies_, CU_STREAM_NON_BLOCKING);
  if (!arrived_) driver().cuEventCreate(&arrived_, CU_EVENT_DISABLE_TIMING);
  if (chunk.on_device) return true;
  const CUresult result = driver().cuMemAlloc.status(&chunk.on_device, chunk_bytes);
  if (result != CUDA_SUCCESS && result != CUDA_ERROR_OUT_OF_MEMORY)
    throw_failed(result, "cuMemAlloc");
  return result == CUDA_SUCCESS;
}

/// The bus is crossed beside what the stream computes. A chunk is written again only after the
/// stream has passed its last move, so nothing else must be waited for.
void Staging::copy_apart(CUdeviceptr to, const Chunk& chunk, size_t begin, size_t bytes) {
  const CUdeviceptr between = chunk.on_device + begin;
  driver().cuMemcpyHtoDAsync(between, static_cast<std::byte*>(chunk.data) + begin, bytes, copies_);
  driver().cuEventRecord(arrived_, copies_);
  driver().cuStreamWaitEvent(gpu_.stream(), arrived_, 0);
  driver().cuMemcpyDtoDAsync(to, between, bytes, gpu_.stream());
}

void Staging::mark(Chunk& chunk) {
  driver().cuEventRecord(chunk.done, gpu_.stream());
  chunk.pending = true;
}

void Staging::wait(Chunk& chunk) {
  if (!chunk.pending) return;
  driver().cuEventSynchronize(chunk.done);
  chunk.pending = false;
}

/// The chunk to write into: the current one, or when it is full the one filled longest ago.
Staging::Chunk& Staging::next_chunk() {
  Chunk& current = outgoing_[current_];
  if (current.used < chunk_bytes) {
    make(current);
    return current;
  }
  if (!current.pending) mark(current);
  size_t following = (current_ + 1) % outgoing_.size();
  Chunk& next = outgoing_[following];
  make(next);
  wait(next);
  next.used = 0;
  current_ = following;
  return next;
}

void Staging::to_device(void* to, const void* from, size_t bytes) {
  std::lock_guard lock(writing_);
  gpu_.enter();
  auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  for (size_t done = 0; done < bytes;) {
    Chunk& chunk = next_chunk();
    size_t part = std::min(bytes - done, chunk_bytes - chunk.used);
    std::byte* place = static_cast<std::byte*>(chunk.data) + chunk.used;
    std::memcpy(place, source + done, part);
    const CUdeviceptr there = device_pointer(target + done);
    if (apart_ && bytes >= least_apart && can_go_apart(chunk))
      copy_apart(there, chunk, chunk.used, part);
    else
      driver().cuMemcpyHtoDAsync(there, place, part, gpu_.stream());
    chunk.used = std::min(chunk_bytes, (chunk.used + part + alignment - 1) / alignment * alignment);
    done += part;
  }
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
      mark(chunk);
    }
    if (part > 0) {
      Chunk& chunk = incoming_[(part - 1) % 2];
      wait(chunk);
      std::memcpy(target + (part - 1) * chunk_bytes, chunk.data, length(part - 1));
    }
  }
}

}  // namespace encore::jit::cuda
