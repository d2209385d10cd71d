package sbxconsumer

// What the tests need of their own process: memory for the collector to walk, signals, threads, leak checks.

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

const limit = 20 * time.Second // of one program: far more than any needs

type node struct {
	next    *node
	payload [56]byte
}

// pressure holds 256 MiB of small objects that the collector must walk, and keeps it walking, until stopped.
func pressure(t *testing.T) {
	const heap = 256 << 20
	var head *node
	for i := 0; i < heap/int(unsafe.Sizeof(node{})); i++ {
		head = &node{next: head}
	}
	before := debug.SetGCPercent(5)
	var stop atomic.Bool
	var cycles, garbage int
	var busy sync.WaitGroup
	busy.Add(2)
	go func() {
		defer busy.Done()
		for ; !stop.Load(); cycles++ {
			runtime.GC()
			time.Sleep(5 * time.Millisecond)
		}
	}()
	go func() {
		defer busy.Done()
		for ; !stop.Load(); garbage++ {
			churn := make([][]byte, 256)
			for i := range churn {
				churn[i] = make([]byte, 1024)
			}
			runtime.KeepAlive(churn)
			time.Sleep(100 * time.Microsecond)
		}
	}()
	t.Cleanup(func() {
		stop.Store(true)
		busy.Wait()
		debug.SetGCPercent(before)
		runtime.KeepAlive(head)
		head = nil
		debug.FreeOSMemory()
		if cycles < 3 || garbage == 0 {
			t.Errorf("no garbage collection pressure: %d cycles, %d rounds of garbage", cycles, garbage)
		}
	})
}

// threads lists the ids of this process's threads.
func threads() []int {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		panic(err)
	}
	ids := make([]int, 0, len(entries))
	for _, entry := range entries {
		var id int
		if _, err := fmt.Sscan(entry.Name(), &id); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// interruptions sends every thread SIGURG, the signal by which Go preempts goroutines, some thousand times a second:
// also to threads that are inside the library at that moment.
func interruptions(t *testing.T) {
	var stop atomic.Bool
	var sent int
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			for _, id := range threads() {
				if syscall.Tgkill(os.Getpid(), id, syscall.SIGURG) == nil {
					sent++
				}
			}
			time.Sleep(time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		stop.Store(true)
		<-done
		if sent < 10 {
			t.Errorf("only %d interruptions", sent)
		}
	})
}

// openFiles names every descriptor of this process and what it is.
func openFiles() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	var files []string
	for _, entry := range entries {
		// ReadDir's own descriptor is closed again by now.
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			files = append(files, entry.Name()+" "+target)
		}
	}
	sort.Strings(files)
	return files
}

// hasChild says whether any child, running or dead, is left.
func hasChild() bool {
	const (
		pAll    = 0
		options = syscall.WNOHANG | syscall.WNOWAIT | syscall.WEXITED | syscall.WALL
	)
	var info [128]byte
	_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pAll, 0, uintptr(unsafe.Pointer(&info)), options, 0, 0)
	return errno != syscall.ECHILD
}

// leavesNothing checks, at the test's end, for descriptors and children that were not there at its start.
func leavesNothing(t *testing.T) {
	before := openFiles()
	t.Cleanup(func() {
		if after := openFiles(); strings.Join(before, "\n") != strings.Join(after, "\n") {
			t.Errorf("descriptors before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
		if hasChild() {
			t.Error("a child was left, running or unreaped")
		}
	})
}

// The first thread of a process cannot end before it: it belongs to TestMain, so that no other goroutine gets it.
func init() { runtime.LockOSThread() }

// onEndingThread calls f on an OS thread that no goroutine uses afterwards: a goroutine that ends while locked to its
// thread takes the thread with it. It returns when the thread is gone.
func onEndingThread(t *testing.T, f func()) {
	id := make(chan int, 1)
	go func() {
		runtime.LockOSThread()
		f()
		id <- syscall.Gettid()
	}()
	thread := fmt.Sprintf("/proc/self/task/%d", <-id)
	for deadline := time.Now().Add(limit); ; time.Sleep(100 * time.Microsecond) {
		if _, err := os.Stat(thread); os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Error("the thread did not end")
			return
		}
	}
}
