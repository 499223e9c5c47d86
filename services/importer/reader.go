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

// maxBatchText bounds what is held of the input for one commit.
const maxBatchText = 8 << 20

// errEnd is the end of the input.
var errEnd = errors.New("end")

// text is an identity as it was read, or why it was not.
type text struct {
	at      int
	element bool // of an array, else a line
	json    []byte
	reason  string
}

// Reader reads identities: one a line, or, where the input begins with [, the elements
// of JSON arrays that follow each other, as the pages of a list do.
type Reader struct {
	in    *bufio.Reader
	from  int
	at    int // the last line or element
	kind  kindOfInput
	place placeInArray
}

type kindOfInput int

const (
	unknownInput kindOfInput = iota
	linesInput
	arraysInput
)

type placeInArray int

const (
	outside   placeInArray = iota // before an array, or behind it
	opened                        // behind the [
	behindOne                     // behind an element
	behindSep                     // behind a comma
)

// NewReader reads from in. The lines or elements before the one with the number from,
// the first is 1, are passed over.
func NewReader(in io.Reader, from int) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, 64<<10), from: from}
}

// unit is what is counted, once something was read.
func (r *Reader) unit() string {
	if r.kind == arraysInput {
		return "element"
	}
	return "line"
}

// batch gives at most n identities that are no empty lines; errEnd with the last.
func (r *Reader) batch(n int) (all []text, err error) {
	if r.kind == unknownInput {
		r.begin()
	}
	next := r.line
	if r.kind == arraysInput {
		next = r.element
	}
	for size := 0; len(all) < n && size < maxBatchText; {
		one, long, err := next()
		if err != nil && !errors.Is(err, io.EOF) {
			return all, fmt.Errorf("read %s %d: %w", r.unit(), r.at+1, err)
		}
		if len(one) > 0 || long || err == nil {
			r.at++
		}
		one = bytes.TrimSpace(one)
		switch {
		case r.at < r.from || len(one) == 0 && !long:
		case long:
			all = append(all, text{at: r.at, element: r.kind == arraysInput, reason: fmt.Sprintf("it is longer than %d bytes", MaxLine)})
		default:
			all = append(all, text{at: r.at, element: r.kind == arraysInput, json: one})
			size += len(one)
		}
		if err != nil {
			return all, errEnd
		}
	}
	return all, nil
}

// begin looks what the input is, and passes over the mark that some programs put
// before UTF-8. It cannot fail: who reads on is told.
func (r *Reader) begin() {
	if mark, _ := r.in.Peek(3); string(mark) == "\ufeff" {
		_, _ = r.in.Discard(len(mark))
	}
	r.kind = linesInput
	for n := 1; n <= r.in.Size(); n++ {
		head, err := r.in.Peek(n)
		if err != nil {
			return
		}
		if c := head[n-1]; !isSpace(c) {
			if c == '[' {
				r.kind = arraysInput
			}
			return
		}
	}
}

// line reads to the end of the line, and keeps no more of it than a line may have.
func (r *Reader) line() (line []byte, long bool, err error) {
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

// element reads the next element, whichever array has it, and keeps no more of it than
// one may have: io.EOF behind the last array. Whether it is JSON is left to who parses it.
func (r *Reader) element() (one []byte, long bool, err error) {
	for {
		c, err := r.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && r.place != outside:
			return nil, false, errors.New("the array has no end")
		case err != nil:
			return nil, false, err
		case isSpace(c):
		case r.place == outside && c == '[':
			r.place = opened
		case r.place == outside:
			return nil, false, errors.New("behind an array there is something else than another array")
		case c == ']' && r.place != behindSep:
			r.place = outside
		case c == ',' && r.place == behindOne:
			r.place = behindSep
		case c == ',' || c == ']':
			return nil, false, errors.New("the array is broken")
		default:
			r.place = behindOne
			return r.rest(c)
		}
	}
}

// rest reads an element whose first byte is c, up to what ends it, which is left.
func (r *Reader) rest(c byte) (one []byte, long bool, err error) {
	depth, quoted, escaped := 0, false, false
	for {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case depth == 0 && (c == ',' || c == ']'):
			return one, long, r.in.UnreadByte()
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			depth--
		}
		if long = long || len(one) == MaxLine && !isSpace(c); long {
			one = nil
		} else if len(one) < MaxLine {
			one = append(one, c)
		}
		if c, err = r.in.ReadByte(); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the array ends in it")
			}
			return nil, false, err
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
