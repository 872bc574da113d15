#include <encore/core/error.h>
#include <encore/jit/cuda/enqueue.h>
#include <encore/jit/cuda/executable.h>
#include <encore/jit/cuda/generate.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

/// What every function may use without asking.
constexpr uint32_t always_permitted = 48 << 10;

}  // namespace

Module::Module(const Gpu& gpu, std::span<const std::byte> cubin) : gpu_(gpu) {
  gpu_.enter();
  driver().cuModuleLoadData(&module_, cubin.data());
}

Module::~Module() {
  try {
    gpu_.synchronize();
  } catch (const DeviceLost&) {
    return;                 // it has nothing loaded any more
  } catch (const Error&) {  // no reason to keep the module for ever
  }
  driver().cuModuleUnload.status(module_);
}

CUfunction Module::function(const std::string& symbol) const {
  gpu_.enter();
  CUfunction function = nullptr;
  driver().cuModuleGetFunction(&function, module_, symbol.c_str());
  return function;
}

KernelExecutable::KernelExecutable(const Gpu& gpu, DeviceMemory& memory, LaunchLayout layout,
                                   std::shared_ptr<const Module> module, const std::string& symbol,
                                   size_t bytes)
    : gpu_(gpu),
      memory_(memory),
      layout_(std::move(layout)),
      module_(std::move(module)),
      functions_(new Function[layout_.functions()]),
      bytes_(bytes) {
  for (uint32_t i = 0; i < layout_.functions(); ++i) {
    functions_[i].handle = module_->function(function_symbol(symbol, i));
    functions_[i].permitted = always_permitted;
  }
}

void KernelExecutable::permit(Function& function, uint32_t shared_bytes) const {
  if (shared_bytes <= function.permitted.load(std::memory_order_relaxed)) return;
  gpu_.enter();
  driver().cuFuncSetAttribute(function.handle, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                              int(shared_bytes));
  function.permitted = shared_bytes;
}

void KernelExecutable::pack(std::span<const Segment> segments, LaunchList& to) const {
  while (!segments.empty()) {
    size_t count = std::min<size_t>(segments.size(), layout_.capacity());
    size_t block = to.add_block(layout_.parameter_bytes());
    Steps steps = layout_.pack(segments.first(count), to.block(block));
    if (steps.scratch_bytes) to.add_scratch({this, block, steps.scratch_bytes});
    if (steps.needs_maps) {
      std::byte* to_map = to.block(block) + layout_.maps_at();
      for (const TensorMap& map : layout_.tensor_maps(segments[0], steps.launches[0])) {
        encode(map, to_map);
        to_map += TensorMap::bytes;
      }
    }
    for (const Geometry& step : steps) {
      Function& function = functions_[step.function];
      permit(function, step.shared_bytes);
      to.launches.push_back({function.handle, step, block, layout_.parameter_bytes()});
    }
    segments = segments.subspan(count);
  }
}

void KernelExecutable::launch(std::span<const Segment> segments) const {
  thread_local LaunchList& launches = *new LaunchList;
  launches.clear();
  pack(segments, launches);
  Scratch scratch(memory_, launches);
  gpu_.enter();
  for (const LaunchList::Launch& one : launches.launches) enqueue(gpu_, launches, one);
}

}  // namespace encore::jit::cuda
