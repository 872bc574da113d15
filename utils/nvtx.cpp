// The client's side of NVTX 3's injection: a tool's library is opened and handed tables of slots,
// which it fills with its own functions. Numbers and layouts are those of the binary interface.
#include <encore/core/events.h>
#include <encore/core/shared_library.h>
#include <encore/utils/nvtx.h>
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

namespace encore {
namespace {

using Function = void (*)();

enum Module : int { core_module = 1, last_module = 6 };
enum CoreFunction : unsigned { range_push = 9, range_pop = 11 };
enum ExportTable : uint32_t { callbacks_table = 1, version_table = 3 };
constexpr uint32_t nvtx_version = 3;

/// Functions of each module, number 0 being none; tools want all modules to exist.
constexpr unsigned module_sizes[last_module + 1] = {0, 16, 9, 15, 7, 16, 7};
constexpr unsigned most_functions = 16;

/// What a tool fills in: `slots` by module and function, reached through `table`.
struct Slots {
  Function slots[last_module + 1][most_functions] = {};
  Function* table[last_module + 1][most_functions + 1] = {};  // a null at either end

  Slots() {
    for (int module = core_module; module <= last_module; ++module)
      for (unsigned i = 1; i < module_sizes[module]; ++i) table[module][i] = &slots[module][i];
  }
  static Slots& all() {
    static Slots& instance = *new Slots;
    return instance;
  }
};

int module_table(int module, Function*** table, unsigned* size) {
  if (module < core_module || module > last_module) return 0;
  if (table) *table = Slots::all().table[module];
  if (size) *size = module_sizes[module];
  return 1;
}

const void* export_table(uint32_t id) {
  static const struct {
    size_t bytes;
    int (*module_table)(int, Function***, unsigned*);
  } callbacks = {sizeof callbacks, module_table};
  static const struct {
    size_t bytes;
    uint32_t version, reserved;
    void (*set_tool_version)(uint32_t);
  } version = {sizeof version, nvtx_version, 0, [](uint32_t) {}};
  if (id == callbacks_table) return &callbacks;
  return id == version_table ? &version : nullptr;
}

/// A tool's two functions.
struct Tool {
  int (*push)(const char*) = nullptr;
  int (*pop)() = nullptr;

  bool listens() const { return push && pop; }
  void take(const Event& event) const {
    if (!event.track.empty()) return;
    if (event.kind != EventKind::begin) {
      pop();
      return;
    }
    std::string name(event.name == "scope" ? event.text : event.name);
    if (event.name != "scope" && !event.text.empty()) name += fmt::format(" {}", event.text);
    push(name.c_str());
  }
};

/// Never closed: tools do not expect to be.
SharedLibrary& tool_library() {
  static auto& library = *new SharedLibrary;
  return library;
}

std::string open_injected(const std::string& path, Tool& tool) {
  const std::string names[] = {path};
  tool_library() = SharedLibrary(names, {});
  using Initialize = int (*)(const void* (*)(uint32_t));
  auto initialize = reinterpret_cast<Initialize>(tool_library().find("InitializeInjectionNvtx2"));
  if (!initialize)
    return tool_library().is_open() ? path + " has no InitializeInjectionNvtx2"
                                    : tool_library().failure();
  if (!initialize(export_table)) return path + " does not want to listen";
  Function* core = Slots::all().slots[core_module];
  tool.push = reinterpret_cast<decltype(tool.push)>(core[range_push]);
  tool.pop = reinterpret_cast<decltype(tool.pop)>(core[range_pop]);
  return tool.listens() ? "" : path + " does not listen to ranges";
}

std::string open_tools_extension(Tool& tool) {
  const std::string names[] = {"libnvToolsExt.so.1"};
  tool_library() = SharedLibrary(names, {});
  tool.push = reinterpret_cast<decltype(tool.push)>(tool_library().find("nvtxRangePushA"));
  tool.pop = reinterpret_cast<decltype(tool.pop)>(tool_library().find("nvtxRangePop"));
  return tool.listens() ? "" : "NVTX_INJECTION64_PATH is not set, and there is no libnvToolsExt";
}

}  // namespace

std::string forward_to_nvtx() {
  static const std::string failure = [] {
    static Tool tool;
    const char* path = std::getenv("NVTX_INJECTION64_PATH");
    std::string why = path && *path ? open_injected(path, tool) : open_tools_extension(tool);
    if (why.empty())
      events::listen([](const Event& event) { tool.take(event); },
                     events::times | events::kernel_times);
    return why;
  }();
  return failure;
}

}  // namespace encore
