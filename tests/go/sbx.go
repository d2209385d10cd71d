// Package sbxconsumer is a host in Go that starts sandboxes through libsbx.
//
// This file is the binding: as little Go as a host needs. A runner's settings live in C, a launch is laid out in C
// memory (cgo forbids Go memory that points to Go memory), errors become Go errors. What is tested is in *_test.go.
package sbxconsumer

/*
#cgo pkg-config: sbx
#include <stdlib.h>
#include <sbx.h>

extern int sbxSync(int pid, int pidfd, void *arg);

static int set_sync(sbx_runner *runner, bool on, struct sbx_error *error)
{
	return sbx_set_sync_func(runner, on ? sbxSync : NULL, error);
}

// A handle is a number. It is stored as the pointer-sized argument that C hands back.
static void launch_init(struct sbx_launch *launch, uintptr_t sync_handle)
{
	*launch = (struct sbx_launch)SBX_LAUNCH_INIT;
	launch->sync_arg = (void *)sync_handle;
}
*/
import "C"

import (
	"fmt"
	"os"
	"runtime/cgo"
	"syscall"
	"time"
	"unsafe"
)

// Error is what the library says about a failure.
type Error struct {
	Errno    syscall.Errno
	Location string
	Message  string
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Errno }

// newError frees nothing: the C struct is the caller's.
func newError(result C.int, e *C.struct_sbx_error) error {
	if result >= 0 {
		return nil
	}
	return &Error{
		Errno:    syscall.Errno(-result),
		Location: C.GoString(C.sbx_location_name(e.location)),
		Message:  C.GoString(&e.message[0]),
	}
}

func cError() *C.struct_sbx_error {
	return &C.struct_sbx_error{size: C.sizeof_struct_sbx_error}
}

// cStrings lays out a NULL-terminated array in C memory.
func cStrings(values []string) (array **C.char, free func()) {
	size := unsafe.Sizeof(uintptr(0))
	array = (**C.char)(C.calloc(C.size_t(len(values)+1), C.size_t(size)))
	slots := unsafe.Slice(array, len(values)+1)
	for i, value := range values {
		slots[i] = C.CString(value)
	}
	return array, func() {
		for _, value := range slots {
			C.free(unsafe.Pointer(value))
		}
		C.free(unsafe.Pointer(array))
	}
}

// Namespaces, as SBX_NS_* says.
const (
	NSUser = uint64(C.SBX_NS_USER)
	NSPid  = uint64(C.SBX_NS_PID)
	NSMnt  = uint64(C.SBX_NS_MNT)
	NSIpc  = uint64(C.SBX_NS_IPC)
	NSUts  = uint64(C.SBX_NS_UTS)
)

// Shapes of the process tree.
const (
	ShapeDirect = uint32(C.SBX_SHAPE_DIRECT)
	ShapeStaged = uint32(C.SBX_SHAPE_STAGED)
	ShapeInit   = uint32(C.SBX_SHAPE_INIT)
)

// Config is what the tests set of a runner.
type Config struct {
	Namespaces uint64
	MapRoot    bool // the host's ids as 0
	Staged     bool
	NoNewPrivs bool
	Sync       bool // launches name a function
}

// Runner is a recipe; any number of goroutines may start it.
type Runner struct{ c *C.sbx_runner }

// NewRunner configures one.
func NewRunner(config Config) (*Runner, error) {
	r := &Runner{C.sbx_runner_new()}
	if r.c == nil {
		return nil, syscall.ENOMEM
	}
	e := cError()
	steps := []func() C.int{
		func() C.int { return C.sbx_set_namespaces(r.c, C.uint64_t(config.Namespaces), e) },
		func() C.int { return C.sbx_set_staged(r.c, C.bool(config.Staged), e) },
		func() C.int { return C.sbx_set_no_new_privs(r.c, C.bool(config.NoNewPrivs), e) },
		func() C.int { return C.set_sync(r.c, C.bool(config.Sync), e) },
	}
	if config.MapRoot {
		steps = append(steps,
			func() C.int { return C.sbx_add_uid_map(r.c, 0, C.uint32_t(os.Geteuid()), 1, e) },
			func() C.int { return C.sbx_add_gid_map(r.c, 0, C.uint32_t(os.Getegid()), 1, e) })
	}
	for _, step := range steps {
		if err := newError(step(), e); err != nil {
			r.Free()
			return nil, err
		}
	}
	return r, nil
}

// Free ends the recipe; processes started from it live on.
func (r *Runner) Free() {
	C.sbx_runner_free(r.c)
	r.c = nil
}

// SyncFunc runs on the thread that is inside Start, before the program is executed. An errno other than 0 ends the start.
type SyncFunc func(pid, pidfd int) syscall.Errno

// Start runs argv with stdout, if any, as its descriptor 1.
func (r *Runner) Start(argv []string, stdout *os.File, sync SyncFunc) (*Process, error) {
	launch := (*C.struct_sbx_launch)(C.calloc(1, C.sizeof_struct_sbx_launch))
	defer C.free(unsafe.Pointer(launch))
	handle := cgo.NewHandle(sync)
	defer handle.Delete()
	C.launch_init(launch, C.uintptr_t(handle))

	args, freeArgs := cStrings(argv)
	defer freeArgs()
	launch.argv = args
	if stdout != nil {
		fds := (*C.struct_sbx_fd_map)(C.calloc(1, C.sizeof_struct_sbx_fd_map))
		defer C.free(unsafe.Pointer(fds))
		fds.fd, fds.child_fd = C.int(stdout.Fd()), 1
		launch.fds, launch.n_fds = fds, 1
	}

	e := cError()
	var c *C.sbx_process
	if err := newError(C.sbx_start(r.c, launch, &c, e), e); err != nil {
		return nil, err
	}
	return &Process{c}, nil
}

// Process is one started program.
type Process struct{ c *C.sbx_process }

// Status is how it ended.
type Status struct {
	Code, Status int // CLD_EXITED and an exit code, or CLD_KILLED, CLD_DUMPED and a signal
}

// The codes of waitid(2).
const (
	Exited = 1
	Killed = 2
)

// Pid is for printing.
func (p *Process) Pid() int { return int(C.sbx_process_pid(p.c)) }

// Shape is one of the Shape constants.
func (p *Process) Shape() uint32 { return uint32(C.sbx_process_shape(p.c)) }

// Wait returns ETIMEDOUT when the program outlives the timeout.
func (p *Process) Wait(timeout time.Duration) (Status, error) {
	e := cError()
	status := C.struct_sbx_status{size: C.sizeof_struct_sbx_status}
	result := C.sbx_process_wait(p.c, C.uint64_t(timeout.Nanoseconds()), &status, e)
	return Status{int(status.code), int(status.status)}, newError(result, e)
}

// Kill signals the program.
func (p *Process) Kill(signal syscall.Signal) error {
	e := cError()
	return newError(C.sbx_process_kill(p.c, C.int(signal), e), e)
}

// Free ends what still runs, and waits for it.
func (p *Process) Free() {
	C.sbx_process_free(p.c)
	p.c = nil
}

// Version is the linked library's.
func Version() string {
	return fmt.Sprintf("%s (%#x)", C.GoString(C.sbx_version_string()), uint32(C.sbx_version()))
}
