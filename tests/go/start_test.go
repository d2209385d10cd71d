package sbxconsumer

// A Go host starts sandboxes the way Go hosts do: from many goroutines, on threads that come and go, while the
// collector runs and signals arrive. Every result is right, and nothing is left behind.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// shapes are the three process trees, in the least that leads to each.
var shapes = []struct {
	name   string
	shape  uint32
	config Config
}{
	{"direct", ShapeDirect, Config{Namespaces: NSUser, MapRoot: true}},
	{"staged", ShapeStaged, Config{Namespaces: NSUser, MapRoot: true, Staged: true}},
	{"init", ShapeInit, Config{Namespaces: NSUser | NSPid | NSMnt | NSIpc | NSUts, MapRoot: true}},
}

func newRunner(t *testing.T, config Config) *Runner {
	runner, err := NewRunner(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runner.Free)
	return runner
}

// sh starts a shell command.
func (r *Runner) sh(command string, stdout *os.File, sync SyncFunc) (*Process, error) {
	return r.Start([]string{"/bin/sh", "-c", command}, stdout, sync)
}

// output runs a command to its end and returns what it wrote.
func (r *Runner) output(command string, sync SyncFunc) (string, Status, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return "", Status{}, err
	}
	defer read.Close()
	process, err := r.sh(command, write, sync)
	write.Close()
	if err != nil {
		return "", Status{}, err
	}
	defer process.Free()
	text, err := io.ReadAll(read)
	if err != nil {
		return "", Status{}, err
	}
	status, err := process.Wait(limit)
	return string(text), status, err
}

// Eight goroutines start sandboxes of all three shapes, each with a sync function in Go, while the collector walks
// 256 MiB, every thread is signalled, the profiler's timers run, and os/exec forks children of its own.
func TestStartsUnderPressure(t *testing.T) {
	const goroutines, startsEach = 8, 100
	leavesNothing(t)
	runners := make([]*Runner, len(shapes))
	for i, shape := range shapes {
		config := shape.config
		config.Sync = true
		runners[i] = newRunner(t, config)
	}
	pressure(t)
	interruptions(t)
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Fatal(err)
	}
	defer pprof.StopCPUProfile()

	var synced atomic.Int32
	var all sync.WaitGroup
	all.Add(goroutines)
	for g := 0; g < goroutines; g++ {
		go func(g int) {
			defer all.Done()
			for i := 0; i < startsEach; i++ {
				shape, number := (g+i)%len(shapes), g*startsEach+i
				command := fmt.Sprintf("echo start %d; exit %d", number, number)
				text, status, err := runners[shape].output(command, func(pid, pidfd int) syscall.Errno {
					runtime.Gosched()
					synced.Add(1)
					return 0
				})
				if err != nil {
					t.Errorf("%s, start %d: %v", shapes[shape].name, number, err)
					return
				}
				if want := fmt.Sprintf("start %d\n", number); text != want || status != (Status{Exited, number % 256}) {
					t.Errorf("%s, start %d: wrote %q, ended %+v", shapes[shape].name, number, text, status)
				}
				if i%4 == 0 {
					var exit *exec.ExitError
					if err := exec.Command("/bin/sh", "-c", "exit 3").Run(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
						t.Errorf("os/exec beside the library: %v", err)
					}
				}
			}
		}(g)
	}
	all.Wait()
	if !t.Failed() && synced.Load() != goroutines*startsEach {
		t.Errorf("%d sync calls for %d starts", synced.Load(), goroutines*startsEach)
	}
}

// The thread that called Start has ended, and with it whatever the kernel binds to a thread (the parent-death signal is):
// the program runs on to its own end.
func TestProgramOutlivesTheStartingThread(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			leavesNothing(t)
			runner := newRunner(t, shape.config)
			for i := 0; i < 8; i++ {
				read, write, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				var process *Process
				onEndingThread(t, func() { process, err = runner.sh("sleep 0.05; echo alive; exit 7", write, nil) })
				write.Close()
				if err != nil {
					read.Close()
					t.Fatal(err)
				}
				if process.Shape() != shape.shape {
					t.Errorf("shape %d, wanted %d", process.Shape(), shape.shape)
				}
				text, _ := io.ReadAll(read)
				read.Close()
				status, err := process.Wait(limit)
				process.Free()
				if err != nil || string(text) != "alive\n" || status != (Status{Exited, 7}) {
					t.Errorf("wrote %q, ended %+v, %v", text, status, err)
				}
			}
		})
	}
}

// Many threads that each start one program and end at once, one after the other and eight at a time.
func TestThreadsEndBetweenStarts(t *testing.T) {
	leavesNothing(t)
	runner := newRunner(t, shapes[0].config)
	var all sync.WaitGroup
	all.Add(8)
	for g := 0; g < 8; g++ {
		go func(g int) {
			defer all.Done()
			for i := 0; i < 12; i++ {
				var process *Process
				var err error
				onEndingThread(t, func() { process, err = runner.sh(fmt.Sprintf("exit %d", g*12+i), nil, nil) })
				if err != nil {
					t.Error(err)
					return
				}
				status, err := process.Wait(limit)
				process.Free()
				if err != nil || status != (Status{Exited, g*12 + i}) {
					t.Errorf("ended %+v, %v; wanted exit %d", status, err, g*12+i)
				}
			}
		}(g)
	}
	all.Wait()
}

