#include <encore/core/error.h>
#include <encore/jit/cuda/landing.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

constexpr size_t alignment = 512;

}  // namespace

Landing::~Landing() {
  forget();
  for (CUevent event : idle_) driver().cuEventDestroy.status(event);
  if (memory_) driver().cuMemFree.status(memory_);
}

size_t Landing::most() {
  if (!memory_) {
    const size_t size = std::min(most_bytes, gpu_.bytes().total / share) / (2 * alignment);
    size_ = size * 2 * alignment;
    const CUresult result = driver().cuMemAlloc.status(&memory_, size_);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) return 0;
    if (result != CUDA_SUCCESS) throw_failed(result, "cuMemAlloc");
  }
  return size_ / 2;
}

CUdeviceptr Landing::take(size_t bytes, CUstream copies) {
  bytes = (bytes + alignment - 1) / alignment * alignment;
  const size_t begin = taken_.end + bytes <= size_ ? taken_.end : 0;
  taken_ = {begin, begin + bytes, nullptr};
  // Moves are over in order: the last one that concerns the place stands for those before it.
  auto meets = [&](const Move& move) { return move.begin < taken_.end && begin < move.end; };
  auto last = std::find_if(moves_.rbegin(), moves_.rend(), meets);
  if (last != moves_.rend()) driver().cuStreamWaitEvent(copies, last->done, 0);
  for (auto over = moves_.rend() - last; over > 0; --over) {
    idle_.push_back(moves_.front().done);  // the wait is for what was recorded before it
    moves_.pop_front();
  }
  return memory_ + begin;
}

void Landing::move(CUdeviceptr to, size_t bytes) {
  moves_.push_back(taken_);
  CUevent& done = moves_.back().done;
  if (idle_.empty()) {
    driver().cuEventCreate(&done, CU_EVENT_DISABLE_TIMING);
  } else {
    done = idle_.back();
    idle_.pop_back();
  }
  driver().cuMemcpyDtoDAsync(to, memory_ + taken_.begin, bytes, gpu_.stream());
  driver().cuEventRecord(done, gpu_.stream());
}

void Landing::forget() noexcept {
  for (const Move& move : moves_)
    if (move.done) driver().cuEventDestroy.status(move.done);
  moves_.clear();
}

}  // namespace encore::jit::cuda
