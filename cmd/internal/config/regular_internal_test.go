package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOnlyRegularFilesAreRead: a pipe would be waited for without end, whatever is to end.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "no regular file", dir: "no regular file", large: "larger than"} {
		if text, err := readRegular(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("readRegular(%s) = %d bytes, %v, want %q", filepath.Base(path), len(text), err, want)
		}
	}
	if err := os.Truncate(large, maxFile); err != nil {
		t.Fatal(err)
	}
	if text, err := readRegular(large); len(text) != maxFile || err != nil {
		t.Errorf("readRegular = %d bytes, %v, want all of the largest", len(text), err)
	}
}
