#include <encore/core/error.h>
#include <encore/jit/cpu/memory.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace encore::jit {
namespace {

constexpr size_t huge_page = 2 << 20;

/// Classes are numbered by power of two and quarter.
size_t class_number(size_t size) {
  size_t power = size_t(std::bit_width(size)) - 1;
  return 4 * power + ((size >> (power - 2)) & 3);
}

void* take_from_system(size_t bytes) {
  if (bytes < huge_page) return std::aligned_alloc(64, bytes);
  // Mapped with room to align, so that huge pages fit; the rest is given back.
  size_t room = bytes + huge_page;
  void* mapped = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto begin = reinterpret_cast<uintptr_t>(mapped);
  uintptr_t data = (begin + huge_page - 1) & ~uintptr_t(huge_page - 1);
  if (data > begin) munmap(mapped, data - begin);
  if (size_t behind = begin + room - (data + bytes))
    munmap(reinterpret_cast<void*>(data + bytes), behind);
  void* result = reinterpret_cast<void*>(data);
  madvise(result, bytes, MADV_HUGEPAGE);
  return result;
}

void give_to_system(void* data, size_t bytes) {
  if (bytes < huge_page)
    std::free(data);
  else
    munmap(data, bytes);
}

}  // namespace

size_t size_class(size_t bytes) {
  if (bytes <= 64) return 64;
  size_t quarter = std::max<size_t>(std::bit_floor(bytes - 1) / 4, 64);
  return (bytes + quarter - 1) / quarter * quarter;
}

void* CachingMemory::take_kept(size_t bytes) {
  auto& blocks = kept_by_class_[class_number(bytes)];
  if (blocks.empty()) return nullptr;
  Age::iterator block = blocks.back();
  blocks.pop_back();
  void* data = block->data;
  age_.erase(block);
  kept_ -= int64_t(bytes);
  return data;
}

void* CachingMemory::allocate(size_t bytes) {
  size_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  bool fails = until_failure_ > 0 && --until_failure_ == 0;
  void* data = nullptr;
  if (!fails && bytes <= size_t(1) << 62) {
    data = take_kept(size);
    if (!data) data = take_from_system(size);
    if (!data) {
      trim_locked(0);
      data = take_from_system(size);
    }
  }
  if (!data) throw OutOfMemory(bytes, size_t(live_), {});
  live_ += int64_t(bytes);
  peak_ = std::max(peak_, live_);
  return data;
}

void CachingMemory::free(void* data, size_t bytes) noexcept {
  size_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  live_ -= int64_t(bytes);
  try {
    age_.push_back({data, size});
    kept_by_class_[class_number(size)].push_back(std::prev(age_.end()));
    kept_ += int64_t(size);
  } catch (const std::bad_alloc&) {
    if (!age_.empty() && age_.back().data == data) age_.pop_back();
    give_to_system(data, size);
  }
  trim_locked(bound_);
}

void CachingMemory::trim_locked(int64_t bytes) noexcept {
  while (kept_ > bytes) {
    auto oldest = age_.begin();
    auto& blocks = kept_by_class_[class_number(oldest->bytes)];
    blocks.erase(std::find(blocks.begin(), blocks.end(), oldest));
    kept_ -= int64_t(oldest->bytes);
    give_to_system(oldest->data, oldest->bytes);
    age_.erase(oldest);
  }
}

void CachingMemory::trim(int64_t bytes) noexcept {
  std::lock_guard lock(mutex_);
  trim_locked(bytes);
}

Ref<Buffer> CachingMemory::allocate_buffer(size_t bytes) {
  void* data = allocate(bytes);
  try {
    return Ref<Buffer>(
        new Buffer(data, bytes, cpu, [this](void* memory, size_t size) { free(memory, size); }));
  } catch (...) {
    free(data, bytes);
    throw;
  }
}

int64_t CachingMemory::live_bytes() const {
  std::lock_guard lock(mutex_);
  return live_;
}

int64_t CachingMemory::peak_bytes() const {
  std::lock_guard lock(mutex_);
  return peak_;
}

void CachingMemory::reset_peak_bytes() {
  std::lock_guard lock(mutex_);
  peak_ = live_;
}

int64_t CachingMemory::kept_bytes() const {
  std::lock_guard lock(mutex_);
  return kept_;
}

void CachingMemory::fail_allocation(int64_t n) {
  std::lock_guard lock(mutex_);
  until_failure_ = n;
}

CachingMemory& host_cache() {
  static CachingMemory& instance = *[] {
    int64_t physical = int64_t(sysconf(_SC_PHYS_PAGES)) * int64_t(sysconf(_SC_PAGESIZE));
    return new CachingMemory(std::max<int64_t>(64 << 20, physical / 8));
  }();
  return instance;
}

}  // namespace encore::jit
