package webhook

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Endpoint is a configured web_hook. Printed or logged, it shows its name only,
// since URL and headers may hold credentials.
type Endpoint struct {
	// ID is the label that the configuration gives, or empty.
	ID string
	// URL is absolute, http or https; Method is POST when empty.
	URL, Method string
	Header      http.Header
	// Body is a Jsonnet function of ctx; empty means a request without a body.
	Body string
	Auth Auth
	// Ignore (run from the event), Parse (its answer may change the identity) and
	// CanInterrupt (its answer may refuse) say when it runs.
	Ignore, Parse, CanInterrupt bool
}

// Auth is how an endpoint knows us.
type Auth struct {
	// Type is empty, "api_key" or "basic_auth".
	Type string
	// Name and Value are the key; In is "header" (also when empty) or "cookie".
	Name  string
	Value Secret
	In    string
	// User and Password are for basic_auth.
	User     string
	Password Secret
}

// The values of [Auth.Type].
const (
	apiKey    = "api_key"
	basicAuth = "basic_auth"
)

// longestLabel keeps names short enough for a durable consumer.
const longestLabel = 48

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// Name is what the endpoint is called in plans, logs and metrics, and the name
// of its durable consumer: "webhook-" and its ID in lower-kebab, or a digest of
// its URL if it has none.
func (e Endpoint) Name() string {
	label := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(e.ID), "-"), "-")
	if label == "" || len(label) > longestLabel {
		sum := sha256.Sum256([]byte(cmp.Or(e.ID, e.URL)))
		label = hex.EncodeToString(sum[:6])
	}
	return "webhook-" + label
}

// Format shows the name only, whatever the verb.
func (e Endpoint) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.Name())) }

// LogValue shows the name only.
func (e Endpoint) LogValue() slog.Value { return slog.StringValue(e.Name()) }

// check says what is wrong with e, without showing its URL or credentials.
func (e Endpoint) check() error {
	u, err := url.Parse(e.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("url: want an absolute http or https URL")
	}
	if e.Ignore && (e.Parse || e.CanInterrupt) {
		return errors.New("response.ignore excludes response.parse and can_interrupt")
	}
	if !fits(e.Method) {
		return fmt.Errorf("method %q: want an HTTP method", e.Method)
	}
	for name, values := range e.Header {
		if !fits(name) || !fits(values...) {
			return fmt.Errorf("header %q cannot be sent", name)
		}
	}
	return e.Auth.check()
}

func (a Auth) check() error {
	switch a.Type {
	case "":
		return nil
	case basicAuth:
		if a.User == "" {
			return errors.New("auth: basic_auth wants a user")
		}
		return nil
	case apiKey:
		if a.Name == "" || !fits(a.Name, a.Value.Reveal()) {
			return errors.New("auth: api_key wants a name and a value on one line")
		}
		if a.In != "" && a.In != "header" && a.In != "cookie" {
			return fmt.Errorf("auth: in %q: want header or cookie", a.In)
		}
		return nil
	default:
		return fmt.Errorf("auth: type %q: want api_key or basic_auth", a.Type)
	}
}

// sign adds the credential to a request.
func (a Auth) sign(r *http.Request) {
	switch {
	case a.Type == basicAuth:
		r.SetBasicAuth(a.User, a.Password.Reveal())
	case a.Type == apiKey && a.In == "cookie":
		r.AddCookie(&http.Cookie{Name: a.Name, Value: a.Value.Reveal()})
	case a.Type == apiKey:
		r.Header.Set(a.Name, a.Value.Reveal())
	}
}

// fits tells whether texts can stand in the head of an HTTP request.
func fits(texts ...string) bool {
	for _, t := range texts {
		if strings.ContainsAny(t, "\r\n\x00") {
			return false
		}
	}
	return true
}

// Secret is a credential of an endpoint. However it is printed or encoded it
// shows as "[secret]".
type Secret struct{ text *string }

// NewSecret hides a text.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal gives the text, "" for the zero Secret. It is for whoever signs with it, or seals it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Format hides the secret whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalJSON hides the secret.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"[secret]"`), nil }
