package audit

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/tidwall/gjson"
)

// ExportType is the media type of an export: JSON lines, each an object with one
// member. The public keys ("key") come first, then each record ("record"), each
// checkpoint ("checkpoint") directly behind its record, and at last the seq of
// the last record ("end"). Exports that continue each other may stand behind each
// other. One of selected records only says so at its beginning ("filter").
const ExportType = "application/x-ndjson"

// line is one line of an export but a record, see [Writer.Record].
type line struct {
	Key        string          `json:"key,omitempty"`    // public, base64
	Filter     string          `json:"filter,omitempty"` // what records were selected by
	Checkpoint *lineCheckpoint `json:"checkpoint,omitempty"`
	End        *int64          `json:"end,omitempty"`  // seq of the last record
	Next       string          `json:"next,omitempty"` // cursor that the next export goes on from
}

type lineCheckpoint struct {
	Seq       int64  `json:"seq"`
	Head      string `json:"head"`
	At        string `json:"at"`
	KeyID     string `json:"key_id"`
	Signature string `json:"signature"` // base64
}

// Writer writes an export. Its errors are those of what it writes to, once
// Flush is called at the latest.
type Writer struct{ b *bufio.Writer }

// NewWriter begins an export with the public keys.
func NewWriter(w io.Writer, keys []PublicKey) *Writer {
	x := &Writer{bufio.NewWriterSize(w, 64<<10)}
	for _, key := range keys {
		x.line(line{Key: key.String()})
	}
	return x
}

// Filter says by what the records that follow are selected.
func (x *Writer) Filter(text string) { x.line(line{Filter: text}) }

// Record writes a record. Its payload must be JSON in one line, as canonical JSON is.
func (x *Writer) Record(r Record) {
	// By hand: the encoder would change characters of the payload, and is slower.
	b := x.b.AvailableBuffer()
	b = append(b, `{"record":{"seq":`...)
	b = strconv.AppendInt(b, r.Seq, 10)
	for _, member := range [][2]string{{"event_id", r.EventID}, {"type", r.Type}, {"subject", r.Subject}} {
		b = append(append(append(b, `,"`...), member[0]...), `":`...)
		text, _ := json.Marshal(member[1]) // a string always can be
		b = append(b, text...)
	}
	b = append(b, `,"former":"`...)
	b = hex.AppendEncode(b, r.Former[:])
	b = append(b, `","hash":"`...)
	b = hex.AppendEncode(b, r.Hash[:])
	b = append(b, `","logged_at":"`...)
	b = r.LoggedAt.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","event":`...)
	b = append(b, r.Payload...)
	b = append(b, "}}\n"...)
	_, _ = x.b.Write(b) // Flush tells
}

// Checkpoint writes a checkpoint.
func (x *Writer) Checkpoint(c Checkpoint) {
	x.line(line{Checkpoint: &lineCheckpoint{
		Seq: c.Seq, Head: hex.EncodeToString(c.Head[:]), At: c.At.UTC().Format(time.RFC3339Nano),
		KeyID: c.KeyID, Signature: base64.StdEncoding.EncodeToString(c.Signature),
	}})
}

// End says which record is the last, and the cursor that the next export goes on
// from: without it an export is not whole.
func (x *Writer) End(seq int64, next string) error {
	x.line(line{End: &seq, Next: next})
	return x.b.Flush()
}

// Flush sends what was written so far.
func (x *Writer) Flush() error { return x.b.Flush() }

func (x *Writer) line(l line) {
	text, _ := json.Marshal(l) // of texts and numbers, which always can be
	_, _ = x.b.Write(append(text, '\n'))
}

// MaxLine bounds a line of an export: an event is at most as long as the bus
// takes, and written once.
const MaxLine = 1 << 20

// Errors of an export that is none, or not a whole one.
var (
	// ErrCut says that an export ends before its end: it was cut, or is still being written.
	ErrCut = errors.New("audit: the export has no last line: it was cut off")
	// ErrFiltered says that an export holds selected records only, so that what is
	// missing cannot be told from what was removed.
	ErrFiltered = errors.New("audit: the export holds selected records only and cannot be verified")
)

