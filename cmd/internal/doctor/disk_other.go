//go:build !linux && !darwin

package doctor

import "io/fs"

func diskSpace(string) (free, all int64, known bool) { return 0, 0, false }

func diskOf(dir string) any { return dir }

func mayWrite(string) error { return nil }

func ownerOf(fs.FileInfo) (uid int, known bool) { return 0, false }
