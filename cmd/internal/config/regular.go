package config

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFile bounds what a file that the configuration names may hold.
const maxFile = 1 << 20

// readRegular reads a regular file, or the null device. Of anything else, such as a pipe,
// nobody knows when it would end.
func readRegular(path string) ([]byte, error) {
	is, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !is.Mode().IsRegular() && path != os.DevNull {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if len(text) > maxFile {
		return nil, errors.Join(err, fmt.Errorf("%s is larger than %d bytes", path, maxFile))
	}
	return text, err
}
