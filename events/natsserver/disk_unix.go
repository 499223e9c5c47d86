//go:build linux || darwin || freebsd || dragonfly

package natsserver

import "syscall"

// diskFree gives what is free where a folder is, as nats-server sees it.
func diskFree(dir string) (free uint64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return uint64(s.Bavail) * uint64(s.Bsize), true //nolint:unconvert // not on all systems
}
