#include "interruptible.h"

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace cairn::python {

namespace py = pybind11;

namespace {

constexpr std::chrono::milliseconds kLookForSignals{20};

/// A piece of work, and whether it is done. Shared by who does it and who waits for it.
class Job {
public:
    Job(std::string its_key, std::function<void()> work) : key(std::move(its_key)), work_(std::move(work)) {}

    void run() {
        work_();
        work_ = nullptr;
        {
            const std::lock_guard lock(mutex_);
            is_done_ = true;
        }
        done_.notify_one();
    }

    bool wait(std::chrono::milliseconds time) {
        std::unique_lock lock(mutex_);
        return done_.wait_for(lock, time, [this] { return is_done_; });
    }

    const std::string key;

private:
    std::function<void()> work_;
    std::mutex mutex_;
    std::condition_variable done_;
    bool is_done_ = false;  // guarded by mutex_
};

/// Threads that do jobs: as many as there are jobs at a time, which is one unless some were left to themselves. One
/// that has nothing to do is kept. Every thread is left alone when the process ends.
class Helpers {
public:
    /// This process's; a forked child has one of its own, since the threads are not there. To be called with the GIL.
    static Helpers& of_this_process() {
        static Helpers* helpers = nullptr;
        static pid_t process = 0;
        if (helpers == nullptr || process != ::getpid()) {
            process = ::getpid();
            helpers = new Helpers();
        }
        return *helpers;
    }

    /// False: there is no thread for it.
    bool submit(const std::shared_ptr<Job>& job) {
        std::unique_lock lock(mutex_);
        const auto same_key = job->key.empty() ? busy_.end() : busy_.find(job->key);
        const std::shared_ptr<Helper> helper = same_key != busy_.end() ? same_key->second : idle_or_new();
        if (!helper) return false;
        if (!job->key.empty()) busy_[job->key] = helper;
        helper->jobs.push_back(job);
        lock.unlock();
        helper->woken.notify_one();
        return true;
    }

private:
    struct Helper {
        std::condition_variable woken;
        std::deque<std::shared_ptr<Job>> jobs;  // all of one key; the first is being done
    };

    std::shared_ptr<Helper> idle_or_new() {
        if (idle_) return std::exchange(idle_, nullptr);
        auto helper = std::make_shared<Helper>();
        try {
            std::thread([this, helper] { run(*helper, helper); }).detach();
        } catch (const std::system_error&) {
            return nullptr;
        }
        return helper;
    }

    void run(Helper& helper, const std::shared_ptr<Helper>& shared) {
        std::unique_lock lock(mutex_);
        while (true) {
            helper.woken.wait(lock, [&] { return !helper.jobs.empty(); });
            const std::shared_ptr<Job> job = helper.jobs.front();
            lock.unlock();
            job->run();
            lock.lock();
            helper.jobs.pop_front();
            if (!helper.jobs.empty()) continue;
            busy_.erase(job->key);
            if (idle_) return;
            idle_ = shared;
        }
    }

    std::mutex mutex_;
    std::shared_ptr<Helper> idle_;                         // guarded by mutex_
    std::map<std::string, std::shared_ptr<Helper>> busy_;  // guarded by mutex_; by the key of its jobs
};

}  // namespace

Waited do_interruptibly(const std::string& key, std::function<void()> work) {
    const auto job = std::make_shared<Job>(key, std::move(work));
    const bool is_elsewhere = _PyOS_IsMainThread() != 0 && Helpers::of_this_process().submit(job);
    while (true) {
        bool is_done = false;
        {
            const py::gil_scoped_release unlocked;
            if (is_elsewhere) {
                is_done = job->wait(kLookForSignals);
            } else {
                job->run();
                is_done = true;
            }
        }
        if (is_done) return Waited::kToTheEnd;
        if (PyErr_CheckSignals() != 0) return Waited::kInterrupted;
    }
}

bool do_unattended(std::function<void()> work) {
    return Helpers::of_this_process().submit(std::make_shared<Job>("", std::move(work)));
}

}  // namespace cairn::python
