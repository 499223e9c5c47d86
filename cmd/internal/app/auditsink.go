package app

import (
	"bytes"
	"context"
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
	send(ctx context.Context, c audit.Checkpoint, keys []audit.PublicKey) error
	close() error
}

// openSink is the sink that is configured now; the zero one is closed.
type openSink struct {
	text string
	to   sink  // nil for none
	last int64 // seq of the last checkpoint that it has taken
}

// open opens what text says, unless that is open. A URL is sent the last
// checkpoint again: whether it has it nobody knows.
func (o *openSink) open(ctx context.Context, text string, log auditLog) error {
	if o.to != nil && o.text == text {
		return nil
	}
	o.close()
	if text == "" {
		return nil
	}
	if filepath.IsAbs(text) {
		file, err := audit.OpenFile(text)
		if err != nil {
			return err
		}
		o.to, o.last = fileSink{file}, file.Last()
	} else {
		c, err := log.LastCheckpoint(ctx)
		if err != nil {
			return err
		}
		o.to, o.last = newURLSink(text), c.Seq-1
	}
	o.text = text
	return nil
}

func (o *openSink) close() {
	if o.to != nil {
		_ = o.to.close() // all that it took is on the disk
	}
	*o = openSink{}
}

type fileSink struct{ *audit.File }

func (f fileSink) send(_ context.Context, c audit.Checkpoint, keys []audit.PublicKey) error {
	return f.Append(c, keys)
}

func (f fileSink) close() error { return f.Close() }

// urlSink posts each checkpoint as a line of an export.
type urlSink struct {
	url    string
	client *http.Client
}

func newURLSink(url string) urlSink {
	return urlSink{url, &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (u urlSink) send(ctx context.Context, c audit.Checkpoint, _ []audit.PublicKey) error {
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
