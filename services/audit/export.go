package audit

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// ExportType is the media type of an export: JSON lines, each with one of the
// members that [line] has. The keys come first, each checkpoint directly behind
// its record, and behind the last record a line that says so.
const ExportType = "application/x-ndjson"

// line is one line of an export.
type line struct {
	Key        string          `json:"key,omitempty"` // public, base64
	Record     *lineRecord     `json:"record,omitempty"`
	Checkpoint *lineCheckpoint `json:"checkpoint,omitempty"`
	End        *int64          `json:"end,omitempty"` // seq of the last record
}

type lineRecord struct {
	Seq      int64  `json:"seq"`
	EventID  string `json:"event_id"`
	Type     string `json:"type"`
	Subject  string `json:"subject,omitempty"`
	Former   string `json:"former"` // hexadecimal
	Hash     string `json:"hash"`
	LoggedAt string `json:"logged_at"`
	// Event is the event, byte for byte as it was hashed.
	Event json.RawMessage `json:"event"`
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

// End says which record is the last: without it an export is not whole.
func (x *Writer) End(seq int64) error {
	x.line(line{End: &seq})
	return x.b.Flush()
}

// Flush sends what was written so far.
func (x *Writer) Flush() error { return x.b.Flush() }

func (x *Writer) line(l line) {
	text, _ := json.Marshal(l) // of texts and numbers, which always can be
	_, _ = x.b.Write(append(text, '\n'))
}

// maxLine bounds a line of an export: an event is at most as long as the bus
// takes, and written once.
const maxLine = 1 << 20

// ErrCut says that an export ends before its end: it was cut, or is still being written.
var ErrCut = errors.New("audit: the export has no last line: it was cut off")

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
	lines.Buffer(make([]byte, 64<<10), maxLine)
	ended := false
	n := 0
	for lines.Scan() {
		n++
		if len(lines.Bytes()) == 0 {
			continue
		}
		if ended {
			return fmt.Errorf("line %d: stands behind the end", n)
		}
		var err error
		if ended, err = h.read(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	if !ended && h.Record != nil {
		return ErrCut
	}
	return nil
}

// read reads one line and tells whether it is the end.
func (h Handler) read(text []byte) (end bool, err error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return false, err
	}
	switch {
	case l.End != nil:
		return true, nil
	case l.Key != "":
		key, err := ParsePublicKey(l.Key)
		if err != nil || h.Key == nil {
			return false, err
		}
		return false, h.Key(key)
	case l.Checkpoint != nil:
		c, err := l.Checkpoint.checkpoint()
		if err != nil || h.Checkpoint == nil {
			return false, err
		}
		return false, h.Checkpoint(c)
	case l.Record != nil:
		r, err := l.Record.record()
		if err != nil || h.Record == nil {
			return false, err
		}
		return false, h.Record(r)
	}
	return false, errors.New("it is no line of an export")
}

func (l *lineRecord) record() (Record, error) {
	r := Record{Seq: l.Seq, EventID: l.EventID, Type: l.Type, Subject: l.Subject, Payload: l.Event}
	var err error
	if r.Former, err = ParseHash(l.Former); err != nil {
		return r, err
	}
	if r.Hash, err = ParseHash(l.Hash); err != nil {
		return r, err
	}
	r.LoggedAt, err = time.Parse(time.RFC3339Nano, l.LoggedAt)
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
