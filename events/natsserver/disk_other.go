//go:build !(linux || darwin || freebsd || dragonfly)

package natsserver

func diskFree(string) (free uint64, known bool) { return 0, false }
