package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxLine is how many bytes an identity may have.
const MaxLine = 1 << 20

// errEnd is the end of the input.
var errEnd = errors.New("end")

// text is an identity as it was read, or why it was not.
type text struct {
	line   int
	json   []byte
	reason string
}

// Reader reads identities, one line each.
type Reader struct {
	in   *bufio.Reader
	from int
	line int
}

// NewReader reads from in. The lines before the one with the number from, the first
// is 1, are passed over.
func NewReader(in io.Reader, from int) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, 64<<10), from: from}
}

// batch gives at most n identities that are no empty lines; errEnd with the last.
func (r *Reader) batch(n int) (all []text, err error) {
	for len(all) < n {
		line, long, err := r.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return all, fmt.Errorf("read line %d: %w", r.line+1, err)
		}
		if len(line) > 0 || long || err == nil {
			r.line++
		}
		line = bytes.TrimSpace(line)
		switch {
		case r.line < r.from || len(line) == 0 && !long:
		case long:
			all = append(all, text{line: r.line, reason: fmt.Sprintf("it is longer than %d bytes", MaxLine)})
		default:
			all = append(all, text{line: r.line, json: line})
		}
		if err != nil {
			return all, errEnd
		}
	}
	return all, nil
}

// next reads to the end of the line, and keeps no more of it than a line may have.
func (r *Reader) next() (line []byte, long bool, err error) {
	for {
		part, err := r.in.ReadSlice('\n')
		if long = long || len(line)+len(part) > MaxLine+1; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, long, err
		}
	}
}