// Go handles nearly every signal and blocks some at times, and this host ignores two; the program sees none of that. The
// control: a child of os/exec, which an ignored signal reaches.
func TestSignalsAreDefaultInTheProgram(t *testing.T) {
	const clean = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000"
	const command = "exec cat /proc/self/status"
	signals := func(text string) string {
		var lines []string
		for _, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, "SigBlk") || strings.HasPrefix(line, "SigIgn") || strings.HasPrefix(line, "SigCgt") {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "\n")
	}
	leavesNothing(t)
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Reset(syscall.SIGHUP, syscall.SIGUSR2)
	control, err := exec.Command("/bin/sh", "-c", command).Output()
	if err != nil {
		t.Fatal(err)
	}
	var ignored uint64
	_, after, _ := strings.Cut(string(control), "SigIgn:\t")
	fmt.Sscanf(after, "%x", &ignored)
	if ignored&0x801 != 0x801 { // whoever started this test may ignore more
		t.Fatalf("the control inherits no ignored signal:\n%s", signals(string(control)))
	}
	interruptions(t)
	for _, shape := range shapes[:2] { // the init's proc is the host's here, where the program's pid means another
		runner := newRunner(t, shape.config)
		for i := 0; i < 10; i++ {
			text, _, err := runner.output(command, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := signals(text); got != clean {
				t.Errorf("%s:\n%s", shape.name, got)
			}
		}
	}
}

// The sync function is Go code: it may allocate, collect, block on other goroutines, and call the library.
func TestSyncFunctionIsGo(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			leavesNothing(t)
			config := shape.config
			inner := newRunner(t, config)
			config.Sync = true
			runner := newRunner(t, config)
			var pidInSync int
			var exeInSync string
			process, err := runner.sh("exit 5", nil, func(pid, pidfd int) syscall.Errno {
				pidInSync = pid
				exeInSync, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
				fdinfo, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
				if err != nil || !bytes.Contains(fdinfo, []byte(fmt.Sprintf("Pid:\t%d\n", pid))) {
					t.Errorf("pidfd %d is not of pid %d: %q, %v", pidfd, pid, fdinfo, err)
				}
				answer := make(chan error)
				go func() {
					runtime.GC()
					text, _, err := inner.output("echo inner", nil)
					if err == nil && text != "inner\n" {
						err = fmt.Errorf("the inner program wrote %q", text)
					}
					answer <- err
				}()
				if err := <-answer; err != nil {
					t.Error(err)
				}
				return 0
			})
			if err != nil {
				t.Fatal(err)
			}
			defer process.Free()
			if pidInSync != process.Pid() {
				t.Errorf("pid %d in the sync function, %d afterwards", pidInSync, process.Pid())
			}
			if strings.HasSuffix(exeInSync, "sh") {
				t.Errorf("the sync function ran after exec: %s", exeInSync)
			}
			if status, err := process.Wait(limit); err != nil || status != (Status{Exited, 5}) {
				t.Errorf("ended %+v, %v", status, err)
			}
		})
	}
}

// What the sync function returns is what Start returns, and the child is gone by then.
func TestSyncFunctionRefuses(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			leavesNothing(t)
			config := shape.config
			config.Sync = true
			runner := newRunner(t, config)
			for i := 0; i < 20; i++ {
				_, err := runner.sh("exit 0", nil, func(pid, pidfd int) syscall.Errno { return syscall.EKEYREJECTED })
				if !errors.Is(err, syscall.EKEYREJECTED) {
					t.Fatalf("start returned %v", err)
				}
				if hasChild() {
					t.Fatal("the refused child is still there")
				}
			}
		})
	}
}

// Kill, a wait that times out, and a program that does not exist, from Go.
func TestKillTimeoutAndMissingProgram(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			leavesNothing(t)
			runner := newRunner(t, shape.config)
			process, err := runner.Start([]string{"/bin/sleep", "100"}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := process.Wait(20 * time.Millisecond); !errors.Is(err, syscall.ETIMEDOUT) {
				t.Errorf("wait returned %v", err)
			}
			if err := process.Kill(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			if status, err := process.Wait(limit); err != nil || status != (Status{Killed, int(syscall.SIGKILL)}) {
				t.Errorf("ended %+v, %v", status, err)
			}
			process.Free()

			_, err = runner.Start([]string{"/no/such/program"}, nil, nil)
			var failure *Error
			if !errors.As(err, &failure) || failure.Errno != syscall.ENOENT || !strings.HasPrefix(failure.Location, "exec") {
				t.Errorf("a missing program: %#v", err)
			}
		})
	}
}

func TestMain(m *testing.M) {
	fmt.Println("libsbx", Version())
	if err := openOnceForAll(); err != nil {
		fmt.Println("the first start:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// openOnceForAll makes the library open the memfd of its embedded program, and Go its poller: each stays open for the
// process's life, and is no leak.
func openOnceForAll() error {
	runner, err := NewRunner(shapes[1].config)
	if err != nil {
		return err
	}
	defer runner.Free()
	_, _, err = runner.output("exit 0", nil)
	return err
}
