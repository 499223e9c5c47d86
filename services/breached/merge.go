package breached

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// run is an ascending source of digests, and its first.
type run struct {
	in    *bufio.Reader // nil for those in memory
	rest  []uint64
	first uint64
}

// next goes to the next digest.
func (r *run) next() (ok bool, err error) {
	if r.in == nil {
		if len(r.rest) == 0 {
			return false, nil
		}
		r.first, r.rest = r.rest[0], r.rest[1:]
		return true, nil
	}
	var buf [8]byte
	if _, err := io.ReadFull(r.in, buf[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		return false, fmt.Errorf("read back: %w", err)
	}
	r.first = binary.BigEndian.Uint64(buf[:])
	return true, nil
}

// merged is a heap of runs, the one with the smallest digest first.
type merged []*run

func (m merged) Len() int           { return len(m) }
func (m merged) Less(i, j int) bool { return m[i].first < m[j].first }
func (m merged) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *merged) Push(x any)        { *m = append(*m, x.(*run)) }
func (m *merged) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

func (b *Builder) merge() (*merged, error) {
	runs := []*run{{rest: b.sorted()}}
	for _, f := range b.runs {
		runs = append(runs, &run{in: bufio.NewReaderSize(f, 1<<18)})
	}
	m := &merged{}
	for _, r := range runs {
		ok, err := r.next()
		if err != nil {
			return nil, err
		}
		if ok {
			*m = append(*m, r)
		}
	}
	heap.Init(m)
	return m, nil
}

// next gives the smallest digest that is left.
func (m *merged) next() (d uint64, ok bool, err error) {
	if len(*m) == 0 {
		return 0, false, nil
	}
	r := (*m)[0]
	d = r.first
	more, err := r.next()
	switch {
	case err != nil:
		return 0, false, err
	case more:
		heap.Fix(m, 0)
	default:
		heap.Pop(m)
	}
	return d, true, nil
}
