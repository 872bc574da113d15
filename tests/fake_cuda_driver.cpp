// The driver API on host memory; see the header.
#include "fake_cuda_driver.h"

#include <dlfcn.h>
#include <encore/jit/cuda/driver_types.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <set>

#include "emulated_tensor_map.h"
#include "fake_cuda_order.h"

using namespace encore::jit::cuda;
using encore::fake_cuda::Access;
using encore::fake_cuda::Launch;
using encore::fake_cuda::Stand;

namespace {

struct Stream {
  std::deque<std::function<void()>> queue;
  size_t ran = 0;  // operations that have left the queue
};

struct State {
  encore::fake_cuda::Driver seen;
  encore::fake_cuda::Order order;
  std::recursive_mutex mutex;
  std::deque<Stream> streams;
  std::map<CUdeviceptr, size_t> allocations;
};

State& state() {
  static State& instance = *new State;
  return instance;
}

/// A kernel; what fake_nvrtc.cpp compiled has code for the host.
struct Function {
  std::string symbol;
  size_t parameter_bytes = 0;
  void (*run)(const void*, unsigned, unsigned, unsigned) = nullptr;
};

/// A loaded image: a library where it is one for this machine.
struct LoadedModule {
  void* library = nullptr;
  std::map<std::string, Function> functions;
};

/// The size of an ELF file whose section headers come last, as those of libraries do.
size_t elf_size(const char* image) {
  uint64_t headers;
  uint16_t size, count;
  std::memcpy(&headers, image + 0x28, sizeof headers);
  std::memcpy(&size, image + 0x3a, sizeof size);
  std::memcpy(&count, image + 0x3c, sizeof count);
  return headers + size_t(size) * count;
}

/// Null: no library for this machine.
void* open_image(const char* image) {
  constexpr char this_machine[] = {62, 0};  // EM_X86_64
  if (std::strncmp(image, "\177ELF", 4) != 0 || std::memcmp(image + 18, this_machine, 2) != 0)
    return nullptr;
  char path[] = "/tmp/encore_fake_cuda_XXXXXX";
  int file = mkstemp(path);
  size_t size = elf_size(image);
  void* library = nullptr;
  if (write(file, image, size) == ssize_t(size)) library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  close(file);
  unlink(path);
  return library;
}

Function* find_function(LoadedModule& module, const std::string& symbol) {
  auto [found, is_new] = module.functions.try_emplace(symbol, Function{symbol});
  Function& function = found->second;
  if (is_new && module.library) {
    auto find = [&](const std::string& name) { return dlsym(module.library, name.c_str()); };
    auto bytes = reinterpret_cast<size_t (*)()>(find("size_" + symbol));
    if (!bytes) return nullptr;
    function.parameter_bytes = bytes();
    function.run = reinterpret_cast<decltype(function.run)>(find("run_" + symbol));
  }
  return &function;
}

struct Event {
  Stream* stream = nullptr;
  size_t after = 0;  // done once so many operations of it ran
  encore::fake_cuda::Known known{};
};
/// The device's clock: each operation takes this long.
constexpr float milliseconds_per_operation = 0.25f;
/// A kernel, or what a library enqueued.
struct Node {
  Launch launch;
  std::vector<Node*> behind;  // those that it waits for
  std::vector<std::function<void()>> work;
};
struct Graph {
  std::vector<std::unique_ptr<Node>> nodes;
};
struct ExecutableGraph {
  std::map<Node*, Node> held;
  std::vector<Node*> order;
};

/// What libraries enqueued while a stream was captured.
std::map<CUstream, Graph*>& captures() {
  static auto& all = *new std::map<CUstream, Graph*>;
  return all;
}

int environment(const char* name, int fallback) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : fallback;
}

Stream& stream_of(CUstream handle) { return *reinterpret_cast<Stream*>(handle); }

/// Where nobody reads them, a complaint ends the process.
void complain(const std::vector<std::string>& complaints) {
  auto& seen = state().seen;
  seen.complaints.insert(seen.complaints.end(), complaints.begin(), complaints.end());
  if (complaints.empty() || seen.complaints_are_read) return;
  std::fprintf(stderr, "fake CUDA driver: %s\n", complaints[0].c_str());
  std::abort();
}

