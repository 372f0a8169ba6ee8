#pragma once

// Fills stores for tests of commands that need many snapshots. It uses the library, which is faster than one process
// per save. The stores are the same in every run.

#include "support/make.h"

#include <cairn/cairn.h>

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace cairn::test {

template <class T>
T value_or_throw(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().to_string());
    return *std::move(result);
}

class FilledStore {
public:
    explicit FilledStore(const std::string& url)
        : runtime_(make_runtime()),
          store_(value_or_throw(open_store(url, {.runtime = runtime_}))),
          service_(store_, {{.runtime = runtime_}}) {}

    /// Adds a run. Each step's state has the messages of the steps before it, and one more.
    void add_run(const std::string& run_id, int steps, const std::string& thread = "t1",
                 const std::string& user = "u1") {
        std::string messages;
        for (int step = 1; step <= steps; ++step) {
            messages += fmt::format("{}\"message {} of {}: {}\"", step == 1 ? "" : ",", step, run_id, step * 7919);
            StatePersistenceRequest request = make_request(run_id, "{\"messages\":[" + messages + "]}");
            request.thread_id = thread;
            request.user_id = user;
            save(std::move(request));
        }
    }

    Receipt save(const StatePersistenceRequest& request) { return value_or_throw(service_.save_agent_state(request)); }

    Store& store() { return *store_; }

private:
    Runtime runtime_;
    std::shared_ptr<Store> store_;
    OptimizedStatePersistence service_;
};

}  // namespace cairn::test
