#include <encore/utils/bundle_document.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace encore {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// What the compiler leaves where a kernel's files belong; in a string its quotes would be escaped.
constexpr std::string_view no_files = R"("files":{})";

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

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void append(const fs::path& path, std::string_view text) {
  std::ofstream stream(path, std::ios::app | std::ios::binary);
  stream << text;
  stream.close();
  if (!stream) throw std::runtime_error("cannot write " + path.string());
}

}  // namespace

BundleDocument::Miss::Miss(const Event& event)
    : reason(event.name), text(event.text), file(event.where.file), line(event.where.line) {}

void BundleDocument::take(const Event& event) {
  if (event.kind == EventKind::miss) misses_.emplace_back(event);
  if (event.kind == EventKind::fusion_refusal)
    refusals_.push_back(last_line(std::string(event.text)));
  if (event.kind == EventKind::compile) compiled_.push_back({std::string(event.name), event.value});
}

void BundleDocument::add_listing(uint32_t launch, std::string kind, std::string file) {
  files_[launch].emplace_back(std::move(kind), std::move(file));
}

/// Kernels stand in the order of their launches.
std::string BundleDocument::with_files(std::string_view part) {
  std::string text;
  for (size_t mark; (mark = part.find(no_files)) != part.npos;) {
    text += part.substr(0, mark);
    Json files = Json::object();
    for (const auto& [kind, file] : files_[launches_++]) files[kind] = file;
    text += "\"files\":" + text_of(files);
    part.remove_prefix(mark + no_files.size());
  }
  return text += part;
}

void BundleDocument::write(const fs::path& path, std::string_view part, bool is_last) {
  if (!is_last) return append(path, with_files(part));
  append(path, with_files(part.substr(0, part.rfind('}'))));
  told_bytes_ = fs::file_size(path);
  append(path, heard());
}

void BundleDocument::finish(const fs::path& path) const {
  if (!told_bytes_) return;
  fs::resize_file(path, told_bytes_);
  append(path, heard());
}

std::string BundleDocument::heard() const {
  std::string miss_of_trace, kernels, refusals, compiled;
  auto add = [](std::string& list, const std::string& one) {
    list += list.empty() ? one : ',' + one;
  };
  for (const Miss& miss : misses_) {
    const Json json = to_json(miss);
    if (json.value("subject", "") == "kernel")
      add(kernels, text_of(json));
    else if (miss_of_trace.empty())
      miss_of_trace = ",\"miss\":" + text_of(json);
  }
  for (const std::string& refusal : refusals_)
    if (const Json json = Json::parse(refusal, nullptr, false); json.is_object())
      add(refusals, text_of(json));
  for (const Compiled& one : compiled_) {
    Json json = {{"kernel", one.kernel}};
    if (one.nanoseconds) json["ms"] = double(one.nanoseconds) * 1e-6;
    add(compiled, text_of(json));
  }
  return miss_of_trace + ",\"kernel_misses\":[" + kernels + "],\"refusals\":[" + refusals +
         "],\"compiled\":[" + compiled + "]}\n";
}

}  // namespace encore
