package breached

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
)

const (
	headerSize = 64
	magic      = "usherpw1"
	kind       = "sha1\x00\x00\x00\x00"
	// MinWidth and MaxWidth bound how many bytes of a digest a file keeps.
	MinWidth, MaxWidth = 4, 8
	// checkedAtOpen is the largest file whose checksum [Open] reads: it takes about a
	// second.
	checkedAtOpen = 1 << 30
	// samples is how many digests of a larger one it looks at.
	samples = 4096
)

// Set is an open file of passwords. It may be used by several goroutines. Its file is
// read where it lies, and closed when nobody refers to the set any more; the file may be
// replaced by another of the same name meanwhile, but not written to.
type Set struct {
	path string
	file *os.File
	is   os.FileInfo
	head header
}

// header is that of a file.
type header struct {
	width int
	count int64
	sum   [sha256.Size]byte
}

// Info says what a file holds.
type Info struct {
	Passwords int64 `json:"passwords"`
	// Bytes are kept of each digest.
	Bytes int `json:"bytes"`
	// FalseAlarms is how often a password that is not in the set is taken for one of it.
	FalseAlarms float64 `json:"false_alarms"`
}

// Open opens a file that [Builder.Finish] has made, see [Peek]. One of less than a gigabyte
// is read whole, see [Set.Verify].
func Open(path string) (*Set, error) {
	s, err := Peek(path)
	if err != nil || s.is.Size() > checkedAtOpen {
		return s, err
	}
	if err := s.Verify(context.Background(), nil); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

// Peek opens a file and looks at its header and some thousand digests. One of another
// form, cut off, too long, empty, or not ascending is refused.
func Peek(path string) (*Set, error) {
	s, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := s.sample(); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

// open reads the header.
func open(path string) (s *Set, err error) {
	if is, err := os.Stat(path); err != nil {
		return nil, err
	} else if !is.Mode().IsRegular() { // a pipe would wait for ever
		return nil, fmt.Errorf("%s: want a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
	}()
	s = &Set{path: path, file: f}
	if s.is, err = f.Stat(); err != nil {
		return nil, err
	}
	head := make([]byte, headerSize)
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if s.head, err = readHeader(head); err != nil {
		return nil, err
	}
	if want := headerSize + s.head.count*int64(s.head.width); s.is.Size() != want {
		return nil, fmt.Errorf("it has %d bytes, and its header says %d: it is not whole, make it again", s.is.Size(), want)
	}
	return s, nil
}

func readHeader(b []byte) (h header, err error) {
	if at := len(magic) - 1; !bytes.Equal(b[:at], []byte(magic[:at])) {
		return h, errors.New("it is no file of 'usher passwords build'")
	} else if b[at] != magic[at] {
		return h, fmt.Errorf("its form is %q, and this version reads %s: make it with this version", b[:at+1], magic)
	}
	if !bytes.Equal(b[8:16], []byte(kind)) {
		return h, fmt.Errorf("its digests are %q, want SHA-1", bytes.TrimRight(b[8:16], "\x00"))
	}
	h.width = int(binary.BigEndian.Uint32(b[16:]))
	count := binary.BigEndian.Uint64(b[24:])
	if h.width < MinWidth || h.width > MaxWidth || binary.BigEndian.Uint32(b[20:]) != 0 || count > math.MaxInt64/16 {
		return h, errors.New("its header is damaged")
	}
	if count == 0 {
		return h, errors.New("it holds no password: make it again")
	}
	h.count = int64(count)
	copy(h.sum[:], b[32:])
	return h, nil
}

func (h header) bytes() []byte {
	b := make([]byte, 0, headerSize)
	b = append(append(b, magic...), kind...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.width))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(h.count))
	return append(b, h.sum[:]...)
}

// Info says what the file holds.
func (s *Set) Info() Info {
	return Info{s.head.count, s.head.width, float64(s.head.count) / math.Pow(256, float64(s.head.width))}
}

// Is tells whether s was opened from the file that path names now, unchanged.
func (s *Set) Is(path string) bool {
	now, err := os.Stat(path)
	return err == nil && s.path == path && os.SameFile(s.is, now) && s.is.Size() == now.Size() && s.is.ModTime().Equal(now.ModTime())
}

// sample looks at digests all over the file.
func (s *Set) sample() error {
	before := uint64(0)
	step := max(1, s.head.count/samples)
	for at := int64(0); at < s.head.count; at += step {
		d, err := s.at(at)
		if err != nil {
			return err
		}
		if at > 0 && d <= before {
			return s.unsorted(at)
		}
		before = d
	}
	return nil
}

func (s *Set) unsorted(at int64) error {
	return fmt.Errorf("%s: digest %d does not come behind those before it: it is damaged, make it again", s.path, at+1)
}

// Verify reads the whole file: its digests must ascend and have the checksum of the
// header. It tells read, unless that is nil, how many bytes it has read.
func (s *Set) Verify(ctx context.Context, read func(int64)) error {
	sum, width := sha256.New(), s.head.width
	buf := make([]byte, width<<16)
	body := io.NewSectionReader(s.file, headerSize, s.head.count*int64(width))
	var before uint64
	for at := int64(0); at < s.head.count; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(body, buf)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		sum.Write(buf[:n])
		for i := 0; i+width <= n; i, at = i+width, at+1 {
			d := number(buf[i : i+width])
			if at > 0 && d <= before {
				return s.unsorted(at)
			}
			before = d
		}
		if read != nil {
			read(at * int64(width))
		}
	}
	if !bytes.Equal(sum.Sum(nil), s.head.sum[:]) {
		return fmt.Errorf("%s: its checksum is wrong: it is damaged, make it again", s.path)
	}
	return nil
}