void enqueue(CUstream stream, const std::string& what, const std::vector<Access>& accesses,
             std::function<void()> work) {
  std::vector<std::string> complaints;
  state().order.operate(stream, what, accesses, complaints);
  complain(complaints);
  stream_of(stream).queue.push_back(std::move(work));
  ++state().seen.enqueued;
}

/// A copy within host memory, as this device has it.
void enqueue_copy(CUstream stream, const char* what, CUdeviceptr to, CUdeviceptr from,
                  size_t bytes) {
  const std::vector<Access> accesses = {{to, to + bytes, true}, {from, from + bytes, false}};
  enqueue(stream, what, accesses, [=] {
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  });
}

/// A copy whose source must stay as it is until the copy has run.
void enqueue_copy_from_host(CUstream stream, CUdeviceptr to, const void* from, size_t bytes) {
  const auto* source = static_cast<const std::byte*>(from);
  auto values = std::make_shared<std::vector<std::byte>>(source, source + bytes);
  enqueue(stream, "a copy from the host", {{to, to + bytes, true}}, [=] {
    if (std::memcmp(source, values->data(), bytes) != 0)
      complain({"the source of a copy was written before the copy ran"});
    std::memcpy(reinterpret_cast<void*>(to), source, bytes);
  });
}

/// The device's memory at which words of a kernel's parameters point.
std::vector<Access> accesses_of(const Launch& launch) {
  std::vector<Access> accesses;
  for (size_t at = 0; at + 8 <= launch.parameters.size(); at += 8) {
    CUdeviceptr word;
    std::memcpy(&word, launch.parameters.data() + at, sizeof word);
    auto above = state().allocations.upper_bound(word);
    if (above == state().allocations.begin()) continue;
    auto [begin, bytes] = *std::prev(above);
    if (word < begin + bytes) accesses.push_back({word, word + 1, true});
  }
  return accesses;
}

void run_until(Stream& stream, size_t count) {
  while (stream.ran < count && !stream.queue.empty()) {
    std::function<void()> work = std::move(stream.queue.front());
    stream.queue.pop_front();
    work();
    ++stream.ran;
    --state().seen.enqueued;
  }
}

void run_all(Stream& stream) { run_until(stream, stream.ran + stream.queue.size()); }

void run_all() {
  for (Stream& stream : state().streams) run_all(stream);
}

bool is_done(const Event& event) { return !event.stream || event.stream->ran >= event.after; }

Launch make_launch(CUfunction function, unsigned grid, unsigned threads, unsigned shared_bytes,
                   void** parameters) {
  const auto& known = *reinterpret_cast<const Function*>(function);
  Launch launch{known.symbol, grid, threads, shared_bytes, {}, function};
  auto stand = state().seen.kernels.find(launch.symbol);
  size_t bytes =
      stand == state().seen.kernels.end() ? known.parameter_bytes : stand->second.parameter_bytes;
  auto* first = static_cast<const std::byte*>(parameters[0]);
  launch.parameters.assign(first, first + bytes);
  return launch;
}

void enqueue(CUstream stream, Launch launch) {
  const std::vector<Access> accesses = accesses_of(launch);
  enqueue(stream, "kernel " + launch.symbol, accesses, [launch = std::move(launch)] {
    auto stand = state().seen.kernels.find(launch.symbol);
    const auto& function = *static_cast<const Function*>(launch.function);
    if (stand != state().seen.kernels.end())
      stand->second.run(launch.parameters.data());
    else if (function.run)
      function.run(launch.parameters.data(), launch.grid, launch.threads, launch.shared_bytes);
    state().seen.launches.push_back(launch);
  });
}

/// As a device may run them that takes the latest node first: whoever forgot an edge is caught.
std::vector<Node*> latest_first(const Graph& graph) {
  std::vector<Node*> order;
  std::set<Node*> done;
  while (order.size() < graph.nodes.size()) {
    auto ready = std::find_if(graph.nodes.rbegin(), graph.nodes.rend(), [&](const auto& node) {
      return !done.count(node.get()) &&
             std::all_of(node->behind.begin(), node->behind.end(),
                         [&](Node* earlier) { return done.count(earlier) > 0; });
    });
    order.push_back(ready->get());
    done.insert(order.back());
  }
  return order;
}

