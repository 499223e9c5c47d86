package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ownGroup makes a process group of its own for a command, which the kernel
// kills when this process dies, however it does. What the command has started
// by then goes on.
func ownGroup() *syscall.SysProcAttr {
	// The kernel means the thread that starts it. Go ends none of them.
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killMarked kills the processes that have a variable in the environment that
// they were started with, until there are none.
func killMarked(variable string) {
	for range 50 { // what is being killed is seen again, as what it has started meanwhile
		if !killMarkedOnce([]byte(variable)) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func killMarkedOnce(variable []byte) (found bool) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is right
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, variable) { // has ended, or is somebody else's
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && pid != os.Getpid() {
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
	}
	return found
}
