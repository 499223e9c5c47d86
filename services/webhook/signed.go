package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/tracing"
)

const (
	// MaxMessage is the largest body that a signed endpoint is sent, in bytes.
	MaxMessage = 20_000
	// secretPrefix begins a signing secret, behind which are secretBytes, or for
	// one that others made fewestBytes to mostBytes, in base64.
	secretPrefix           = "whsec_"
	secretBytes            = 32
	fewestBytes, mostBytes = 24, 64
	// maxDrained is how much of an answer is read so that its connection can be
	// used again. What it says does not matter.
	maxDrained = 64 << 10
)

// ErrLarge says that a message is over [MaxMessage]; no endpoint is sent it.
var ErrLarge = fmt.Errorf("message is over %d bytes", MaxMessage)

// Signed is an endpoint that is called as Standard Webhooks say.
type Signed struct {
	Name, URL string
	// Secrets sign, each of them: two while they rotate.
	Secrets []Secret
}

// SignedMessage is what a signed endpoint is sent. Its ID is the endpoint's
// idempotency key, and the same at each attempt.
type SignedMessage struct {
	ID          string
	ContentType string
	Body        []byte
	// TraceParent is passed on, if there is one and the attempt is not traced itself.
	TraceParent string
}

// MessageOf gives an event as endpoints are sent it: as it is on the bus.
func MessageOf(e events.Event) (SignedMessage, error) {
	body, err := e.Encode()
	if err != nil {
		return SignedMessage{}, fmt.Errorf("encode event: %w", err)
	}
	return SignedMessage{ID: e.ID, ContentType: events.ContentType, Body: body, TraceParent: e.TraceParent}, nil
}

// NewSigningSecret makes a secret that nobody has: "whsec_" and 32 random bytes in base64.
func NewSigningSecret() Secret {
	key := make([]byte, secretBytes)
	_, _ = rand.Read(key) // never fails
	return NewSecret(secretPrefix + base64.StdEncoding.EncodeToString(key))
}

// CheckSigningSecret says what is wrong with a secret that others made, without showing it.
func CheckSigningSecret(s Secret) error {
	text, ok := strings.CutPrefix(s.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < fewestBytes || len(key) > mostBytes {
		return fmt.Errorf("want %s and %d to %d random bytes in base64", secretPrefix, fewestBytes, mostBytes)
	}
	return nil
}

// CheckURL says what is wrong with the URL of a signed endpoint, without showing it.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("url: want an absolute http or https URL")
	case u.User != nil:
		return errors.New("url: it holds a user or password; the signature is what the endpoint knows us by")
	case u.Fragment != "":
		return errors.New("url: a fragment (#…) is never sent")
	}
	return nil
}

// Send makes one attempt at a signed endpoint. Any answer but 2xx is a
// [*Failed], a redirect too; status is 0 if there was none. Addresses that are
// not on the public internet are refused unless [Options] let them through.
func (c *Client) Send(ctx context.Context, to Signed, m SignedMessage) (status int, err error) {
	if len(m.Body) > MaxMessage {
		return 0, &Failed{Endpoint: to.Name, Err: ErrLarge}
	}
	got, err := c.attempt(ctx, to.Name, c.timeout, func(ctx context.Context) (answer, error) {
		r, err := to.request(ctx, m, c.now())
		if err != nil {
			return answer{}, err
		}
		return c.exchangeSigned(r)
	})
	if err == nil && !got.ok() {
		err = got.failed(to.Name)
	}
	return got.status, err
}

func (c *Client) exchangeSigned(r *http.Request) (answer, error) {
	client := c.guarded
	if c.openSigned || matches(c.exceptions, r.URL.String()) {
		client = c.open
	}
	return c.head(client, r)
}

// head makes a request and looks at the head of the answer only.
func (c *Client) head(client *http.Client, r *http.Request) (answer, error) {
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxDrained)
	a := answer{status: response.StatusCode}
	if !a.ok() {
		a.retryAfter = retryAfter(response.Header.Get("Retry-After"), c.now())
	}
	return a, nil
}

// request signs a message for an attempt that is made now.
func (s Signed) request(ctx context.Context, m SignedMessage, now time.Time) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(m.Body))
	if err != nil {
		return nil, errors.New("url: it cannot be called") // err shows it
	}
	signatures, err := s.sign(m, now)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "usher")
	r.Header.Set("Content-Type", m.ContentType)
	if parent := tracing.Parent(ctx, m.TraceParent); parent != "" {
		r.Header.Set("Traceparent", parent)
	}
	r.Header.Set(standardwebhooks.HeaderWebhookID, m.ID)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signatures)
	return r, nil
}

// sign gives the signatures of all secrets, the newest first.
func (s Signed) sign(m SignedMessage, now time.Time) (string, error) {
	if len(s.Secrets) == 0 {
		return "", errors.New("it has no signing secret")
	}
	signatures := make([]string, len(s.Secrets))
	for n, secret := range s.Secrets {
		signer, err := standardwebhooks.NewWebhook(secret.Reveal())
		if err == nil {
			signatures[n], err = signer.Sign(m.ID, now, m.Body)
		}
		if err != nil {
			return "", errors.New("a signing secret cannot be used") // err may show it
		}
	}
	return strings.Join(signatures, " "), nil
}
