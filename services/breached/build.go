package breached

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Format is what a line of a source holds.
type Format string

// The formats of sources.
const (
	// Passwords: a password a line, as it is typed.
	Passwords Format = "passwords"
	// SHA1: the SHA-1 of a password in 40 hexadecimal digits, and where it is known how
	// often it was seen: "HEX" or "HEX:COUNT", as haveibeenpwned.com hands them out.
	SHA1 Format = "sha1"
)

// longestLine is that of a source; no password is as long.
const longestLine = 4096

// defaultChunk is how many digests are sorted at once: 128 MiB of them.
const defaultChunk = 16 << 20

// Builder collects digests and writes the file. What does not fit into memory waits in
// files beside it. It is for one goroutine.
type Builder struct {
	// Width is how many bytes of each digest are kept; 0 means 8.
	Width int
	// MinCount leaves out what was seen less often, where a source tells; 0 takes all.
	MinCount int
	// Chunk is how many digests memory holds, of 8 bytes each; 0 means 16 Mi.
	Chunk int

	out     string
	digests []uint64
	runs    []*os.File
	sum     Summary
}

// Summary says what a [Builder] has read and written.
type Summary struct {
	Lines int64 `json:"lines"`
	// Rare were seen less often than MinCount, Broken are no line of their format or too
	// long for a password; both are left out.
	Rare   int64 `json:"rare"`
	Broken int64 `json:"broken"`
	// Passwords are those in the file, each once.
	Passwords int64 `json:"passwords"`
}

// NewBuilder begins a file that [Builder.Finish] writes to out, or to where a link of that
// name leads. What is there and no file is refused.
func NewBuilder(out string) (*Builder, error) {
	switch is, err := os.Stat(out); {
	case errors.Is(err, fs.ErrNotExist):
		return &Builder{out: out}, nil
	case err != nil:
		return nil, err
	case !is.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file: nothing is written in its place", out)
	}
	out, err := filepath.EvalSymlinks(out)
	return &Builder{out: out}, err
}

// source is what was seen of a list.
type source struct {
	format Format
	// Of all lines that are not empty, some are no line of the format, or look like digests.
	lines, broken, hashed int64
}

// Add reads a list and gives its format. Where that is empty its first line that is not
// decides. A list most of whose lines cannot be of the format is refused, and so is one
// that is no text of UTF-8 or another code that ASCII is part of.
func (b *Builder) Add(ctx context.Context, r io.Reader, format Format) (Format, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	s := source{format: format}
	if begin, _ := in.Peek(3); bytes.Equal(begin, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(len(begin)) // a mark of UTF-8
	} else if bytes.HasPrefix(begin, []byte("\xff\xfe")) || bytes.HasPrefix(begin, []byte("\xfe\xff")) || bytes.IndexByte(begin, 0) >= 0 {
		return "", errors.New("it is no text of UTF-8: of UTF-16 'iconv -f UTF-16 -t UTF-8' makes one")
	}
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return s.format, ctx.Err()
		}
		line, long, err := readLine(in)
		if errors.Is(err, io.EOF) {
			return s.format, s.unlikely()
		}
		if err != nil {
			return s.format, err
		}
		b.sum.Lines++
		if len(line) == 0 {
			b.sum.Broken++
			continue
		}
		if s.format == "" {
			s.format = guess(line)
		}
		if err := b.line(line, long, &s); err != nil {
			return s.format, err
		}
	}
}

// unlikely says that a list is hardly of the format that it was taken for.
func (s *source) unlikely() error {
	switch {
	case s.format == Passwords && 2*s.hashed > s.lines:
		return errors.New("most of its lines look like digests, and were taken for passwords: give --format sha1, if they are that; others are of no use")
	case s.format == SHA1 && 2*s.broken > s.lines:
		return errors.New("most of its lines are no SHA-1 of 40 hexadecimal digits: give --format passwords, if they are passwords")
	}
	return nil
}

// readLine gives a line without its end; what is longer than a password is skipped. The
// error is io.EOF behind the last.
func readLine(in *bufio.Reader) (line []byte, long bool, err error) {
	line, err = in.ReadSlice('\n')
	long = len(line) > longestLine
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = in.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) && (len(line) > 0 || long) {
		err = nil
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), long, err
}

// guess tells the format by a line.
func guess(line []byte) Format {
	if _, _, ok := parseSHA1(line); ok {
		return SHA1
	}
	return Passwords
}

