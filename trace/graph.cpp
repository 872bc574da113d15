#include <encore/trace/graph.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>

namespace encore::trace {

std::string literal_text(uint64_t bits, DType dtype) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return fmt::format("{}", value);
  }
  if (dtype == DType::f64) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return fmt::format("{}", value);
  }
  return fmt::format("{:#x}", bits);
}

std::string to_text(const Graph& graph) {
  std::string text;
  auto out = std::back_inserter(text);
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const GraphNode& node = graph.nodes[id];
    fmt::format_to(out, "%{} = {}{} {}", id, name_of(node.dtype), node.shape.text(),
                   name_of(node.op));
    if (node.op == OpId::leaf)
      fmt::format_to(out, " {}{}", node.slot, graph.donated[node.slot] ? " donated" : "");
    if (node.op == OpId::scalar) fmt::format_to(out, " {}", node.slot);
    if (node.op == OpId::literal) fmt::format_to(out, " {}", literal_text(node.bits, node.dtype));
    for (NodeId input : node.inputs) fmt::format_to(out, " %{}", input);
    if (!node.attributes.empty()) fmt::format_to(out, " ({})", fmt::join(node.attributes, ", "));
    if (node.location.line) {
      const char* slash = std::strrchr(node.location.file, '/');
      fmt::format_to(out, "   # {}:{}{}{}", slash ? slash + 1 : node.location.file,
                     node.location.line, node.scope ? " " : "", node.scope ? node.scope : "");
    }
    text += '\n';
  }
  fmt::format_to(out, "outputs %{}\n", fmt::join(graph.outputs, " %"));
  return text;
}

}  // namespace encore::trace