void enqueue(CUstream stream, const Node& node) {
  if (node.work.empty()) enqueue(stream, node.launch);
  for (const std::function<void()>& work : node.work) enqueue(stream, "a library", {}, work);
}

std::vector<std::function<void()>> work_of(const Graph& graph) {
  std::vector<std::function<void()>> work;
  for (const auto& node : graph.nodes)
    work.insert(work.end(), node->work.begin(), node->work.end());
  return work;
}

void wait_for(Node& node, const CUgraphNode* behind, size_t count) {
  for (size_t i = 0; i < count; ++i) node.behind.push_back(reinterpret_cast<Node*>(behind[i]));
}

Launch launch_of(const CUDA_KERNEL_NODE_PARAMS& node) {
  Launch launch =
      make_launch(node.func, node.gridDimX, node.blockDimX, node.sharedMemBytes, node.kernelParams);
  launch.in_graph = true;
  return launch;
}

}  // namespace

extern "C" encore::fake_cuda::Driver* fake_cuda_driver() { return &state().seen; }

/// For libraries that work on a stream.
extern "C" void fake_cuda_enqueue(CUstream stream, std::function<void()>* work) {
  std::lock_guard lock(state().mutex);
  auto capture = captures().find(stream);
  if (capture == captures().end()) return enqueue(stream, "a library", {}, std::move(*work));
  capture->second->nodes.push_back(std::make_unique<Node>(Node{{}, {}, {std::move(*work)}}));
}

// One line a function: its name, its parameters, and what it does besides being counted.
#define FAKE(symbol, parameters, ...)     \
  extern "C" CUresult symbol parameters { \
    std::lock_guard lock(state().mutex);  \
    ++state().seen.calls[#symbol];        \
    __VA_ARGS__                           \
    return CUDA_SUCCESS;                  \
  }

FAKE(cuInit, (unsigned))
FAKE(cuDriverGetVersion, (int* version), *version = environment("FAKE_CUDA_VERSION", 13000);)
FAKE(cuGetErrorName, (CUresult, const char** name), *name = "CUDA_ERROR_FAKE";)
FAKE(cuGetErrorString, (CUresult, const char** text), *text = "the fake driver was told to fail";)
FAKE(cuDeviceGetCount, (int* count), *count = environment("FAKE_CUDA_DEVICES", 2);
     if (*count == 0) return CUDA_ERROR_NO_DEVICE;)
FAKE(cuDeviceGet, (CUdevice * device, int index), *device = index;)
FAKE(cuDeviceGetName, (char* name, int length, CUdevice),
     std::strncpy(name, "fake", size_t(length));)
FAKE(cuDeviceGetAttribute, (int* value, int attribute, CUdevice),
     *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 9 : 0;)
FAKE(cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device),
     *context = reinterpret_cast<CUcontext>(uintptr_t(device) + 1);)
FAKE(cuDevicePrimaryCtxRelease_v2, (CUdevice))
FAKE(cuCtxSetCurrent, (CUcontext))
FAKE(cuStreamCreate, (CUstream * stream, unsigned), state().streams.emplace_back();
     *stream = reinterpret_cast<CUstream>(&state().streams.back());)
FAKE(cuStreamDestroy_v2, (CUstream stream), run_all(stream_of(stream));)
FAKE(cuStreamSynchronize, (CUstream stream), run_all(stream_of(stream));
     state().order.host_wait(state().order.record(stream));)
FAKE(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned),
     Event now = *reinterpret_cast<Event*>(event);
     state().order.wait(stream, now.known); enqueue(stream, "a wait", {}, [now] {
       if (now.stream) run_until(*now.stream, now.after);
     });)
FAKE(cuStreamBeginCapture_v2, (CUstream stream, int), captures()[stream] = new Graph;
     ++state().seen.graphs;)
FAKE(cuStreamEndCapture, (CUstream stream, CUgraph* graph),
     *graph = reinterpret_cast<CUgraph>(captures().at(stream));
     captures().erase(stream);)
