#include <encore/utils/bundle_document.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace encore {
namespace {

using Json = nlohmann::ordered_json;

std::string last_line(const std::string& text) { return text.substr(text.rfind('\n') + 1); }

/// A text whose last line explains it as an object is kept as that.
Json explanation(const std::string& text) {
  Json parsed = Json::parse(last_line(text), nullptr, false);
  return parsed.is_object() ? parsed : Json(text);
}

}  // namespace

BundleDocument::Miss::Miss(const Event& event)
    : reason(event.name), text(event.text), file(event.where.file), line(event.where.line) {}

void BundleDocument::take(const Event& event) {
  if (event.kind == EventKind::miss && !miss) miss.emplace(event);
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
  if (miss) {
    all["miss"] = {{"reason", miss->reason}, {"text", explanation(miss->text)}};
    if (miss->line) all["miss"].update({{"file", miss->file}, {"line", miss->line}});
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
