// encore-dump run: one kernel of a bundle, or of a file, alone on made-up data.
#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/parse_kernel.h>
#include <encore/jit/reference/interpreter.h>
#include <encore/lazy/default_device.h>
#include <encore/utils/bundle.h>
#include <encore/utils/dump_verbs.h>
#include <encore/utils/run_kernel_alone.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

namespace encore {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> kernel, sizes;
  std::string backend = "cpu";
  int repeat = 20;
  uint64_t seed = 1;
  double tolerance = -1;
  bool check = false, json = false, all = false, write = false, generic = false;
};

struct Source {
  std::string name, text;
};

std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) throw Error("cannot read " + file.string(), {});
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The kernels of a trace, or the one that is named.
std::vector<Source> kernels_of(const Bundle& bundle, const std::string& name) {
  std::vector<Source> found;
  for (const std::string& kernel : bundle.kernels(name))
    found.push_back({kernel, text_of(bundle.folder / "kernels" / (kernel + ".txt"))});
  return found;
}

std::vector<Source> sources_of(const Options& options) {
  const std::vector<std::string>& words = options.kernel;
  if (words.size() == 1 && !options.all)
    return {{std::filesystem::path(words[0]).stem().string(), text_of(words[0])}};
  if (words.size() == 2 && options.all) return kernels_of(find_bundle(words[0], words[1]), {});
  if (words.size() == 3 && !options.all)
    return kernels_of(find_bundle(words[0], words[1]), words[2]);
  throw Error("which kernel?", {}, "say FILE.txt, DIR TRACE NAME, or DIR TRACE --all");
}

jit::Backend& backend_named(const std::string& name) {
  if (name == "cpu") return jit::cpu_backend();
  if (name == "reference") return jit::interpreter();
  if (!name.starts_with("cuda"))
    throw Error("--backend " + name + " is no backend", {}, "say cpu, reference, cuda or cuda:N");
  return jit::backend(parse_device(name));
}

/// "s3=512"
void set_size(jit::Kernel& kernel, const std::string& text) {
  size_t id = 0;
  int64_t value = 0;
  const size_t equals = std::min(text.find('='), text.size());
  const char *begin = text.data(), *end = begin + text.size(), *middle = begin + equals;
  const bool understood = text.starts_with('s') && middle != end &&
                          std::from_chars(begin + 1, middle, id).ptr == middle &&
                          std::from_chars(middle + 1, end, value).ptr == end;
  if (!understood || id >= kernel.sizes.size() || kernel.sizes[id].fixed)
    throw Error(fmt::format("--size {} names no size that the kernel is launched with", text), {},
                "say s3=512 for a size that its text calls s3; the others are part of its code");
  kernel.sizes[id].value = value;
}

/// The comments that begin the text say what else there is to know.
std::string remarks(const std::string& text) {
  std::string found;
  for (size_t at = 0; at < text.size() && text[at] == '#';) {
    const size_t end = std::min(text.find('\n', at), text.size());
    found += text.substr(at + 1, end - at - 1) + "\n";
    at = end + 1;
  }
  return found;
}

/// Only a GPU outside strict mode may add up products in another order.
double allowed_difference(const jit::Kernel& kernel, const Options& options) {
  if (options.tolerance >= 0) return options.tolerance;
  const bool exact = !options.backend.starts_with("cuda") || settings().strict;
  return exact || !kernel.contraction ? 0 : 1e-2;
}

Json measure(const Source& source, const Options& options, const Ceilings& ceilings, bool& passed) {
  jit::Kernel kernel = jit::parse_kernel(source.text);
  if (options.generic) kernel = with_sizes_as_arguments(std::move(kernel));
  for (const std::string& size : options.sizes) set_size(kernel, size);
  jit::Backend& backend = backend_named(options.backend);
  if (options.generic || kernel.variant == 0) kernel.variant = backend.variant(kernel);
  KernelAlone alone(kernel, backend, options.seed);
  const KernelWork& work = alone.work();
  Json result = {{"kernel", source.name}};
  if (options.check) {
    const KernelDifference difference = alone.check();
    const bool right = difference.largest <= allowed_difference(kernel, options);
    passed &= right;
    result["check"] = {{"right", right},
                       {"elements", difference.elements},
                       {"differing", difference.differing},
                       {"largest", difference.largest}};
  }
  const KernelTiming timing = alone.time(options.repeat);
  const double floor = std::max(work.bytes / ceilings.stream, work.flops / ceilings.flops);
  result["ms"] = timing.median * 1e3;
  result["min_ms"] = timing.best * 1e3;
  result["launches"] = timing.launches;
  result["bytes"] = work.bytes;
  result["flops"] = work.flops;
  result["GBps"] = work.bytes / timing.median * 1e-9;
  result["GFLOPs"] = work.flops / timing.median * 1e-9;
  result["fraction"] = floor / timing.median;
  return result;
}

