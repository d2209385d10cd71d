/*
 * A C++17 face of libsbx, as small as a host would write it: handles are unique_ptr, failures are exceptions, and an
 * exception thrown by the sync function is carried across the C frames instead of through them.
 */
#ifndef SANDBOX_HPP
#define SANDBOX_HPP

#include <sbx.h>

#include <cerrno>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

namespace sandbox {

class Error : public std::system_error {
public:
    Error(int err, const sbx_error &detail)
        : std::system_error(err, std::generic_category(), detail.message), location_(sbx_location_name(detail.location)),
          blame_(detail.blame)
    {
    }

    const std::string &location() const noexcept { return location_; }
    std::uint32_t blame() const noexcept { return blame_; }

private:
    std::string location_;
    std::uint32_t blame_;
};

/* Passes the library an error struct and turns a negative result into an exception. */
template <typename Call> int check(Call &&call)
{
    sbx_error detail = SBX_ERROR_INIT;
    const int result = call(&detail);

    if (result < 0)
        throw Error(-result, detail);
    return result;
}

class Process {
public:
    explicit Process(sbx_process *handle) noexcept : handle_(handle) {}

    int pid() const noexcept { return sbx_process_pid(handle_.get()); }
    int pidfd() const noexcept { return sbx_process_pidfd(handle_.get()); }
    std::uint32_t shape() const noexcept { return sbx_process_shape(handle_.get()); }

    sbx_status wait(std::chrono::nanoseconds timeout = std::chrono::seconds(20))
    {
        sbx_status status = SBX_STATUS_INIT;
        check([&](sbx_error *e) {
            return sbx_process_wait(handle_.get(), static_cast<std::uint64_t>(timeout.count()), &status, e);
        });
        return status;
    }

    void kill(int signal)
    {
        check([&](sbx_error *e) { return sbx_process_kill(handle_.get(), signal, e); });
    }

private:
    struct Free {
        void operator()(sbx_process *handle) const noexcept { sbx_process_free(handle); }
    };
    std::unique_ptr<sbx_process, Free> handle_;
};

class Runner {
public:
    using Sync = std::function<void(int pid, int pidfd)>;

    Runner() : handle_(sbx_runner_new())
    {
        if (!handle_)
            throw std::bad_alloc();
        check([&](sbx_error *e) { return sbx_set_sync_func(handle_.get(), &Runner::on_sync, e); });
    }

    Runner &namespaces(std::uint64_t flags)
    {
        check([&](sbx_error *e) { return sbx_set_namespaces(handle_.get(), flags, e); });
        return *this;
    }

    Runner &map_root()
    {
        check([&](sbx_error *e) { return sbx_add_uid_map(handle_.get(), 0, geteuid(), 1, e); });
        check([&](sbx_error *e) { return sbx_add_gid_map(handle_.get(), 0, getegid(), 1, e); });
        return *this;
    }

    Runner &staged(bool on)
    {
        check([&](sbx_error *e) { return sbx_set_staged(handle_.get(), on, e); });
        return *this;
    }

    Runner &workdir(const std::string &path)
    {
        check([&](sbx_error *e) { return sbx_set_workdir(handle_.get(), path.c_str(), e); });
        return *this;
    }

    Process start(const std::vector<std::string> &args, int out_fd = -1, const Sync &sync = {}) const
    {
        std::vector<const char *> argv;
        for (const std::string &arg : args)
            argv.push_back(arg.c_str());
        argv.push_back(nullptr);

        Pending pending{sync, nullptr};
        const sbx_fd_map out{out_fd, STDOUT_FILENO};
        sbx_launch launch = SBX_LAUNCH_INIT;
        launch.argv = argv.data();
        launch.sync_arg = &pending;
        if (out_fd >= 0) {
            launch.fds = &out;
            launch.n_fds = 1;
        }

        sbx_error detail = SBX_ERROR_INIT;
        sbx_process *process = nullptr;
        const int result = sbx_start(handle_.get(), &launch, &process, &detail);
        if (result < 0 && pending.thrown)
            std::rethrow_exception(pending.thrown);
        if (result < 0)
            throw Error(-result, detail);
        return Process(process);
    }

private:
    struct Pending {
        const Sync &sync;
        std::exception_ptr thrown;
    };

    /* Nothing may be thrown through the library's frames. */
    static int on_sync(int pid, int pidfd, void *arg) noexcept
    {
        Pending &pending = *static_cast<Pending *>(arg);
        try {
            if (pending.sync)
                pending.sync(pid, pidfd);
            return 0;
        } catch (...) {
            pending.thrown = std::current_exception();
            return -ECANCELED;
        }
    }

    struct Free {
        void operator()(sbx_runner *handle) const noexcept { sbx_runner_free(handle); }
    };
    std::unique_ptr<sbx_runner, Free> handle_;
};

} // namespace sandbox

#endif
