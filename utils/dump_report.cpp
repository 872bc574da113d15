#include <encore/core/error.h>
#include <encore/utils/dump_report.h>
#include <encore/utils/dump_short_document.h>
#include <zlib.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace encore {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uint32_t context_lines = 2;
/// Of listings, before they are compressed; a browser holds all of a page in memory.
constexpr size_t most_text_bytes = 64 << 20;
const std::string left_out =
    "Left out: the listings of all traces are too long for one page. See the bundle's folder, or "
    "make a report of this trace alone.\n";

Error not_json(const fs::path& file) {
  return Error(file.string() + " is not JSON", {},
               "was the program stopped while it wrote it? remove the bundle");
}

Json parse_file(const Bundle& bundle, const std::string& file) {
  Json parsed = Json::parse(bundle.text(file), nullptr, false);
  if (parsed.is_discarded()) throw not_json(bundle.folder / file);
  return parsed;
}

Json read_document(const Bundle& bundle) try {
  return ShortDocument::read(bundle.folder / "trace.json");
} catch (const Json::exception&) {
  throw not_json(bundle.folder / "trace.json");
}

/// "../../examples/a.cpp", as a compiler in a build folder knew it, -> "examples/a.cpp".
fs::path without_parents(const fs::path& path) {
  fs::path rest;
  for (const fs::path& part : path.relative_path())
    if (part != "..") rest /= part;
  return rest;
}

class Packer {
 public:
  Packer(const ReportSource& source, std::vector<std::string>* unread)
      : source_(source), unread_(unread) {}

  Json run() {
    Json traces = Json::array();
    for (const Bundle& bundle : source_.bundles) traces.push_back(trace(bundle));
    const fs::path name = fs::absolute(source_.folder).lexically_normal();
    return {{"format", 1},
            {"folder", (name.has_filename() ? name : name.parent_path()).filename().string()},
            {"traces", std::move(traces)},
            {"texts", texts_},
            {"sources", sources()}};
  }

 private:
  Json trace(const Bundle& bundle) {
    Json json = {{"name", bundle.name()}, {"failed", !bundle.finished()}};
    std::vector<std::string> files = bundle.files("kernels");
    if (fs::exists(bundle.folder / "trace.json")) {
      json["document"] = read_document(bundle);
      note_lines(json["document"]);
    } else {
      json["document"] = nullptr;
      for (const std::string& file : bundle.files("passes")) files.push_back(file);
      for (const char* file : {"key.txt", "notes.txt"})
        if (fs::exists(bundle.folder / file)) files.push_back(file);
    }
    json["texts"] = Json::object();
    for (const std::string& file : files) json["texts"][file] = text_number(bundle.text(file));
    if (fs::exists(bundle.folder / "measured.json"))
      json["measured"] = parse_file(bundle, "measured.json");
    else if (fs::exists(source_.folder / "measured.json"))
      json["measured"] = parse_file({0, source_.folder}, "measured.json");
    return json;
  }

  /// Traces share kernels; a text that was there before is not packed again.
  size_t text_number(const std::string& text) {
    const auto known = text_numbers_.find(text);
    if (known != text_numbers_.end()) return known->second;
    if (text_bytes_ + text.size() > most_text_bytes && text != left_out)
      return text_number(left_out);
    text_bytes_ += text.size();
    texts_.push_back(text);
    return text_numbers_[text] = texts_.size() - 1;
  }

  void note_lines(const Json& document) {
    for (const Json& graph : document.at("graphs"))
      for (const Json& node : graph.at("nodes"))
        if (node.contains("line"))
          lines_[document.at("files").at(node["file"].get<size_t>())].insert(
              node["line"].get<uint32_t>());
  }

  /// The lines that are referred to, with context; files that cannot be read are left out.
  Json sources() const {
    Json all = Json::object();
    for (const auto& [file, lines] : lines_) {
      std::ifstream stream = open(file);
      if (!stream.is_open() && unread_) unread_->push_back(file);
      uint32_t number = 0;
      auto wanted = lines.begin();
      for (std::string text; wanted != lines.end() && std::getline(stream, text);) {
        ++number;
        if (number + context_lines >= *wanted) all[file][std::to_string(number)] = text;
        while (wanted != lines.end() && *wanted + context_lines <= number) ++wanted;
      }
    }
    return all;
  }

  std::ifstream open(const fs::path& file) const {
    std::vector<fs::path> tries = {file, without_parents(file)};
    for (const fs::path& folder : source_.source_folders) {
      tries.push_back(folder / without_parents(file));
      tries.push_back(folder / file.filename());
    }
    for (const fs::path& path : tries)
      if (fs::is_regular_file(path)) return std::ifstream(path);
    return {};
  }

  const ReportSource& source_;
  std::vector<std::string>* unread_;
  std::vector<std::string> texts_;
  std::map<std::string, size_t> text_numbers_;
  size_t text_bytes_ = 0;
  std::map<std::string, std::set<uint32_t>> lines_;  // by file
};

std::string deflated(const std::string& text) {
  uLongf size = compressBound(text.size());
  std::string packed(size, '\0');
  const int status = compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                               reinterpret_cast<const Bytef*>(text.data()), text.size(), 9);
  if (status != Z_OK) throw Error("the report cannot be compressed", {});
  packed.resize(size);
  return packed;
}

std::string base64(const std::string& bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve(bytes.size() / 3 * 4 + 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t word = 0;
    for (size_t j = 0; j < 3; ++j) word = word << 8 | (j < count ? uint8_t(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += j <= count ? digits[word >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

std::string filled(std::string page, std::string_view mark, std::string_view text) {
  return page.replace(page.find(mark), mark.size(), text);
}

}  // namespace

std::string report_json(const ReportSource& source, std::vector<std::string>* unread) {
  return Packer(source, unread).run().dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string report_html(const ReportSource& source, std::vector<std::string>* unread) {
  std::string page(report_parts::page);
  page = filled(std::move(page), "<!--STYLE-->", report_parts::style);
  page = filled(std::move(page), "<!--SCRIPT-->", report_parts::script);
  return filled(std::move(page), "<!--DATA-->", base64(deflated(report_json(source, unread))));
}

}  // namespace encore
