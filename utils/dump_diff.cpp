// encore-dump diff: what two traces differ in.
#include <encore/utils/bundle.h>
#include <encore/utils/dump_verbs.h>
#include <fmt/format.h>

#include <memory>

namespace encore {
namespace {

struct Arguments {
  std::string folder, trace, other;
};

int diff(const Bundle& a, const Bundle& b) {
  const int status =
      std::system(fmt::format("diff -ru '{}' '{}'", a.folder.string(), b.folder.string()).c_str());
  return WEXITSTATUS(status);
}

}  // namespace

void add_diff_verb(CLI::App& app, int& status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb =
      app.add_subcommand("diff", "two traces, file by file; exits with 1 where they differ");
  verb->add_option("DIR", arguments->folder)->required();
  verb->add_option("TRACE", arguments->trace)->required();
  verb->add_option("OTHER", arguments->other)->required();
  verb->callback([arguments, &status] {
    status = diff(find_bundle(arguments->folder, arguments->trace),
                  find_bundle(arguments->folder, arguments->other));
  });
}

}  // namespace encore
