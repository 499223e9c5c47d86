package flow_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

func TestNewVerification(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 13, 0, 0, 123456789, time.FixedZone("", 3600))
	from := flow.Flow{
		ID: uuid.New(), Kind: flow.Registration, Type: flow.Browser, State: flow.ChooseMethod, Active: "password", SchemaID: "person",
		RequestURL: "https://id.example.org/registration", ReturnTo: "https://app.example.org/", AfterVerificationReturnTo: "https://app.example.org/hello",
		Languages: "de", CSRF: []byte{1}, Refresh: true, Form: flow.Form{Values: map[string]any{"traits.email": "a@example.org"}},
	}
	got := flow.NewVerification(from, "anna@example.org", flow.MethodCode, now, time.Hour)
	at := time.Date(2026, 11, 24, 12, 0, 0, 123456000, time.UTC)
	want := &flow.Flow{
		ID: got.ID, Kind: flow.Verification, Type: flow.Browser, State: flow.SentEmail, Active: "code",
		RequestURL: from.RequestURL, ReturnTo: from.ReturnTo, Languages: "de", CSRF: from.CSRF,
		Form: flow.Form{Values: map[string]any{"email": "anna@example.org"}}, IssuedAt: at, ExpiresAt: at.Add(time.Hour),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flow (-want +got):\n%s", diff)
	}
	if got.ID == from.ID || got.ID.Version() != 4 {
		t.Errorf("id = %s, want a random one of its own", got.ID)
	}
}