// Holds tells whether a password, as it was typed, is in the set. The error is of the
// file, and says nothing of the password.
func (s *Set) Holds(password string) (bool, error) {
	sum := sha1.Sum([]byte(password))
	return s.holds(number(sum[:s.head.width]))
}

// blockSize is how many digests one read gets.
const blockSize = 512

// holds looks where the digest should be if they are spread evenly, as SHA-1 spreads
// them, which takes two or three reads; in a file that is not so it halves.
func (s *Set) holds(d uint64) (bool, error) {
	low, high := int64(0), s.head.count // it is at low or behind, and before high
	from, to := uint64(0), s.largest()  // the digests there are from..to
	var buf [blockSize * MaxWidth]byte
	for try := 0; low < high; try++ {
		if d < from || d > to {
			return false, nil
		}
		middle := low + (high-low)/2
		if try < 6 && to > from {
			middle = low + int64(float64(d-from)/float64(to-from)*float64(high-low-1))
		}
		start := min(max(middle-blockSize/2, low), high-1)
		end := min(start+blockSize, high)
		block := buf[:int(end-start)*s.head.width]
		if _, err := s.file.ReadAt(block, headerSize+start*int64(s.head.width)); err != nil {
			return false, fmt.Errorf("%s: %w", s.path, err)
		}
		first, last := number(block[:s.head.width]), number(block[len(block)-s.head.width:])
		switch {
		case d < first:
			high, to = start, first-1
		case d > last:
			low, from = end, last+1
		default:
			return inBlock(block, s.head.width, d), nil
		}
	}
	return false, nil
}

// inBlock halves the digests of a block.
func inBlock(block []byte, width int, d uint64) bool {
	_, found := sort.Find(len(block)/width, func(n int) int { return cmp.Compare(d, number(block[n*width:(n+1)*width])) })
	return found
}

func (s *Set) largest() uint64 { return math.MaxUint64 >> (64 - 8*s.head.width) }

func (s *Set) at(n int64) (uint64, error) {
	var buf [MaxWidth]byte
	d := buf[:s.head.width]
	if _, err := s.file.ReadAt(d, headerSize+n*int64(s.head.width)); err != nil {
		return 0, fmt.Errorf("%s: %w", s.path, err)
	}
	return number(d), nil
}

// number reads the first bytes of a digest.
func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}
