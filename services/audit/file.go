package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// File is a file that checkpoints are appended to, in the lines of an export:
// the key that signed them before the first of each. It belongs where nobody who
// can write to the database can write. One process writes it at a time.
type File struct {
	path  string
	file  *os.File
	size  int64
	known map[string]bool // ids of keys that are in it
	last  int64
}

// OpenFile opens the file, or makes it. A last line that was cut off, by a
// power cut, goes.
func OpenFile(path string) (*File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, file: file, known: map[string]bool{}}
	if err := f.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return f, nil
}

func (f *File) read() error {
	whole, err := wholeLines(f.file)
	if err != nil {
		return err
	}
	err = Read(io.NewSectionReader(f.file, 0, whole), Handler{
		Key:        func(k PublicKey) error { f.known[k.ID()] = true; return nil },
		Checkpoint: func(c Checkpoint) error { f.last = max(f.last, c.Seq); return nil },
	})
	if err != nil {
		return err
	}
	f.size = whole
	return f.file.Truncate(whole)
}

// wholeLines gives the size of a file up to the end of its last whole line.
func wholeLines(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	tail := make([]byte, min(info.Size(), MaxLine))
	begin := info.Size() - int64(len(tail))
	if _, err := file.ReadAt(tail, begin); err != nil {
		return 0, err
	}
	return begin + int64(bytes.LastIndexByte(tail, '\n')) + 1, nil
}

// Last is the highest seq of a checkpoint in the file, zero if there is none.
func (f *File) Last() int64 { return f.last }

// Append adds a checkpoint, and its key if that is among keys and not in the
// file. When it returns they are on the disk. A file that somebody else has moved,
// shortened or written to is an error: opened again it is one that fits.
func (f *File) Append(c Checkpoint, keys []PublicKey) error {
	if err := f.untouched(); err != nil {
		return err
	}
	var b bytes.Buffer
	var with []PublicKey
	for _, k := range keys {
		if k.ID() == c.KeyID && !f.known[c.KeyID] {
			with = append(with, k)
		}
	}
	w := NewWriter(&b, with)
	w.Checkpoint(c)
	if err := w.Flush(); err != nil {
		return err
	}
	n, err := f.file.Write(b.Bytes())
	f.size += int64(n)
	if err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	f.known[c.KeyID] = true
	f.last = max(f.last, c.Seq)
	return nil
}

// untouched says whether what is at the path is as this process left it.
func (f *File) untouched() error {
	there, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	mine, err := f.file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(there, mine) || mine.Size() != f.size {
		return fmt.Errorf("%s was moved or changed by another program", f.path)
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }
