// The verbs of encore-dump that have a file of their own, utils/dump_<verb>.cpp. Each adds itself
// to the command line; its callback does the work and sets the exit status where that is not 0.
#pragma once
#include <CLI/CLI.hpp>

namespace encore {

void add_cache_verb(CLI::App& app, int& status);
void add_diff_verb(CLI::App& app, int& status);
void add_fusion_verb(CLI::App& app, int& status);
void add_html_verb(CLI::App& app, int& status);
void add_run_verb(CLI::App& app, int& status);
void add_syncs_verb(CLI::App& app, int& status);
void add_why_verb(CLI::App& app, int& status);

}  // namespace encore