void print(const Json& one, const std::string& remarks) {
  auto number = [&](const char* name) { return one[name].get<double>(); };
  fmt::print("{}\n{}", one["kernel"].get<std::string>(), remarks);
  fmt::print("  {:.4g} ms median, {:.4g} ms at best of {} launches\n", number("ms"),
             number("min_ms"), one["launches"].get<int64_t>());
  fmt::print("  {:.4g} MB moved at the least, {:.1f} GB/s\n", number("bytes") * 1e-6,
             number("GBps"));
  fmt::print("  {:.4g} MFLOP, {:.1f} GFLOP/s\n", number("flops") * 1e-6, number("GFLOPs"));
  fmt::print("  {:.1f} % of the machine's ceiling\n", number("fraction") * 100);
  if (!one.contains("check")) return;
  const Json& check = one["check"];
  fmt::print("  {}: {} of {} elements differ from the interpreter's, the largest by {:.3g}\n",
             check["right"].get<bool>() ? "right" : "WRONG", check["differing"].get<int64_t>(),
             check["elements"].get<int64_t>(), check["largest"].get<double>());
}

/// What a report shows beside each kernel of a trace.
void write_measured(const Options& options, const Json& kernels, const Json& ceiling) {
  Json all = {{"backend", options.backend}, {"kernels", Json::object()}, {"ceiling", ceiling}};
  for (const Json& one : kernels)
    if (!one.contains("error"))
      all["kernels"][one["kernel"].get<std::string>()] = {
          {"ms", one["ms"]}, {"bytes", one["bytes"]}, {"flops", one["flops"]}};
  const auto file = find_bundle(options.kernel[0], options.kernel[1]).folder / "measured.json";
  std::ofstream stream(file);
  stream << all.dump(1) << '\n';
  stream.close();
  if (!stream) throw Error("cannot write " + file.string(), {});
}

int run(const Options& options) {
  if (options.write && !options.all) throw Error("--write needs --all", {});
  const std::vector<Source> sources = sources_of(options);
  const Ceilings ceilings = ceilings_of(backend_named(options.backend));
  const Json ceiling = {{"GBps", ceilings.stream * 1e-9}, {"GFLOPs", ceilings.flops * 1e-9}};
  Json kernels = Json::array();
  bool passed = true;
  for (const Source& source : sources) {
    try {
      kernels.push_back(measure(source, options, ceilings, passed));
      if (!options.json) print(kernels.back(), remarks(source.text));
    } catch (const Error& error) {
      if (!options.all) throw;
      passed = false;
      kernels.push_back({{"kernel", source.name}, {"error", error.what()}});
      if (!options.json) fmt::print("{}\n  {}\n", source.name, error.what());
    }
  }
  if (options.json)
    fmt::print(
        "{}\n",
        Json{{"backend", options.backend}, {"kernels", kernels}, {"ceiling", ceiling}}.dump(1));
  else
    fmt::print("ceiling of {}: {:.1f} GB/s, {:.1f} GFLOP/s\n", options.backend,
               ceilings.stream * 1e-9, ceilings.flops * 1e-9);
  if (options.write) write_measured(options, kernels, ceiling);
  return passed ? 0 : 1;
}

}  // namespace

void add_run_verb(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "run", "one kernel alone on made-up data: time, bytes, FLOPs, fraction of the ceiling");
  verb->add_option("KERNEL", options->kernel, "FILE.txt, or DIR TRACE NAME")
      ->required()
      ->expected(1, 3);
  verb->add_flag("--all", options->all, "all kernels of a trace: DIR TRACE --all");
  verb->add_flag("--write", options->write, "and keep what was measured in its measured.json");
  verb->add_option("--backend", options->backend, "cpu, reference or cuda")->capture_default_str();
  verb->add_option("--repeat", options->repeat, "rounds, of a millisecond or a launch each")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  verb->add_option("--seed", options->seed, "of the data")->capture_default_str();
  verb->add_flag("--check", options->check, "compare with the interpreter; exits with 1 if wrong");
  verb->add_option("--tolerance", options->tolerance,
                   "difference allowed, relative to max(1, |x|); by default none, and 0.01 for "
                   "matrix products on a GPU outside strict mode");
  verb->add_flag("--generic", options->generic,
                 "all sizes as arguments, as in code that serves many shapes");
  verb->add_option("--size", options->sizes, "s3=512 gives a size that is not fixed another value")
      ->allow_extra_args(false);
  verb->add_flag("--json", options->json);
  verb->footer(
      "Of a joined launch one segment runs. Arguments never share memory. Small arrays stay in "
      "the caches from launch to launch, so more than 100 % is possible.");
  verb->callback([options, &status] { status = run(*options); });
}

}  // namespace encore
