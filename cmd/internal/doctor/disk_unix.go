//go:build linux || darwin

package doctor

import (
	"io/fs"
	"syscall"
)

// diskSpace gives the room that is left for others than root.
func diskSpace(dir string) (free, all int64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, false
	}
	unit := int64(s.Bsize)                                      //nolint:unconvert // not on all systems
	return int64(s.Bavail) * unit, int64(s.Blocks) * unit, true //nolint:unconvert // not on all systems
}

// diskOf tells disks apart.
func diskOf(dir string) any {
	var s syscall.Stat_t
	if err := syscall.Stat(dir, &s); err != nil {
		return dir
	}
	return s.Dev
}

// mayWrite asks the system, and writes nothing.
func mayWrite(dir string) error {
	const write = 2
	return syscall.Access(dir, write)
}

// ownerOf gives the user to whom a file belongs.
func ownerOf(info fs.FileInfo) (uid int, known bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(s.Uid), true
}