FAKE(cuEventCreate, (CUevent * event, unsigned), *event = reinterpret_cast<CUevent>(new Event);
     ++state().seen.events;)
FAKE(cuEventRecord, (CUevent event, CUstream stream), Stream& on = stream_of(stream);
     *reinterpret_cast<Event*>(event) = {&on, on.ran + on.queue.size(),
                                         state().order.record(stream)};)
FAKE(cuEventSynchronize, (CUevent event), const Event& one = *reinterpret_cast<Event*>(event);
     if (one.stream) run_until(*one.stream, one.after); state().order.host_wait(one.known);)
FAKE(cuEventQuery, (CUevent event), const Event& one = *reinterpret_cast<Event*>(event);
     if (!is_done(one)) return CUDA_ERROR_NOT_READY; state().order.host_wait(one.known);)
FAKE(cuEventElapsedTime, (float* milliseconds, CUevent begin, CUevent end),
     size_t first = reinterpret_cast<Event*>(begin)->after;
     size_t last = reinterpret_cast<Event*>(end)->after;
     if (!is_done(*reinterpret_cast<Event*>(end))) return CUDA_ERROR_NOT_READY;
     *milliseconds = milliseconds_per_operation * float(last - first);)
FAKE(cuEventDestroy_v2, (CUevent event), delete reinterpret_cast<Event*>(event);
     --state().seen.events;)
FAKE(cuMemGetInfo_v2, (size_t* free, size_t* total), *total = state().seen.memory;
     *free = *total - state().seen.used;)
FAKE(
    cuMemAlloc_v2, (CUdeviceptr * pointer, size_t bytes),
    if (state().seen.used + bytes > state().seen.memory) return CUDA_ERROR_OUT_OF_MEMORY;
    if (state().seen.refusals > 0) {
      --state().seen.refusals;
      return CUDA_ERROR_OUT_OF_MEMORY;
    }* pointer = CUdeviceptr(uintptr_t(std::aligned_alloc(512, bytes)));
    state().allocations[*pointer] = bytes; state().seen.used += bytes;)
FAKE(cuMemFree_v2, (CUdeviceptr pointer), run_all(); state().order.host_waits_for_all();
     auto found = state().allocations.find(pointer);
     if (found == state().allocations.end()) return 1; state().seen.used -= found->second;
     state().allocations.erase(found); std::free(reinterpret_cast<void*>(uintptr_t(pointer)));)
FAKE(cuMemHostAlloc, (void** pointer, size_t bytes, unsigned), *pointer = std::malloc(bytes);
     state().seen.pinned += bytes;)
FAKE(cuMemFreeHost, (void* pointer), std::free(pointer);)
FAKE(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void* from, size_t bytes, CUstream stream),
     enqueue_copy_from_host(stream, to, from, bytes);)
FAKE(cuMemcpyDtoHAsync_v2, (void* to, CUdeviceptr from, size_t bytes, CUstream stream),
     enqueue_copy(stream, "a copy to the host", CUdeviceptr(uintptr_t(to)), from, bytes);)
FAKE(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream),
     enqueue_copy(stream, "a copy on the device", to, from, bytes);)
FAKE(cuMemsetD32Async, (CUdeviceptr to, unsigned value, size_t count, CUstream stream),
     enqueue(stream, "a fill", {{to, to + 4 * count, true}}, [=] {
       for (size_t i = 0; i < count; ++i)
         std::memcpy(reinterpret_cast<void*>(uintptr_t(to) + 4 * i), &value, 4);
     });)
FAKE(cuModuleLoadData, (CUmodule * module, const void* image),
     *module = reinterpret_cast<CUmodule>(new LoadedModule{
         open_image(static_cast<const char*>(image)), {}});
     ++state().seen.modules;)
FAKE(cuModuleUnload, (CUmodule module), run_all();
     auto* loaded = reinterpret_cast<LoadedModule*>(module);
     if (loaded->library) dlclose(loaded->library); delete loaded; --state().seen.modules;)