// Handler is told what an export holds, in its order. A nil function skips.
type Handler struct {
	Key        func(PublicKey) error
	Record     func(Record) error
	Checkpoint func(Checkpoint) error
}

// Read reads an export, or a file of checkpoints, whose lines are the same and
// which has no end. It gives the first error, with the line's number.
func Read(r io.Reader, h Handler) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), MaxLine)
	x := reader{Handler: h}
	n := 0
	for lines.Scan() {
		n++
		if len(lines.Bytes()) == 0 {
			continue
		}
		x.ended = false
		if err := x.read(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	if !x.ended && h.Record != nil {
		return ErrCut
	}
	return nil
}

// reader reads lines.
type reader struct {
	Handler
	last  int64 // seq of the last record
	ended bool  // the last line says so
}

func (x *reader) read(text []byte) error {
	if object, ok := member(text, "record"); ok {
		r, err := parseRecord(object)
		if x.last = r.Seq; err != nil || x.Record == nil {
			return err
		}
		return x.Record(r)
	}
	var l line
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields() // or a record could stand there that nobody looks at
	if err := strict.Decode(&l); err != nil {
		return err
	}
	if strict.More() {
		return errors.New("more than one object stands there")
	}
	switch {
	case l.End != nil:
		x.ended = true
		if *l.End != x.last && x.last != 0 && x.Record != nil {
			return fmt.Errorf("%w: its last record is %d, not %d", ErrCut, x.last, *l.End)
		}
		return nil
	case l.Filter != "":
		return fmt.Errorf("%w: %s", ErrFiltered, l.Filter)
	case l.Key != "":
		key, err := ParsePublicKey(l.Key)
		if err != nil || x.Key == nil {
			return err
		}
		return x.Key(key)
	case l.Checkpoint != nil:
		c, err := l.Checkpoint.checkpoint()
		if err != nil || x.Checkpoint == nil {
			return err
		}
		return x.Checkpoint(c)
	}
	return errors.New("it is no line of an export")
}

// member gives the value of an object in one line that has that member only.
func member(text []byte, name string) (gjson.Result, bool) {
	value, begins := bytes.CutPrefix(text, []byte(`{"`+name+`":`))
	value, ends := bytes.CutSuffix(bytes.TrimSpace(value), []byte("}"))
	if !begins || !ends || !gjson.ValidBytes(value) {
		return gjson.Result{}, false
	}
	return gjson.ParseBytes(value), true
}

// parseRecord reads what [Writer.Record] writes. Records are most of an export,
// and encoding/json takes three times as long for them.
func parseRecord(object gjson.Result) (r Record, err error) {
	object.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "seq":
			r.Seq = value.Int()
		case "event_id":
			r.EventID = value.Str
		case "type":
			r.Type = value.Str
		case "subject":
			r.Subject = value.Str
		case "former":
			r.Former, err = ParseHash(value.Str)
		case "hash":
			r.Hash, err = ParseHash(value.Str)
		case "logged_at":
			r.LoggedAt, err = time.Parse(time.RFC3339Nano, value.Str)
		case "event":
			r.Payload = []byte(value.Raw)
		default:
			err = fmt.Errorf("the record has a member %q, which nothing vouches for", name.Str)
		}
		return err == nil
	})
	if err == nil && (r.Seq < 1 || r.Payload == nil) {
		err = errors.New("the record has no seq, or no event")
	}
	return r, err
}

func (l *lineCheckpoint) checkpoint() (Checkpoint, error) {
	c := Checkpoint{Seq: l.Seq, KeyID: l.KeyID}
	var err error
	if c.Head, err = ParseHash(l.Head); err != nil {
		return c, err
	}
	if c.Signature, err = base64.StdEncoding.DecodeString(l.Signature); err != nil {
		return c, fmt.Errorf("signature: %w", err)
	}
	c.At, err = time.Parse(time.RFC3339Nano, l.At)
	return c, err
}

// ParseHash reads a hash in hexadecimal.
func ParseHash(text string) (Hash, error) {
	var h Hash
	plain, err := hex.DecodeString(text)
	if err != nil || len(plain) != len(h) {
		return Hash{}, fmt.Errorf("%q is no SHA-256 in hexadecimal", text)
	}
	copy(h[:], plain)
	return h, nil
}
