package app

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestFilesAreSeenByOneNameOfTheirFolder: by a relative path, and through a link to a
// folder that is to lead to another.
func TestFilesAreSeenByOneNameOfTheirFolder(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, folder := range []string{"v1", "v2"} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("v1", "now"); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{
		"usher.yaml":                     {"usher.yaml"},
		filepath.Join(dir, "usher.yaml"): {"usher.yaml"},
		"now/tls.crt":                    {"v1/tls.crt", "now"},
	} {
		got := seenBy(file)
		for _, one := range want {
			if !slices.Contains(got, filepath.Join(dir, one)) {
				t.Errorf("seenBy(%s) = %v, want %s in it", file, got, one)
			}
		}
	}
}
