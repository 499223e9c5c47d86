package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	checkDisk  = "disk.free"
	checkWrite = "disk.writable"
)

var diskLooks = []look{{[]Check{{checkDisk, "room where this machine stores something"}, {checkWrite, "it may be written to"}}, (*Doctor).lookDisk, false}}

// Room on a disk. A tenth of a large one is enough.
const (
	roomRed    = 100_000_000
	roomYellow = 1_000_000_000
	roomLarge  = 20_000_000_000
)

func (d *Doctor) lookDisk(context.Context) (f findings) {
	folders := d.folders()
	if len(folders) == 0 {
		f.green(checkDisk, "this machine stores nothing")
		f.green(checkWrite, "this machine stores nothing")
		return f
	}
	for _, dir := range folders {
		free, all, known := diskSpace(dir)
		seen := fmt.Sprintf("%s: %s of %s are free", dir, size(free), size(all))
		const mend = "make room; when it is full nobody can register"
		switch {
		case !known:
			f.skip("this system does not tell", checkDisk)
		case free < roomRed:
			f.add(Red, checkDisk, seen, mend)
		case free < roomYellow || free < all/10 && free < roomLarge:
			f.add(Yellow, checkDisk, seen, mend)
		default:
			f.green(checkDisk, "%s", seen)
		}
		if err := mayWrite(dir); err != nil {
			f.add(Red, checkWrite, fmt.Sprintf("%s: %s", dir, oneLine(err)), "give it to the user of the server; or run 'usher doctor' as that user")
		} else {
			f.green(checkWrite, "%s may be written to", dir)
		}
	}
	return f
}

// folders are those that this machine stores something in, one of each disk; of
// a folder that is not there yet it is the one above it.
func (d *Doctor) folders() (dirs []string) {
	var wanted []string
	dsn := d.Config.DSN.Reveal()
	switch path, inFile := strings.CutPrefix(dsn, "sqlite://"); {
	case inFile:
		wanted = append(wanted, filepath.Dir(path))
	case dsn == "":
		wanted = append(wanted, d.Config.DataDir)
	case dsn == "memory":
		wanted = append(wanted, os.TempDir())
	}
	if d.embedded() {
		wanted = append(wanted, filepath.Join(d.Config.DataDir, "bus"))
	}
	seen := map[any]bool{}
	for _, dir := range wanted {
		dir, _ = filepath.Abs(dir) // else it is as it was
		for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
			if _, err := os.Stat(dir); err == nil {
				break
			}
		}
		if disk := diskOf(dir); !seen[disk] {
			seen[disk] = true
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
