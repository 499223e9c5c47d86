package e2e_test

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// fullDisks are faults of disks that have no room left. A NATS server that could
// not write stays away from its streams until it is started again.
func fullDisks() []fault {
	const hold = 5 * time.Second
	stores := func(f *field) {
		for _, p := range f.named("nats-") {
			f.smallDiskAt(filepath.Join(f.dir, p.name))
		}
	}
	full := func(name, which string) fault {
		return fault{
			name: name, goal: goalNATS, hold: hold, prepare: stores,
			inflict: func(f *field) {
				for _, p := range f.servers(which) {
					fill(f.t, filepath.Join(f.dir, p.name))
				}
			},
			mend: func(f *field) {
				for _, p := range f.servers(which) {
					f.must(os.Remove(filepath.Join(f.dir, p.name, "filler")))
					p.stop(f.t)
					p.start(f.t)
				}
			},
		}
	}
	return []fault{
		full("disk of the NATS leader full", "leader"),
		full("disks of all NATS servers full", "all"),
		{
			name: "data_dir full", goal: goalProcess, hold: hold,
			prepare: func(f *field) { f.smallDiskAt(filepath.Join(f.dir, "data")) },
			inflict: func(f *field) { fill(f.t, filepath.Join(f.dir, "data")) },
			mend:    func(f *field) { f.must(os.Remove(filepath.Join(f.dir, "data", "filler"))) },
		},
	}
}

// servers are those of the bus, or the one that a fault is about.
func (f *field) servers(which string) []*process {
	if which == "all" {
		return f.named("nats-")
	}
	return []*process{f.victim(which)}
}

// smallDiskAt makes a folder a file system of its own that is soon full.
func (f *field) smallDiskAt(dir string) {
	f.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64m"); err != nil {
		leftOut(f.t, "a small file system cannot be mounted here: "+err.Error())
	}
	f.t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}
