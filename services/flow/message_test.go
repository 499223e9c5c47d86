package flow_test

import (
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

type context = map[string]any

func TestMessages(t *testing.T) {
	t.Parallel()
	rule := func(rule string, c context) flow.Message {
		return flow.FromViolation(identity.Violation{Node: "traits.x", Rule: rule, Context: c})
	}
	for _, test := range []struct {
		got     flow.Message
		id      int64
		context string
		text    string // a part of it
	}{
		{flow.Generic("It is so."), 4000001, `{"reason":"It is so."}`, "It is so."},
		{flow.Missing("email"), 4000002, `{"property":"email"}`, "email"},
		{flow.IdentifierTaken(), 4000007, ``, "already"},
		{flow.LinkConflict(), 4000027, ``, "another account"},
		{flow.LinkMismatch(), 4010009, ``, "another account"},
		{flow.NoIdentifier(), 4000009, ``, "sign in with"},
		{flow.NoStrategy(flow.Login), 4010002, ``, "sign in"},
		{flow.NoStrategy(flow.Registration), 4010003, ``, "sign up"},
		{flow.NoStrategy(flow.Verification), 4010006, ``, "verify"},
		{flow.WrongCredentials(), 4000006, ``, "wrong"},
		{flow.AddressNotVerified(), 4000010, ``, "verify"},
		{flow.LinkMismatch(), 4010009, ``, "another account"},
		{flow.Disabled(), 4010011, ``, "disabled"},
		{flow.WrongCode(flow.Verification), 4070006, ``, "code"},
		{flow.PassedAlready(flow.Verification), 4070002, ``, "already"},
		{flow.WrongLink(flow.Verification), 4070001, ``, "link"},
		{flow.WrongCode(flow.Recovery), 4060006, ``, "code"},
		{flow.WrongLink(flow.Recovery), 4060004, ``, "link"},
		{flow.PassedAlready(flow.Recovery), 4060001, ``, "already"},
		{flow.PasswordUnchanged(), 4000039, ``, "already"},
		{flow.NoStrategy(flow.Recovery), 4010005, ``, "recover"},
		{flow.Expired(flow.Recovery, time.Unix(1767225600, 0)), 4060005, `{"expired_at":"2026-01-01T00:00:00Z","expired_at_unix":1767225600}`, "recovery has expired"},
		{flow.Expired(flow.Login, time.Unix(1767225600, 0)), 4010001, `{"expired_at":"2026-01-01T00:00:00Z","expired_at_unix":1767225600}`, "login has expired"},
		{flow.Expired(flow.Verification, time.Unix(1767225600, 0)), 4070005, `{"expired_at":"2026-01-01T00:00:00Z","expired_at_unix":1767225600}`, "verification has expired"},
		{flow.Expired(flow.Registration, time.Unix(1767225600, 0)), 4040001, `{"expired_at":"2026-01-01T00:00:00Z","expired_at_unix":1767225600}`, "expired"},

		{rule("required", context{"property": "x"}), 4000002, `{"property":"x"}`, "fill in x"},
		{rule("minLength", context{"min_length": 3, "actual_length": 1}), 4000003, `{"actual_length":1,"min_length":3}`, "at least 3, but is 1"},
		{rule("maxLength", context{"max_length": 3, "actual_length": 4}), 4000017, `{"actual_length":4,"max_length":3}`, "at most 3, but is 4"},
		{rule("pattern", context{"pattern": "^{a}$"}), 4000004, `{"pattern":"^{a}$"}`, "^{a}$"},
		{rule("format", context{"pattern": "uri"}), 4000004, `{"pattern":"uri"}`, "uri"},
		{rule("minimum", context{"minimum": 18.0, "actual": 17.5}), 4000018, `{"actual":17.5,"minimum":18}`, "18 or more, but is 17.5"},
		{rule("exclusiveMinimum", context{"minimum": 0.0, "actual": 0.0}), 4000019, `{"actual":0,"minimum":0}`, "more than 0"},
		{rule("maximum", context{"maximum": 1.0, "actual": 2.0}), 4000020, `{"actual":2,"maximum":1}`, "1 or less"},
		{rule("exclusiveMaximum", context{"maximum": 1.0, "actual": 1.0}), 4000021, `{"actual":1,"maximum":1}`, "less than 1"},
		{rule("multipleOf", context{"base": 2.0, "actual": 3.0}), 4000022, `{"actual":3,"base":2}`, "multiple of 2"},
		{rule("maxItems", context{"max_items": 1, "actual_items": 2}), 4000023, `{"actual_items":2,"max_items":1}`, "At most 1"},
		{rule("minItems", context{"min_items": 2, "actual_items": 1}), 4000024, `{"actual_items":1,"min_items":2}`, "At least 2"},
		{rule("uniqueItems", context{"index_a": 0, "index_b": 1}), 4000025, `{"index_a":0,"index_b":1}`, "0 and 1"},
		{rule("type", context{"allowed_types": []string{"string", "null"}, "actual_type": "number"}), 4000026, `{"actual_type":"number","allowed_types":["string","null"]}`, "null or string, but is number"},
		{rule("const", context{"expected": true}), 4000029, `{"expected":true}`, "true"},
		{rule("email", context{"value": "x"}), 4000040, `{"value":"x"}`, "email"},
		{rule("tel", context{"value": "x"}), 4000041, `{"value":"x"}`, "phone"},
		{rule("unknown", context{"reason": "No."}), 4000001, `{"reason":"No."}`, "No."},
		{rule("enum", context{"reason": "One of."}), 4000001, `{"reason":"One of."}`, "One of."},
		{rule("reason", context{"reason": "Why."}), 4000001, `{"reason":"Why."}`, "Why."},
		{rule("newer", nil), 4000001, `{"reason":"The rule \"newer\" of the identity schema is broken."}`, "newer"},

		{flow.FromPassword("min_length", context{"min_length": 8, "actual_length": 5}), 4000032, `{"actual_length":5,"min_length":8}`, "at least 8"},
		{flow.FromPassword("max_length", context{"max_length": 72, "actual_length": 80}), 4000033, `{"actual_length":80,"max_length":72}`, "at most 72"},
		{flow.FromPassword("similar", nil), 4000031, ``, "too close"},
		{flow.FromPassword("listed", context{"breaches": 1}), 4000034, `{"breaches":1}`, "breaches"},
		{flow.FromPassword("reason", context{"reason": "it is a sequence"}), 4000005, `{"reason":"it is a sequence"}`, ": it is a sequence."},
	} {
		m := test.got
		if m.ID != test.id || m.Type != "error" || string(m.Context) != test.context || !strings.Contains(m.Text, test.text) {
			t.Errorf("message = %d %s %q %s, want %d error %q %s", m.ID, m.Type, m.Text, m.Context, test.id, test.text, test.context)
		}
		if strings.Contains(strings.ReplaceAll(m.Text, "^{a}$", ""), "{") {
			t.Errorf("message %d = %q, want nothing left to fill in", m.ID, m.Text)
		}
	}
}

// What people entered cannot make a message say something else.
func TestMessageDoesNotFillInTwice(t *testing.T) {
	t.Parallel()
	m := flow.FromViolation(identity.Violation{Rule: "minimum", Context: context{"minimum": "{actual}", "actual": "{minimum}"}})
	if want := "Must be {actual} or more, but is {minimum}."; m.Text != want {
		t.Errorf("text = %q, want %q", m.Text, want)
	}
}
