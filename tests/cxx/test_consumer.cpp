/*
 * A C++17 host: objects own sandboxes, exceptions unwind past them, threads start them side by side. Every result is
 * right, and after each test the host has the descriptors it had, and no child.
 *
 * Prints one line per test; exits 0, or 1 when any failed.
 */
#include "sandbox.hpp"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

namespace {

using sandbox::Process;
using sandbox::Runner;
using Args = std::vector<std::string>;

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void require(bool holds, const std::string &what)
{
    if (!holds)
        throw Failure(what);
}

void require_exit(const sbx_status &end, int code)
{
    require(end.code == CLD_EXITED && end.status == code,
            "wanted exit " + std::to_string(code) + ", got code " + std::to_string(end.code) + " status " +
                std::to_string(end.status));
}

std::size_t open_fds()
{
    std::size_t n = 0;
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd"))
        n += !entry.path().empty();
    return n;
}

bool has_child()
{
    siginfo_t info{};
    return waitid(P_ALL, 0, &info, WNOHANG | WNOWAIT | WEXITED) == 0 || errno != ECHILD;
}

struct Shape {
    const char *name;
    std::uint32_t number;
};

constexpr Shape shapes[] = {{"direct", SBX_SHAPE_DIRECT}, {"staged", SBX_SHAPE_STAGED}, {"init", SBX_SHAPE_INIT}};

/* The least that leads to each shape, as root and as anybody. */
Runner runner_of(const Shape &shape)
{
    Runner runner;
    runner.map_root().namespaces(shape.number == SBX_SHAPE_INIT ? SBX_NS_USER | SBX_NS_PID : SBX_NS_USER);
    runner.staged(shape.number == SBX_SHAPE_STAGED);
    return runner;
}

Args sh(const std::string &command)
{
    return {"/bin/sh", "-c", command};
}

class Pipe {
public:
    Pipe()
    {
        if (pipe2(fds_, O_CLOEXEC) != 0)
            throw std::system_error(errno, std::generic_category(), "pipe2");
    }
    Pipe(const Pipe &) = delete;
    Pipe &operator=(const Pipe &) = delete;
    ~Pipe()
    {
        close(fds_[0]);
        close_write();
    }

    int write_end() const { return fds_[1]; }

