#pragma once

// One function per file: each registers its benchmarks for the existing size classes.

namespace cairn::bench {

void register_state_benchmarks();
void register_skip_benchmarks();
void register_encode_benchmarks();
void register_save_benchmarks();
void register_load_benchmarks();
void register_chain_load_benchmarks();  ///< Only if the trajectories exist.

}  // namespace cairn::bench