FAKE(cuModuleGetFunction, (CUfunction * function, CUmodule module, const char* symbol),
     auto* found = find_function(*reinterpret_cast<LoadedModule*>(module), symbol);
     if (!found) return 500; *function = reinterpret_cast<CUfunction>(found);)
FAKE(cuFuncSetAttribute, (CUfunction, int, int))
FAKE(cuLaunchKernel,
     (CUfunction function, unsigned grid, unsigned, unsigned, unsigned threads, unsigned, unsigned,
      unsigned shared_bytes, CUstream stream, void** parameters, void**),
     enqueue(stream, make_launch(function, grid, threads, shared_bytes, parameters));)
FAKE(cuGraphCreate, (CUgraph * graph, unsigned), *graph = reinterpret_cast<CUgraph>(new Graph);
     ++state().seen.graphs;)
FAKE(cuGraphAddKernelNode_v2,
     (CUgraphNode * node, CUgraph graph, const CUgraphNode* behind, size_t count,
      const CUDA_KERNEL_NODE_PARAMS* parameters),
     auto& nodes = reinterpret_cast<Graph*>(graph)->nodes;
     nodes.push_back(std::make_unique<Node>(Node{launch_of(*parameters), {}, {}}));
     wait_for(*nodes.back(), behind, count);
     *node = reinterpret_cast<CUgraphNode>(nodes.back().get());)
FAKE(cuGraphAddChildGraphNode,
     (CUgraphNode * node, CUgraph graph, const CUgraphNode* behind, size_t count, CUgraph child),
     auto& nodes = reinterpret_cast<Graph*>(graph)->nodes;
     nodes.push_back(std::make_unique<Node>(Node{
         {}, {}, work_of(*reinterpret_cast<Graph*>(child))}));
     wait_for(*nodes.back(), behind, count);
     *node = reinterpret_cast<CUgraphNode>(nodes.back().get());)
FAKE(cuGraphInstantiateWithFlags, (CUgraphExec * executable, CUgraph graph, unsigned long long),
     auto* made = new ExecutableGraph;
     made->order = latest_first(*reinterpret_cast<Graph*>(graph));
     for (Node * node : made->order) made->held[node] = *node;
     *executable = reinterpret_cast<CUgraphExec>(made); ++state().seen.executable_graphs;)
FAKE(cuGraphExecKernelNodeSetParams_v2,
     (CUgraphExec executable, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* parameters),
     auto& held = reinterpret_cast<ExecutableGraph*>(executable)->held;
     held.at(reinterpret_cast<Node*>(node)).launch = launch_of(*parameters);)
FAKE(cuGraphExecChildGraphNodeSetParams, (CUgraphExec executable, CUgraphNode node, CUgraph child),
     auto& held = reinterpret_cast<ExecutableGraph*>(executable)->held;
     auto& work = held.at(reinterpret_cast<Node*>(node)).work;
     auto wanted = work_of(*reinterpret_cast<Graph*>(child));
     if (work.size() != wanted.size()) return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
     work = std::move(wanted);)
FAKE(cuGraphLaunch, (CUgraphExec executable, CUstream stream),
     auto* graph = reinterpret_cast<ExecutableGraph*>(executable);
     for (Node * node : graph->order) enqueue(stream, graph->held.at(node));)
FAKE(cuGraphExecDestroy, (CUgraphExec executable),
     delete reinterpret_cast<ExecutableGraph*>(executable);
     --state().seen.executable_graphs;)
FAKE(cuGraphDestroy, (CUgraph graph), delete reinterpret_cast<Graph*>(graph);
     --state().seen.graphs;)

FAKE(
    cuTensorMapEncodeTiled,
    (CUtensorMap * to, int type, uint32_t axes, void* address, const uint64_t* extents,
     const uint64_t* strides, const uint32_t* box, const uint32_t*, int, int, int, int),
    TensorMap map{
        .dtype = type == CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 ? encore::DType::f32 : encore::DType::f16,
        .address = address,
        .axes = axes};
    for (uint32_t i = 0; i < axes && i < TensorMap::most_axes; ++i) {
      map.extents[i] = extents[i], map.box[i] = box[i];
      if (i > 0) map.strides[i] = strides[i - 1];
    } encode_for_emulator(map, to);)
