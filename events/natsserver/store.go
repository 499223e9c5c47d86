package natsserver

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockStore makes the store directory and takes it until the file is closed or
// the process ends. Two servers would overwrite each other's streams.
func lockStore(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "usher.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("another server runs on %s", dir)
	}
	return f, nil
}
