package sbxconsumer

import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// sbxSync is the sync function of every runner: C calls Go, on the thread that called sbx_start. The launch's argument
// says which Go function is meant.
//
//export sbxSync
func sbxSync(pid, pidfd C.int, arg unsafe.Pointer) C.int {
	sync := cgo.Handle(uintptr(arg)).Value().(SyncFunc)
	if sync == nil {
		return 0
	}
	return -C.int(sync(int(pid), int(pidfd)))
}
