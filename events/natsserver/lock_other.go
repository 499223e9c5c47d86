//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package natsserver

import "os"

// lock does nothing where the system has no lock of this kind.
func lock(*os.File) error { return nil }
