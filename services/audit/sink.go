package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"time"
)

// Sink sends checkpoints to where nobody who can write to the database can
// write: a file, or a URL, which gets a POST for each. All of Log is needed. It
// is used by one goroutine of the process that leads.
type Sink struct {
	Log SinkLog

	where string
	to    place // nil: it is closed
	last  int64 // seq of the last checkpoint that it has taken
}

// SinkLog is what a sink needs of a log.
type SinkLog interface {
	// Checkpoints gives at most limit checkpoints behind the given seq, by seq.
	Checkpoints(ctx context.Context, after int64, limit int) ([]Checkpoint, error)
	LastCheckpoint(ctx context.Context) (Checkpoint, error)
	AuditKeys(ctx context.Context) ([]PublicKey, error)
	// CheckpointsTaken gives the seq of the last checkpoint that a place has taken;
	// false when nothing was saved of it.
	CheckpointsTaken(ctx context.Context, place string) (seq int64, known bool, err error)
	SaveCheckpointsTaken(ctx context.Context, place string, seq int64) error
}

// Send sends what the place, an absolute path or a URL, has not taken yet, in
// order, and tells how many it has taken. After an error it goes on there; a
// checkpoint may then come twice. No place at all is sent nothing. No error
// shows a URL.
func (s *Sink) Send(ctx context.Context, where string) (n int, err error) {
	if err := s.open(ctx, where); err != nil || s.to == nil {
		return 0, err
	}
	for {
		page, err := s.Log.Checkpoints(ctx, s.last, 100)
		if err != nil || len(page) == 0 {
			return n, err
		}
		keys, err := s.Log.AuditKeys(ctx)
		if err != nil {
			return n, err
		}
		for _, c := range page {
			if err := s.to.send(ctx, c, keys); err != nil {
				s.Close() // it is opened anew
				return n, fmt.Errorf("checkpoint of record %d: %w", c.Seq, err)
			}
			s.last = c.Seq
			n++
		}
	}
}

// open opens the place, unless that is open.
func (s *Sink) open(ctx context.Context, where string) error {
	if s.to != nil && s.where == where {
		return nil
	}
	s.Close()
	if where == "" {
		return nil
	}
	var to place = newURLPlace(where, s.Log)
	if filepath.IsAbs(where) {
		file, err := OpenFile(where)
		if err != nil {
			return err
		}
		to = filePlace{file}
	}
	last, err := to.last(ctx)
	if err != nil {
		return errors.Join(err, to.close())
	}
	s.where, s.to, s.last = where, to, last
	return nil
}

// Close lets another process have the place. Send opens it again.
func (s *Sink) Close() {
	if s.to != nil {
		_ = s.to.close() // all that it took is on the disk
	}
	s.where, s.to, s.last = "", nil, 0
}

// place takes checkpoints, the same one again after a failure.
type place interface {
	// last gives the seq of the last checkpoint that it has taken.
	last(ctx context.Context) (int64, error)
	send(ctx context.Context, c Checkpoint, keys []PublicKey) error
	close() error
}

type filePlace struct{ *File }

func (f filePlace) last(context.Context) (int64, error) { return f.Last(), nil }

func (f filePlace) send(_ context.Context, c Checkpoint, keys []PublicKey) error {
	return f.Append(c, keys)
}

func (f filePlace) close() error { return f.Close() }

// urlPlace posts each checkpoint as a line of an export. What the URL has taken is
// kept in the database, so that it gets all that was signed while it was away,
// whoever leads by then.
type urlPlace struct {
	url    string
	log    SinkLog
	client *http.Client
}

func newURLPlace(url string, log SinkLog) urlPlace {
	return urlPlace{url, log, &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// name is of the place in the database: a digest of the URL without what is
// replaced now and then, and what could be guessed from it.
func (u urlPlace) name() string {
	place := u.url
	if parsed, err := url.Parse(place); err == nil {
		place = parsed.Scheme + "://" + parsed.Host + parsed.EscapedPath()
	}
	digest := sha256.Sum256([]byte(place))
	return hex.EncodeToString(digest[:])
}

// last is one that is saved from the first time on: a URL that is new begins
// with the last checkpoint, which vouches for all before it. A number that no
// checkpoint has would silence the sink: it is said, and what is sent begins anew.
func (u urlPlace) last(ctx context.Context) (int64, error) {
	seq, known, err := u.log.CheckpointsTaken(ctx, u.name())
	if err != nil {
		return 0, err
	}
	c, err := u.log.LastCheckpoint(ctx)
	if err != nil {
		return 0, err
	}
	if known && seq <= c.Seq {
		return seq, nil
	}
	begin := max(c.Seq-1, 0)
	if err := u.log.SaveCheckpointsTaken(ctx, u.name(), begin); err != nil {
		return 0, err
	}
	if known {
		return 0, fmt.Errorf("the database says that checkpoints up to record %d were taken, and the last one is of record %d: somebody has changed it; they are sent again from there on", seq, c.Seq)
	}
	return begin, nil
}

func (u urlPlace) send(ctx context.Context, c Checkpoint, _ []PublicKey) error {
	if err := u.post(ctx, c); err != nil {
		return err
	}
	return u.log.SaveCheckpointsTaken(ctx, u.name(), c.Seq)
}

func (u urlPlace) post(ctx context.Context, c Checkpoint) error {
	var body bytes.Buffer
	w := NewWriter(&body, nil)
	w.Checkpoint(c)
	_ = w.Flush() // to memory
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, &body)
	if err != nil {
		return errors.New("the URL is none")
	}
	req.Header.Set("Content-Type", ExportType)
	resp, err := u.client.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the URL, which may hold a secret
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

func (u urlPlace) close() error {
	u.client.CloseIdleConnections()
	return nil
}