// line adds one that is not empty, unless it is too long for a password.
func (b *Builder) line(line []byte, long bool, of *source) error {
	of.lines++
	digest, count, ok := [sha1.Size]byte{}, b.MinCount, !long
	switch {
	case long:
	case of.format == SHA1:
		digest, count, ok = parseSHA1(line)
	default:
		digest = sha1.Sum(line)
		if looksHashed(line) {
			of.hashed++
		}
	}
	switch {
	case !ok:
		of.broken++
		b.sum.Broken++
		return nil
	case count < b.MinCount:
		b.sum.Rare++
		return nil
	}
	b.digests = append(b.digests, number(digest[:b.width()]))
	if len(b.digests) < cmp.Or(b.Chunk, defaultChunk) {
		return nil
	}
	return b.spill()
}

// parseSHA1 reads "HEX" or "HEX:COUNT"; a count that is not told is any.
func parseSHA1(line []byte) (digest [sha1.Size]byte, count int, ok bool) {
	text, number, counted := bytes.Cut(line, []byte(":"))
	if len(text) != hex.EncodedLen(sha1.Size) {
		return digest, 0, false
	}
	if _, err := hex.Decode(digest[:], text); err != nil {
		return digest, 0, false
	}
	if !counted {
		return digest, int(^uint(0) >> 1), true
	}
	count, err := strconv.Atoi(string(bytes.TrimSpace(number)))
	return digest, count, err == nil
}

// looksHashed tells whether a line begins with as many hexadecimal digits as MD5, NTLM,
// SHA-1 or SHA-256 have, and ends there or with a colon.
func looksHashed(line []byte) bool {
	text, _, _ := bytes.Cut(line, []byte(":"))
	switch len(text) {
	case 32, 40, 64:
		_, err := hex.Decode(make([]byte, 32), text)
		return err == nil
	}
	return false
}

func (b *Builder) width() int { return cmp.Or(b.Width, MaxWidth) }

// sorted gives the digests in memory in order, each once.
func (b *Builder) sorted() []uint64 {
	slices.Sort(b.digests)
	return slices.Compact(b.digests)
}

// spill puts the digests in memory into a file.
func (b *Builder) spill() error {
	f, err := os.CreateTemp(filepath.Dir(b.out), "."+filepath.Base(b.out)+".part-*")
	if err != nil {
		return err
	}
	b.runs = append(b.runs, f)
	if err := os.Remove(f.Name()); err != nil { // a build that is killed leaves none
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var buf [8]byte
	for _, d := range b.sorted() {
		binary.BigEndian.PutUint64(buf[:], d)
		if _, err := w.Write(buf[:]); err != nil {
			return err
		}
	}
	b.digests = b.digests[:0]
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// Finish writes the file, which takes the place of one that is there in one step, or not
// at all: also not where nothing was added.
func (b *Builder) Finish(ctx context.Context) (sum Summary, err error) {
	defer func() { err = errors.Join(err, b.Close()) }()
	f, err := os.CreateTemp(filepath.Dir(b.out), "."+filepath.Base(b.out)+".new-*")
	if err != nil {
		return b.sum, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := b.write(ctx, f); err != nil {
		return b.sum, err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return b.sum, err
	}
	if err := os.Rename(f.Name(), b.out); err != nil {
		return b.sum, err
	}
	return b.sum, f.Close()
}

// write merges what was read into f, and the header before it.
func (b *Builder) write(ctx context.Context, f *os.File) error {
	all, err := b.merge()
	if err != nil {
		return err
	}
	if _, err := f.Write(make([]byte, headerSize)); err != nil {
		return err
	}
	h := header{width: b.width()}
	digests := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, digests), 1<<20)
	var buf [8]byte
	var before uint64
	for {
		d, ok, err := all.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if h.count > 0 && d == before {
			continue
		}
		if h.count%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		h.count, before = h.count+1, d
		binary.BigEndian.PutUint64(buf[:], d)
		if _, err := w.Write(buf[8-h.width:]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if h.count == 0 {
		return errors.New("there was no password to put in")
	}
	digests.Sum(h.sum[:0])
	b.sum.Passwords = h.count
	_, err = f.WriteAt(h.bytes(), 0)
	return err
}

// Close gives up what waits in files. It is not needed behind [Builder.Finish].
func (b *Builder) Close() (err error) {
	for _, f := range b.runs {
		err = errors.Join(err, f.Close())
	}
	b.runs, b.digests = nil, nil
	return err
}
