// Seeing what runs: bundles of files, events on stderr.
//
// ENCORE_DUMP=DIR and ENCORE_LOG=compile,sync,… start the same from outside, as ENCORE_PROFILE=FILE
// does a profiler (utils/profiler.h). Any thread may call
// these.
#pragma once
#include <encore/lazy/tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace encore {

/// What a read of `tensor` would run now, as text: graph, clusters, kernels, memory plan. Runs and
/// compiles nothing, and changes nothing. Empty where the value is there already.
std::string dump(const Tensor& tensor, std::source_location at = std::source_location::current());

/// Writes a bundle (utils/bundle.h) for every trace compiled from now on. Returns the listener's
/// id, for events::ignore. A bundle that cannot be written is a warning on stderr.
uint32_t write_bundles(const std::string& folder);

/// Prints events to stderr, one line each. `words`: compile, sync, launch, fusion, allocation,
/// pass, comma-separated; another word throws Error. Returns the listener's id.
uint32_t log_events(std::string_view words);

namespace detail {
/// Starts what ENCORE_DUMP, ENCORE_LOG and ENCORE_PROFILE ask for, once.
bool start_listeners();
// A program that includes the umbrella refers to the listeners, so static linking keeps them.
inline const bool listeners_started = start_listeners();
}  // namespace detail

}  // namespace encore
