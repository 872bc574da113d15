// The HTML report of bundles: one file that needs nothing else. The page, its style and scripts are
// in utils/report/; what is shown is packed into it as JSON (deflate, base64), so that no text of a
// bundle is ever read as HTML.
#pragma once
#include <encore/utils/bundle.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace encore {

struct ReportSource {
  std::filesystem::path folder;  // of the bundles; `measured.json` there serves all of them
  std::vector<Bundle> bundles;
  /// Where sources are looked for, besides the names that the compiler knew.
  std::vector<std::filesystem::path> source_folders;
};

/// Throws Error where a document of a bundle cannot be read. Adds the source files that cannot be
/// read to `unread`; the report does without their lines.
std::string report_html(const ReportSource& source, std::vector<std::string>* unread = nullptr);

/// The JSON that is packed into the page.
std::string report_json(const ReportSource& source, std::vector<std::string>* unread = nullptr);

namespace report_parts {
extern const std::string_view page, style, script;
}

}  // namespace encore
