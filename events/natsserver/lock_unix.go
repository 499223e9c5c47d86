//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package natsserver

import (
	"os"
	"syscall"
)

// lock takes f or fails at once. The lock ends with the process, however it ends.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
