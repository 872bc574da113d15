#include <encore/utils/bundle_document.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace encore {
namespace {

using Json = nlohmann::ordered_json;

std::string last_line(const std::string& text) { return text.substr(text.rfind('\n') + 1); }

/// The last line of a text may explain it as an object; otherwise the text is the explanation.
Json to_json(const BundleDocument::Miss& miss) {
  Json json = {{"reason", miss.reason}};
  const Json told = Json::parse(last_line(miss.text), nullptr, false);
  if (told.is_object())
    json.update(told);
  else
    json["explanation"] = miss.text;
  if (miss.line) json.update({{"file", miss.file}, {"line", miss.line}});
  return json;
}

}  // namespace

BundleDocument::Miss::Miss(const Event& event)
    : reason(event.name), text(event.text), file(event.where.file), line(event.where.line) {}

void BundleDocument::take(const Event& event) {
  if (event.kind == EventKind::miss) misses.emplace_back(event);
  if (event.kind == EventKind::fusion_refusal)
    refusals.push_back(last_line(std::string(event.text)));
  if (event.kind == EventKind::compile) compiled.push_back({std::string(event.name), event.value});
}

std::string BundleDocument::text() const {
  Json all = Json::parse(trace);
  std::map<std::string, Json> files;
  for (const Listing& listing : listings) files[listing.kernel][listing.kind] = listing.file;
  for (Json& kernel : all["kernels"]) {
    auto found = files.find(kernel["name"]);
    kernel["files"] = found == files.end() ? Json::object() : found->second;
  }
  all["kernel_misses"] = Json::array();
  for (const Miss& miss : misses) {
    Json json = to_json(miss);
    if (json.value("subject", "") == "kernel")
      all["kernel_misses"].push_back(std::move(json));
    else if (!all.contains("miss"))
      all["miss"] = std::move(json);
  }
  all["refusals"] = Json::array();
  for (const std::string& refusal : refusals)
    if (Json json = Json::parse(refusal, nullptr, false); json.is_object())
      all["refusals"].push_back(std::move(json));
  all["compiled"] = Json::array();
  for (const Compiled& one : compiled) {
    all["compiled"].push_back({{"kernel", one.kernel}});
    if (one.nanoseconds) all["compiled"].back()["ms"] = double(one.nanoseconds) * 1e-6;
  }
  return all.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace encore