    std::string read_all()
    {
        std::string text;
        char part[256];
        close_write();
        for (ssize_t n; (n = read(fds_[0], part, sizeof(part))) > 0;)
            text.append(part, static_cast<std::size_t>(n));
        return text;
    }

private:
    void close_write()
    {
        if (fds_[1] >= 0)
            close(fds_[1]);
        fds_[1] = -1;
    }
    int fds_[2];
};

void each_shape_runs()
{
    for (const Shape &shape : shapes) {
        const Runner runner = runner_of(shape);
        Pipe out;
        Process process = runner.start(sh("echo from $0; exit 9"), out.write_end());
        require(process.shape() == shape.number, std::string("not the shape ") + shape.name);
        require(out.read_all() == "from /bin/sh\n", "the program's output");
        require_exit(process.wait(), 9);
        require_exit(process.wait(), 9);
    }
}

void moved_process_is_freed_once()
{
    const Runner runner = runner_of(shapes[0]);
    std::vector<Process> processes;
    for (int i = 0; i < 10; i++)
        processes.push_back(runner.start(sh("exit " + std::to_string(i))));
    for (int i = 0; i < 10; i++)
        require_exit(processes[static_cast<std::size_t>(i)].wait(), i);
}

/* Unwinding ends the program: its destructor kills and waits. */
void exception_ends_the_program()
{
    for (const Shape &shape : shapes) {
        const Runner runner = runner_of(shape);
        int watch = -1;
        try {
            Process process = runner.start({"/bin/sleep", "100"});
            watch = fcntl(process.pidfd(), F_DUPFD_CLOEXEC, 0);
            throw std::logic_error("something else went wrong");
        } catch (const std::logic_error &) {
        }
        pollfd ended{watch, POLLIN, 0};
        const int ready = poll(&ended, 1, 0);
        close(watch);
        require(ready == 1, "the program outlived its object");
    }
}

void failures_are_exceptions()
{
    for (const Shape &shape : shapes) {
        const Runner runner = runner_of(shape);
        try {
            runner.start({"/no/such/program"});
            throw Failure("a missing program was started");
        } catch (const sandbox::Error &e) {
            require(e.code().value() == ENOENT, e.what());
            require(e.location().rfind("exec", 0) == 0, "location " + e.location());
        }
    }
    try {
        Runner().workdir("");
        throw Failure("an empty workdir was accepted");
    } catch (const sandbox::Error &e) {
        require(e.code().value() == EINVAL && e.blame() == SBX_BLAME_CALLER, e.what());
        require(std::string(e.what()).find("workdir") != std::string::npos, e.what());
    }
}

struct Refused {
    int number;
};

/* The exception of a sync function arrives where start was called, and the child is gone by then. */
void sync_exception_arrives()
{
    for (const Shape &shape : shapes) {
        const Runner runner = runner_of(shape);
        for (int i = 0; i < 10; i++) {
            try {
                runner.start(sh("exit 0"), -1, [i](int, int) { throw Refused{i}; });
                throw Failure("the refused program was started");
            } catch (const Refused &refused) {
                require(refused.number == i, "another start's exception");
            }
            require(!has_child(), "the refused child is still there");
        }
    }
}

/* From many threads at once, one recipe: a third of the starts throws, the rest runs. */
void threads_share_a_runner()
{
    constexpr int threads = 8, starts_each = 18;

    for (const Shape &shape : shapes) {
        const Runner runner = runner_of(shape);
        std::atomic<int> ran{0}, threw{0};
        std::mutex lock;
        std::string failure;
        std::vector<std::thread> all;
        for (int t = 0; t < threads; t++)
            all.emplace_back([&, t] {
                for (int i = 0; i < starts_each; i++) {
                    const int number = t * starts_each + i;
                    try {
                        const auto sync = [number](int pid, int pidfd) {
                            require(pid > 0 && pidfd >= 0, "pid and pidfd in the sync function");
                            if (number % 3 == 0)
                                throw Refused{number};
                        };
                        Process process = runner.start(sh("exit " + std::to_string(number)), -1, sync);
                        require_exit(process.wait(), number % 256);
                        ran++;
                    } catch (const Refused &refused) {
                        if (refused.number == number)
                            threw++;
                    } catch (const std::exception &e) {
                        const std::lock_guard<std::mutex> guard(lock);
                        failure = e.what();
                    }
                }
            });
        for (std::thread &thread : all)
            thread.join();
        require(failure.empty(), failure);
        require(threw == threads * starts_each / 3 && ran + threw == threads * starts_each, "lost starts");
    }
}

/* Started on a thread that has ended, waited for on two others at once. */
void process_changes_threads()
{
    for (const Shape &shape : shapes) {
        const Runner runner = runner_of(shape);
        std::unique_ptr<Process> process;
        std::exception_ptr failed;
        std::thread([&] {
            try {
                process = std::make_unique<Process>(runner.start(sh("sleep 0.1; exit 6")));
            } catch (...) {
                failed = std::current_exception();
            }
        }).join();
        if (failed)
            std::rethrow_exception(failed);
        auto first = std::async(std::launch::async, [&] { return process->wait(); });
        auto second = std::async(std::launch::async, [&] { return process->wait(); });
        require_exit(first.get(), 6);
        require_exit(second.get(), 6);
    }
}

struct Cancelled {
    const Runner runner;
    std::atomic<bool> past_sync{false}, returned{false}, unwound{false};
};

struct OnUnwind {
    std::atomic<bool> &flag;
    ~OnUnwind() { flag = true; }
};

void *cancelled_thread(void *arg)
{
    Cancelled &state = *static_cast<Cancelled *>(arg);
    const OnUnwind guard{state.unwound};
    const Process process = state.runner.start({"/bin/sleep", "100"}, -1, [&](int, int) {
        pthread_cancel(pthread_self());
        usleep(1000); // a cancellation point
        state.past_sync = true;
    });

    state.returned = true;
    pthread_testcancel();
    return nullptr;
}

/*
 * Cancellation is an exception in glibc's C++: pending while a start is under way, where it would unwind through the
 * library, it acts at the first cancellation point after it, and destructors end the sandbox.
 */
void cancellation_waits_for_start()
{
    for (const Shape &shape : shapes) {
        Cancelled state{runner_of(shape)};
        pthread_t thread;
        void *result = nullptr;
        require(pthread_create(&thread, nullptr, cancelled_thread, &state) == 0, "pthread_create");
        pthread_join(thread, &result);
        require(state.past_sync, "cancelled inside the sync function");
        require(state.returned, "cancelled inside sbx_start");
        require(result == PTHREAD_CANCELED && state.unwound, "the cancellation was lost");
    }
}

struct Test {
    const char *name;
    void (*run)();
};

constexpr Test tests[] = {
    {"each shape runs", each_shape_runs},
    {"a moved process is freed once", moved_process_is_freed_once},
    {"an exception ends the program", exception_ends_the_program},
    {"failures are exceptions", failures_are_exceptions},
    {"a sync function's exception arrives", sync_exception_arrives},
    {"threads share a runner", threads_share_a_runner},
    {"a process changes threads", process_changes_threads},
    {"cancellation waits for the start", cancellation_waits_for_start},
};

bool passes(const Test &test)
{
    const std::size_t before = open_fds();
    try {
        test.run();
        require(!has_child(), "a child was left, running or unreaped");
        require(open_fds() == before, "descriptors were left open");
    } catch (const std::exception &e) {
        std::cout << "not ok - " << test.name << ": " << e.what() << std::endl;
        return false;
    }
    std::cout << "ok - " << test.name << std::endl;
    return true;
}

} // namespace

int main()
{
    int failed = 0;

    // The library opens the memfd of its embedded program once, and keeps it.
    try {
        runner_of(shapes[1]).start(sh("exit 0")).wait();
    } catch (const std::exception &e) {
        std::cout << "not ok - the first start: " << e.what() << std::endl;
        return EXIT_FAILURE;
    }
    for (const Test &test : tests)
        failed += !passes(test);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
