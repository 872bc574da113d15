#include <encore/core/error.h>
#include <encore/jit/cuda/memory.h>
#include <fmt/format.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

constexpr size_t alignment = 512;
constexpr size_t largest_small = 1 << 20;  // requests up to this are small
constexpr size_t small_segment = 4 << 20;
constexpr size_t segment_step = 2 << 20;  // what the driver itself deals in
constexpr size_t common_segment = 32 << 20;
constexpr size_t most_bytes = size_t(1) << 60;

size_t round_up(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

size_t segment_size(size_t block, bool small) {
  if (small) return small_segment;
  return block <= common_segment / 2 ? common_segment : round_up(block, segment_step);
}

/// A smaller rest stays with its block.
size_t smallest_rest(bool small) { return small ? alignment : largest_small; }

}  // namespace

bool DeviceMemory::BySize::operator()(const Block* a, const Block* b) const {
  return a->size != b->size ? a->size < b->size : a->address < b->address;
}

DeviceMemory::~DeviceMemory() { trim(); }

void* DeviceMemory::allocate(size_t bytes) {
  std::lock_guard lock(mutex_);
  return allocate_locked(bytes);
}

void* DeviceMemory::allocate_locked(size_t bytes) {
  if (bytes > most_bytes) throw_out_of_memory(bytes);
  size_t size = std::max(alignment, round_up(bytes, alignment));
  bool small = size <= largest_small;
  Block* block = take_free(size, small);
  if (!block) block = add_segment(size, small);
  if (!block) {
    trim_locked();
    block = add_segment(size, small);
  }
  if (!block) throw_out_of_memory(bytes);
  try {
    if (block->size - size >= smallest_rest(small)) split(block, size);
    used_.emplace(block->address, block);
  } catch (...) {
    insert_free(block);
    throw;
  }
  block->asked = bytes;
  live_ += int64_t(bytes);
  peak_ = std::max(peak_, live_);
  return reinterpret_cast<void*>(block->address);
}

/// The smallest free block of at least `size`; null: none.
DeviceMemory::Block* DeviceMemory::take_free(size_t size, bool small) {
  Block least{.address = 0, .size = size};
  auto found = free_[small].lower_bound(&least);
  if (found == free_[small].end()) return nullptr;
  Block* block = *found;
  block->handle = free_[small].extract(found);
  return block;
}

/// A block that is a whole new segment; null: the driver has no memory.
DeviceMemory::Block* DeviceMemory::add_segment(size_t size, bool small) {
  gpu_.enter();
  auto block = std::make_unique<Block>(Block{.size = segment_size(size, small), .small = small});
  FreeBlocks place;  // makes the set's node before there is memory to lose
  place.insert(block.get());
  block->handle = place.extract(place.begin());
  CUdeviceptr address = 0;
  CUresult result = driver().cuMemAlloc.status(&address, block->size);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    block->handle = {};
    return nullptr;
  }
  if (result != CUDA_SUCCESS) throw_failed(result, "cuMemAlloc");
  block->address = uintptr_t(address);
  reserved_ += int64_t(block->size);
  return block.release();
}

/// Leaves the first `size` bytes to `block`; the rest becomes a free block.
void DeviceMemory::split(Block* block, size_t size) {
  auto rest = std::make_unique<Block>(Block{.address = block->address + size,
                                            .size = block->size - size,
                                            .small = block->small,
                                            .before = block,
                                            .after = block->after});
  free_[block->small].insert(rest.get());
  if (rest->after) rest->after->before = rest.get();
  block->after = rest.release();
  block->size = size;
}

void DeviceMemory::free(void* data) noexcept {
  std::lock_guard lock(mutex_);
  auto found = used_.find(reinterpret_cast<uintptr_t>(data));
  Block* block = found->second;
  used_.erase(found);
  live_ -= int64_t(block->asked);
  insert_free(block);
}

void DeviceMemory::insert_free(Block* block) noexcept {
  join_neighbours(block);
  free_[block->small].insert(std::move(block->handle));
}

/// Takes the free blocks before and after it into `block`. A block is free iff it has no handle.
void DeviceMemory::join_neighbours(Block* block) noexcept {
  auto is_free = [](const Block* other) { return other && other->handle.empty(); };
  if (Block* after = block->after; is_free(after)) {
    free_[block->small].erase(after);
    block->size += after->size;
    block->after = after->after;
    if (block->after) block->after->before = block;
    delete after;
  }
  if (Block* before = block->before; is_free(before)) {
    free_[block->small].erase(before);
    block->address = before->address;
    block->size += before->size;
    block->before = before->before;
    if (block->before) block->before->after = block;
    delete before;
  }
}

void DeviceMemory::trim() noexcept {
  std::lock_guard lock(mutex_);
  trim_locked();
}

void DeviceMemory::trim_locked() noexcept {
  try {
    gpu_.synchronize();
  } catch (const Error&) {
    return;  // the driver takes nothing back from a lost device
  }
  for (FreeBlocks& blocks : free_)
    for (auto next = blocks.begin(); next != blocks.end();) {
      Block* block = *next;
      if (block->before || block->after ||
          driver().cuMemFree.status(block->address) != CUDA_SUCCESS) {
        ++next;
        continue;
      }
      next = blocks.erase(next);
      reserved_ -= int64_t(block->size);
      delete block;
    }
}

void DeviceMemory::throw_out_of_memory(size_t bytes) const {
  Gpu::Bytes driver_bytes = gpu_.bytes();
  throw OutOfMemory(
      bytes, size_t(live_), {},
      fmt::format("CUDA device {} has {} of its {} bytes free, and {} are kept for reuse",
                  gpu_.index(), driver_bytes.free, driver_bytes.total, reserved_ - live_));
}

Ref<Buffer> DeviceMemory::allocate_buffer(size_t bytes) {
  void* data = allocate(bytes);
  try {
    return Ref<Buffer>(new Buffer(data, bytes, Device{DeviceKind::cuda, uint8_t(gpu_.index())},
                                  [this](void* memory, size_t) { free(memory); }));
  } catch (...) {
    free(data);
    throw;
  }
}

int64_t DeviceMemory::live_bytes() const {
  std::lock_guard lock(mutex_);
  return live_;
}

int64_t DeviceMemory::peak_bytes() const {
  std::lock_guard lock(mutex_);
  return peak_;
}

void DeviceMemory::reset_peak_bytes() {
  std::lock_guard lock(mutex_);
  peak_ = live_;
}

int64_t DeviceMemory::reserved_bytes() const {
  std::lock_guard lock(mutex_);
  return reserved_;
}

}  // namespace encore::jit::cuda
