#include <encore/core/settings.h>
#include <encore/core/span.h>
#include <encore/trace/collapse_axes.h>
#include <encore/trace/compact_sizes.h>
#include <encore/trace/describe.h>
#include <encore/trace/explain_aliases.h>
#include <encore/trace/find_dependencies.h>
#include <encore/trace/fuse.h>
#include <encore/trace/join_kernels.h>
#include <encore/trace/label_launches.h>
#include <encore/trace/lower.h>
#include <encore/trace/orient_contraction.h>
#include <encore/trace/pipeline.h>
#include <encore/trace/plan_memory.h>
#include <encore/trace/plan_scratch.h>
#include <encore/trace/report_refusals.h>
#include <encore/trace/simplify.h>
#include <encore/trace/statistics.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

namespace encore::trace {
namespace {

/// Tells listeners what a pass made; the text is only made when one listens.
template <class Text>
void report(std::string_view name, Text&& text, Location where = {}) {
  if (events::wanted(EventKind::pass)) events::report({EventKind::pass, name, text(), 0, where});
}

void report_trace(const Described& described) {
  if (!events::wanted(EventKind::pass)) return;
  describe(described, [](std::string_view part, bool is_last) {
    events::report({EventKind::pass, is_last ? "trace" : "trace-part", part});
  });
}

/// Kernels of a joined launch differ in extents, if at all; one of them is shown.
std::string shown(const jit::Kernel& kernel, size_t segments) {
  std::string text = jit::describe(kernel);
  if (segments == 1) return text;
  return fmt::format("# one of {} segments of a launch, each with its own memory\n{}", segments,
                     text);
}

void report_kernels(const LoweredTrace& lowered, const std::vector<uint32_t>& launch_of,
                    jit::Backend& backend) {
  if (!events::wanted(EventKind::pass)) return;
  std::map<Hash128, std::vector<jit::Listing>> listed;  // chunks of a long chain repeat
  for (size_t k = 0; k < lowered.kernels.size(); ++k) {
    bool repeats = k > 0 && launch_of[k] == launch_of[k - 1];  // a joined launch has one body
    if (repeats) continue;
    const jit::Kernel& kernel = lowered.kernels[k].kernel;
    std::string name = listed_name(launch_of[k], kernel);
    auto first = launch_of.begin() + ptrdiff_t(k);
    auto next =
        std::find_if(first, launch_of.end(), [&](uint32_t launch) { return launch != *first; });
    size_t segments = size_t(next - first);
    report("kernel:" + name, [&] { return shown(kernel, segments); });
    auto [place, is_new] = listed.try_emplace(jit::key_of(kernel));
    if (is_new) place->second = backend.listings(kernel);
    for (const jit::Listing& listing : place->second)
      report(listing.kind + ":" + name, [&] { return listing.text; });
  }
}

std::vector<std::shared_ptr<const jit::Executable>> compile_kernels(
    const LoweredTrace& lowered, const std::vector<uint32_t>& launch_of, jit::Backend& backend,
    KernelStore& kernels) {
  std::vector<KernelRequest> requests;
  for (size_t k = 0; k < lowered.kernels.size(); ++k) {
    if (k > 0 && launch_of[k] == launch_of[k - 1]) {
      const jit::Kernel& mine = lowered.kernels[k].kernel;
      requests.back().generic |= jit::key_of(mine) != jit::key_of(*requests.back().kernel);
      continue;
    }
    requests.push_back({&lowered.kernels[k].kernel, false, lowered.kernels[k].location});
  }
  Span span("build");
  auto start = std::chrono::steady_clock::now();
  auto result = kernels.get(backend, requests);
  counters().compile_nanoseconds += (std::chrono::steady_clock::now() - start).count();
  return result;
}

void place_buffers(const LoweredTrace& lowered, const MemoryPlan& plan, Program& program) {
  for (size_t i = 0; i < lowered.buffers.size(); ++i) {
    const MemoryPlan::Home& home = plan.homes[i];
    program.places.push_back({.leaf = home.leaf,
                              .inside = home.output,
                              .offset = home.offset,
                              .bytes = lowered.buffers[i].bytes});
  }
  for (uint32_t i = 0; i < lowered.output_buffers.size(); ++i) {
    Program::Place& place = program.places[lowered.output_buffers[i]];
    if (place.output == ~0u) place.output = i;
  }
  program.output_buffers = lowered.output_buffers;
  for (uint32_t slot = 0; slot < plan.is_overwritten.size(); ++slot)
    if (plan.is_overwritten[slot]) program.overwritten_leaves.push_back(slot);
  program.arena_bytes = plan.arena_bytes;
}

void add_launches(const LoweredTrace& lowered, const std::vector<uint32_t>& launch_of,
                  Program& program) {
  for (size_t k = 0; k < lowered.kernels.size(); ++k) {
    const PlannedKernel& planned = lowered.kernels[k];
    if (launch_of[k] == program.launches.size()) program.launches.push_back({});
    Program::Segment segment{planned.buffers, {}, planned.scalar_slots, planned.scratch};
    for (const jit::Size& size : planned.kernel.sizes) segment.sizes.push_back(size.value);
    program.pointer_count += uint32_t(segment.buffers.size());
    program.scalar_count += uint32_t(segment.scalar_slots.size());
    ++program.segment_count;
    program.launches.back().segments.push_back(std::move(segment));
  }
}

std::string launches_text(const Program& program, const jit::Dependencies& waits_for) {
  std::string text;
  for (size_t i = 0; i < program.launches.size(); ++i) {
    text += fmt::format("launch {:>3} {} x{}", i, (*program.labels)[i].name,
                        program.launches[i].segments.size());
    if (!waits_for[i].empty()) text += fmt::format(" after {}", fmt::join(waits_for[i], " "));
    text += '\n';
  }
  return text;
}

/// What all the passes make of a capture; nothing of it is compiled.
struct Planned {
  Graph graph;
  Fusion fusion;
  LoweredTrace lowered;
  LaunchOrder order;
  MemoryPlan memory;
  Graph captured;              // kept where somebody listens
  std::vector<NodeId> became;  // likewise, by node of `captured`
};

/// The fuser counts what an op needs once; what several sweeps compute again shows after lowering.
bool fits(const LoweredTrace& lowered, uint32_t most) {
  return std::all_of(lowered.kernels.begin(), lowered.kernels.end(), [&](const PlannedKernel& one) {
    return one.kernel.instructions.size() <= most;
  });
}

Planned plan_with(const Graph& graph, jit::Backend& backend, bool updates_apart) {
  Planned planned;
  jit::Limits limits = backend.limits();
  const uint32_t most = std::min(limits.instructions, jit::max_instructions);
  do {
    {
      Span span("pass", "fuse");
      planned.fusion = fuse(graph, limits, updates_apart);
    }
    Span span("pass", "lower");
    planned.lowered = lower(graph, planned.fusion, limits);
    limits.instructions /= 2;
  } while (!fits(planned.lowered, most) && limits.instructions > 0);
  Span span("pass", "plan");
  for (PlannedKernel& kernel : planned.lowered.kernels) {
    orient_contraction(kernel.kernel);
    collapse_axes(kernel.kernel, settings().strict);
    compact_sizes(kernel.kernel);
    jit::verify_kernel(kernel.kernel);
  }
  planned.order = join_kernels(planned.lowered, graph.donated, settings().fuse);
  planned.memory = plan_memory(planned.lowered, planned.order, graph.donated);
  return planned;
}

/// Updates stand in the epilogues that make the gradients, unless that costs more than a fiftieth
/// of all the memory.
Planned plan_within_memory(const Graph& graph, jit::Backend& backend) {
  Planned fused = plan_with(graph, backend, false);
  if (!fused.fusion.updates_in_epilogues) return fused;
  Planned apart = plan_with(graph, backend, true);
  return apart.memory.total_bytes < fused.memory.total_bytes / 50 * 49 ? std::move(apart)
                                                                       : std::move(fused);
}

Planned plan(Graph graph, jit::Backend& backend) {
  report("captured", [&] { return to_text(graph); });
  const bool listened = events::wanted(EventKind::pass);
  std::vector<NodeId> became;
  Graph simplified = [&] {
    Span span("pass", "simplify");
    return simplify(graph, listened ? &became : nullptr);
  }();
  report("simplified", [&] { return to_text(simplified); });
  Planned planned = plan_within_memory(simplified, backend);
  planned.graph = std::move(simplified);
  if (listened) planned.captured = std::move(graph), planned.became = std::move(became);
  report("fused", [&] { return to_text(planned.graph, planned.fusion); });
  return planned;
}

}  // namespace

std::shared_ptr<const Program> compile(const Capture& capture, jit::Backend& backend,
                                       KernelStore& kernels, Location where) {
  return compile(build_graph(capture), capture, backend, kernels, where);
}

std::shared_ptr<const Program> compile(Graph graph, const Capture& capture, jit::Backend& backend,
                                       KernelStore& kernels, Location where) {
  Span span("compile", {}, where);
  report("begin", [&] { return capture.key.hex(); }, where);
  Planned planned = plan(std::move(graph), backend);
  report_refusals(planned.graph, planned.fusion);
  auto program = std::make_shared<Program>();
  program->words = capture.words;
  report_kernels(planned.lowered, planned.order.launch_of, backend);
  auto tell = [&] {
    report("memory-plan", [&] { return to_text(planned.lowered, planned.memory, planned.order); });
    report("aliases", [&] {
      return explain_aliases(planned.graph, planned.lowered, planned.order, planned.memory,
                             capture);
    });
    report_trace({capture, where, planned.captured, planned.became, planned.graph, planned.fusion,
                  planned.lowered, planned.order, planned.memory});
  };
  std::vector<std::shared_ptr<const jit::Executable>> code;
  try {
    code = compile_kernels(planned.lowered, planned.order.launch_of, backend, kernels);
  } catch (...) {
    tell();
    throw;
  }
  plan_scratch(code, planned.graph.donated, planned.lowered, planned.order, planned.memory);
  tell();
  place_buffers(planned.lowered, planned.memory, *program);
  counters().missed_aliases += int64_t(planned.memory.missed.size());
  add_launches(planned.lowered, planned.order.launch_of, *program);
  program->labels = std::make_shared<const jit::Labels>(
      label_launches(planned.graph, planned.fusion, planned.lowered, planned.order.launch_of));
  jit::Dependencies waits_for =
      find_dependencies(planned.lowered, planned.order.launch_of, planned.memory);
  report("program", [&] { return launches_text(*program, waits_for); });
  program->sequence = backend.sequence(std::move(code), program->labels, std::move(waits_for));
  report("end", [&] {
    return fmt::format("nodes {}\nclusters {}\nkernels {}\nlaunches {}\narena bytes {}\n",
                       planned.graph.nodes.size(), planned.fusion.clusters.size(),
                       planned.lowered.kernels.size(), program->launches.size(),
                       program->arena_bytes);
  });
  return program;
}

std::string explain(const Capture& capture, jit::Backend& backend) {
  Planned planned = plan(build_graph(capture), backend);
  std::string text = "== graph\n" + to_text(planned.graph) + "== clusters\n" +
                     to_text(planned.graph, planned.fusion);
  for (size_t k = 0; k < planned.lowered.kernels.size(); ++k) {
    const jit::Kernel& kernel = planned.lowered.kernels[k].kernel;
    text += fmt::format("== kernel {} {}\n{}", planned.order.launch_of[k], kernel.name,
                        jit::to_text(kernel));
  }
  return text + "== memory\n" + to_text(planned.lowered, planned.memory, planned.order);
}

}  // namespace encore::trace
