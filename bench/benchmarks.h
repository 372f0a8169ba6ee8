#pragma once

// One function a file: each registers its benchmarks for the size classes that there are.

namespace cairn::bench {

void register_state_benchmarks();
void register_skip_benchmarks();
void register_save_benchmarks();
void register_load_benchmarks();
void register_chain_load_benchmarks();  ///< Only where the trajectories are.

}  // namespace cairn::bench
