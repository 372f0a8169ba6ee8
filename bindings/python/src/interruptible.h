#pragma once

// Ctrl-C while a call waits. Python handles signals on its main thread only, and only when that thread runs Python: so
// what blocks is done by a thread of ours, and the main thread waits for it and looks for signals meanwhile.

#include <functional>
#include <string>

namespace cairn::python {

/// How a wait ended.
enum class Waited : bool { kToTheEnd, kInterrupted };

/// Does `work`, which blocks, without the GIL; with the GIL, which is let go meanwhile. On the main thread a signal
/// whose handler raises ends the wait at once: Python's error is set then, and `work` goes on without us, so it must
/// own what it uses, and may be dropped without the GIL. Later work of the same `key` begins after it ("": of no key).
/// On other threads, which no signal reaches, `work` is done here. It must not throw.
[[nodiscard]] Waited do_interruptibly(const std::string& key, std::function<void()> work);

/// Lets `work`, as above, be done while nobody waits for it. With the GIL. False: there is no thread for it.
bool do_unattended(std::function<void()> work);

}  // namespace cairn::python
