package app

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

	"github.com/usher-auth/usher/services/audit"
)

// sink takes checkpoints, the same one again after a failure.
type sink interface {
	// last gives the seq of the last checkpoint that it has taken.
	last(ctx context.Context) (int64, error)
	send(ctx context.Context, c audit.Checkpoint, keys []audit.PublicKey) error
	close() error
}

// openSink is the sink that is configured now; the zero one is closed.
type openSink struct {
	text string
	to   sink  // nil for none
	last int64 // seq of the last checkpoint that it has taken
}

// open opens what text says, unless that is open.
func (o *openSink) open(ctx context.Context, text string, log auditLog) error {
	if o.to != nil && o.text == text {
		return nil
	}
	o.close()
	if text == "" {
		return nil
	}
	var to sink = newURLSink(text, log)
	if filepath.IsAbs(text) {
		file, err := audit.OpenFile(text)
		if err != nil {
			return err
		}
		to = fileSink{file}
	}
	last, err := to.last(ctx)
	if err != nil {
		return errors.Join(err, to.close())
	}
	*o = openSink{text, to, last}
	return nil
}

func (o *openSink) close() {
	if o.to != nil {
		_ = o.to.close() // all that it took is on the disk
	}
	*o = openSink{}
}

type fileSink struct{ *audit.File }

func (f fileSink) last(context.Context) (int64, error) { return f.Last(), nil }

func (f fileSink) send(_ context.Context, c audit.Checkpoint, keys []audit.PublicKey) error {
	return f.Append(c, keys)
}

func (f fileSink) close() error { return f.Close() }

// urlSink posts each checkpoint as a line of an export. What the URL has taken is
// kept in the database, so that it gets all that was signed while it was away,
// whoever leads by then.
type urlSink struct {
	url    string
	log    auditLog
	client *http.Client
}

func newURLSink(url string, log auditLog) urlSink {
	return urlSink{url, log, &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// name is of the sink in the database: a digest of the URL without what is
// replaced now and then, and what could be guessed from it.
func (u urlSink) name() string {
	place := u.url
	if parsed, err := url.Parse(place); err == nil {
		place = parsed.Scheme + "://" + parsed.Host + parsed.EscapedPath()
	}
	digest := sha256.Sum256([]byte(place))
	return hex.EncodeToString(digest[:])
}

// last is one that is saved from the first time on: a URL that is new begins
// with the last checkpoint, which vouches for all before it.
func (u urlSink) last(ctx context.Context) (int64, error) {
	seq, known, err := u.log.CheckpointsTaken(ctx, u.name())
	if err != nil || known {
		return seq, err
	}
	c, err := u.log.LastCheckpoint(ctx)
	if err != nil {
		return 0, err
	}
	seq = max(c.Seq-1, 0)
	return seq, u.log.SaveCheckpointsTaken(ctx, u.name(), seq)
}

func (u urlSink) send(ctx context.Context, c audit.Checkpoint, _ []audit.PublicKey) error {
	if err := u.post(ctx, c); err != nil {
		return err
	}
	return u.log.SaveCheckpointsTaken(ctx, u.name(), c.Seq)
}

func (u urlSink) post(ctx context.Context, c audit.Checkpoint) error {
	var body bytes.Buffer
	w := audit.NewWriter(&body, nil)
	w.Checkpoint(c)
	_ = w.Flush() // to memory
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, &body)
	if err != nil {
		return errors.New("the URL is none")
	}
	req.Header.Set("Content-Type", audit.ExportType)
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

func (u urlSink) close() error {
	u.client.CloseIdleConnections()
	return nil
}
