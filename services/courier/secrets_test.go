package courier_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
)

// TestNothingPrintsASecret prints all types in all ways, and looks for what only
// the recipient or the mail server may see.
func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	secret := courier.NewSecret("canary-123456")
	server, err := courier.ParseSMTP("smtp://ada:canary-123456@mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	options := courier.SMTPOptions{Server: server, FromAddress: "no-reply@example.com"}
	content := courier.Content{Subject: secret, Plain: secret, HTML: secret, Data: secret}
	message := courier.Message{ID: uuid.New(), Content: content}
	s, _ := newMemory(t)
	for _, v := range []any{
		secret, &secret, content, &content, message, &message,
		[]courier.Message{message},
		courier.Code{Text: secret},
		&courier.Code{Text: secret},
		map[string]courier.Code{"a": {Text: secret}},
		struct{ hidden courier.Secret }{secret},
		struct{ hidden courier.Code }{courier.Code{Text: secret}},
		server, &server, options, &options, newSMTP(t, options), newService(t, s, newSMTP(t, options)),
		newTemplates(t, courier.TemplateOptions{}),
		courier.Mailbox{},
		courier.Request{},
		courier.Recipient{},
		&courier.Refused{Err: errBroken}, &courier.Deferred{Err: errBroken},
	} {
		var logged bytes.Buffer
		slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "v", v)
		encoded, _ := json.Marshal(v)
		printed := fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v)
		for _, out := range []string{printed, logged.String(), string(encoded)} {
			if strings.Contains(out, "canary") || strings.Contains(out, "63616e617279") {
				t.Errorf("%T shows its secret: %s", v, out)
			}
		}
	}
}

func TestMailboxSaysTheCodeInOneLine(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	s, r := newMemory(t)
	c := newService(t, s, courier.Mailbox{Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))})
	c.KeepContent, c.NotifyUnknown = true, map[flow.Kind]bool{flow.Verification: true}
	if err := c.Write(t.Context(), r); err != nil {
		t.Fatalf("Verification = %v, want nil", err)
	}
	text := s.codes[0].Text.Reveal()
	if want := "level=INFO msg=mail to=ada@example.com template=verification_code_valid code=" + text + "\n"; logged.String() != want {
		t.Errorf("log = %q, want %q", logged.String(), want)
	}
	if m := s.only(); m.Status != courier.Sent || !strings.Contains(m.Content.Plain.Reveal(), text) {
		t.Errorf("message = %+v, want it sent, with its content", m)
	}

	logged.Reset()
	r.EventID, s.recipient.IdentityID = uuid.New(), uuid.Nil
	if err := c.Write(t.Context(), r); err != nil {
		t.Fatalf("Verification = %v, want nil", err)
	}
	if want := "level=INFO msg=mail to=ada@example.com template=verification_code_invalid\n"; logged.String() != want {
		t.Errorf("log = %q, want %q", logged.String(), want)
	}
}
