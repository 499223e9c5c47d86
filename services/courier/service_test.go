package courier_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
)

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// Nobody can have an address flooded, nor get tries at ever new codes for it.
func TestAnAddressGetsSoManyMails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		times int
		ago   time.Duration
		want  int
	}{
		"nine within the hour":     {9, 59 * time.Minute, 1},
		"ten within the hour":      {10, 59 * time.Minute, 0},
		"ten before it":            {10, 61 * time.Minute, 1},
		"twenty-nine in a day":     {29, 23 * time.Hour, 1},
		"thirty in a day":          {30, 23 * time.Hour, 0},
		"thirty of the day before": {30, 25 * time.Hour, 1},
	} {
		s, r := newMemory(t)
		for range c.times {
			s.mailed = append(s.mailed, now.Add(-c.ago))
		}
		out := &sender{}
		if err := newService(t, s, out).Write(t.Context(), r); err != nil {
			t.Errorf("%s: Verification = %v, want nil", name, err)
		}
		if len(out.got) != c.want || len(s.codes) != c.want {
			t.Errorf("%s: %d mails, %d codes, want %d", name, len(out.got), len(s.codes), c.want)
		}
	}
}

// A code that was asked for before the account was recovered is not written, and counted.
func TestOutdated(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	s.secured = r.At.Add(time.Microsecond)
	out, observed := &sender{}, map[string]int{}
	c := newService(t, s, out)
	c.Observe = func(outcome string) { observed[outcome]++ }
	if err := c.Write(t.Context(), r); err != nil || len(out.got) > 0 || len(s.messages) > 0 || observed[courier.ObservedOutdated] != 1 {
		t.Errorf("Write = %v, %d mails, %d messages, observed %v, want none and it counted", err, len(out.got), len(s.messages), observed)
	}
}

func TestVerificationSendsTheCodeOfTheFlow(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	out := &sender{}
	if err := newService(t, s, out).Write(t.Context(), r); err != nil {
		t.Fatalf("Verification = %v, want nil", err)
	}
	if len(out.got) != 1 || len(s.codes) != 1 {
		t.Fatalf("%d messages sent, %d codes stored, want 1, 1", len(out.got), len(s.codes))
	}
	m, code := out.got[0], s.codes[0]
	if m.Recipient != "ada@example.com" || m.Template != "verification_code_valid" || m.EventID != r.EventID ||
		m.IdentityID != s.recipient.IdentityID || m.Status != courier.Queued || !m.ExpiresAt.Equal(now.Add(time.Hour)) {
		t.Errorf("message = %+v, want a queued one to the recipient", m)
	}
	if code.FlowID != r.FlowID || code.IdentityID != m.IdentityID || code.AddressID != s.recipient.AddressID || !code.ExpiresAt.Equal(m.ExpiresAt) || code.AskedAt != r.At {
		t.Errorf("code = %+v, want the flow's and the recipient's", code)
	}
	text, plain := code.Text.Reveal(), m.Content.Plain.Reveal()
	found := sixDigits.FindAllString(plain, -1)
	if len(found) != 2 || found[0] != text || found[1] != text {
		t.Errorf("six digits in the plain body = %q, want %q, alone and in the link", found, text)
	}
	link := "https://id.example.com/self-service/verification?code=" + text + "&flow=" + r.FlowID.String()
	if !strings.Contains(plain, "\n"+link+"\n") {
		t.Errorf("plain body = %s, want a line %s", plain, link)
	}
	if page := m.Content.HTML.Reveal(); !strings.Contains(page, `href="`+strings.ReplaceAll(link, "&", "&amp;")+`"`) || !strings.Contains(page, ">"+text+"<") {
		t.Errorf("HTML = %s, want the code and the link", page)
	}
	if !strings.Contains(m.Content.Subject.Reveal(), text) || !strings.Contains(plain, "valid for 60 minutes.") {
		t.Errorf("subject %q, plain body %s, want the code, 60 minutes", m.Content.Subject.Reveal(), plain)
	}

	stored := s.only()
	if stored.Status != courier.Sent || stored.Attempts != 1 || stored.Content != (courier.Content{}) {
		t.Errorf("stored message = %+v, want one sent at the first attempt, without content", stored)
	}
	checkEvent(t, s, "mail.sent", `{"message_id":"`+m.ID.String()+`","template":"verification_code_valid","attempts":1}`)
	e := s.events[0]
	if e.Subject != m.IdentityID.String() || e.Source != "/usher/courier" || e.Actor != "system:courier" ||
		e.RequestID != r.RequestID || e.TraceParent != r.TraceParent {
		t.Errorf("event = %+v, want the courier's, about the person, of the request", e)
	}
}

// checkEvent wants exactly one event of a type, with the data.
func checkEvent(t *testing.T, s *memory, eventType, data string) {
	t.Helper()
	if len(s.events) != 1 || s.events[0].Type != eventType || string(s.events[0].Data) != data {
		t.Errorf("events = %+v, want one %s with %s", s.events, eventType, data)
	}
}

func TestVerificationWritesOnlyToThoseItShould(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*courier.Service, *memory)
		want   string // template; empty for no message
		expiry time.Duration
	}{
		"somebody":   {func(*courier.Service, *memory) {}, courier.VerificationCode, time.Hour},
		"short code": {func(c *courier.Service, _ *memory) { c.CodeLifespan = 10 * time.Minute }, courier.VerificationCode, 10 * time.Minute},
		"short flow": {func(_ *courier.Service, s *memory) { s.recipient.FlowExpiresAt = now.Add(time.Minute) }, courier.VerificationCode, time.Minute},
		"by link": {func(c *courier.Service, s *memory) {
			s.recipient.Purpose, c.LinkLifespan = flow.VerifyByLink, 20*time.Minute
		}, "verification_valid", 20 * time.Minute},
		"recovery":         {func(_ *courier.Service, s *memory) { s.recipient.Purpose = flow.RecoverByCode }, "recovery_code_valid", time.Hour},
		"recovery by link": {func(_ *courier.Service, s *memory) { s.recipient.Purpose = flow.RecoverByLink }, "recovery_valid", time.Hour},
		"nobody's recovery": {func(c *courier.Service, s *memory) {
			s.recipient.IdentityID, s.recipient.Traits, c.NotifyUnknown = uuid.Nil, nil, map[flow.Kind]bool{flow.Verification: true}
			s.recipient.Purpose = flow.RecoverByCode
		}, "", 0},
		"nobody's recovery, told": {func(c *courier.Service, s *memory) {
			s.recipient.IdentityID, s.recipient.Traits, c.NotifyUnknown = uuid.Nil, nil, map[flow.Kind]bool{flow.Recovery: true}
			s.recipient.Purpose = flow.RecoverByLink
		}, "recovery_invalid", time.Hour},
		"flow is over": {func(_ *courier.Service, s *memory) { s.recipient.FlowExpiresAt = now }, "", 0},
		"flow is gone": {func(_ *courier.Service, s *memory) { s.recipient = nil }, "", 0},
		"nobody":       {func(_ *courier.Service, s *memory) { s.recipient.IdentityID, s.recipient.Traits = uuid.Nil, nil }, "", 0},
		"nobody, told": {func(c *courier.Service, s *memory) {
			s.recipient.IdentityID, s.recipient.Traits, c.NotifyUnknown = uuid.Nil, nil, map[flow.Kind]bool{flow.Verification: true}
		}, courier.VerificationCodeUnknown, time.Hour},
		"nobody, with another header": {func(c *courier.Service, s *memory) {
			s.recipient.IdentityID, s.recipient.Traits, c.NotifyUnknown = uuid.Nil, nil, map[flow.Kind]bool{flow.Verification: true}
			s.recipient.Address = "ada@example.com\r\nBcc: eve@example.com"
		}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := newMemory(t)
			out := &sender{}
			c := newService(t, s, out)
			tc.change(c, s)
			if err := c.Write(t.Context(), r); err != nil {
				t.Fatalf("Verification = %v, want nil", err)
			}
			if tc.want == "" {
				if len(out.got)+len(s.messages)+len(s.events) != 0 {
					t.Errorf("sent %+v, stored %+v, want nothing", out.got, s.messages)
				}
				return
			}
			m := out.got[0]
			if m.Template != tc.want || !m.ExpiresAt.Equal(now.Add(tc.expiry)) {
				t.Errorf("message = %+v, want %s that expires in %s", m, tc.want, tc.expiry)
			}
			plain := m.Content.Plain.Reveal()
			if unknown := !courier.Carries(tc.want); unknown {
				if len(s.codes) != 0 || sixDigits.MatchString(m.Content.Subject.Reveal()+m.Content.Plain.Reveal()) || s.events[0].Subject != "" {
					t.Errorf("codes %+v, event %+v, message %s, want no code and nobody", s.codes, s.events[0], m.Content.Plain.Reveal())
				}
				return
			}
			code, p := s.codes[0], s.recipient.Purpose
			link := "https://id.example.com/self-service/" + string(p.Kind()) + "?"
			if code.Purpose != p || !strings.Contains(plain, link) || !strings.Contains(plain, code.Text.Reveal()) || sixDigits.MatchString(code.Text.Reveal()) == p.IsLink() {
				t.Errorf("code for %s in a mail that says %s, want the one for %s with %s", code.Purpose, plain, p, link)
			}
		})
	}
}

func TestAttemptsAndTheirEnds(t *testing.T) {
	t.Parallel()
	temporary, permanent := &courier.Refused{Err: errBroken}, &courier.Refused{Permanent: true, Err: errBroken}
	for name, tc := range map[string]struct {
		answers  []error // of the sender, one per call; then nil
		waits    time.Duration
		max      int
		errs     int // how many calls come back with an error
		status   courier.Status
		attempts int
		event    string
	}{
		"not reached costs no attempt":  {answers: []error{errBroken, errBroken, errBroken, errBroken}, max: 2, errs: 4, status: courier.Sent, attempts: 1, event: "mail.sent"},
		"not taken, then taken":         {answers: []error{temporary, temporary}, max: 3, errs: 2, status: courier.Sent, attempts: 3, event: "mail.sent"},
		"not taken as often as allowed": {answers: []error{temporary, temporary}, max: 2, errs: 1, status: courier.Abandoned, attempts: 2, event: "attempts"},
		"refused for good":              {answers: []error{permanent}, max: 5, status: courier.Abandoned, attempts: 1, event: "refused"},
		"refused at last":               {answers: []error{temporary, permanent}, max: 5, errs: 1, status: courier.Abandoned, attempts: 2, event: "refused"},
		"not reached until it is over":  {answers: []error{errBroken, errBroken, errBroken}, waits: 20 * time.Minute, max: 5, errs: 3, status: courier.Abandoned, event: "expired"},
		"not taken until it is over":    {answers: []error{temporary, temporary}, waits: 30 * time.Minute, max: 5, errs: 2, status: courier.Abandoned, attempts: 2, event: "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := newMemory(t)
			answers, at := tc.answers, now
			out := &sender{send: func(*courier.Message) error {
				if len(answers) == 0 {
					return nil
				}
				err := answers[0]
				answers = answers[1:]
				return err
			}}
			c := newService(t, s, out)
			c.MaxAttempts, c.Now = tc.max, func() time.Time { return at }
			observed := map[string]int{}
			c.Observe = func(outcome string) { observed[outcome]++ }

			errs := 0
			for err := c.Write(t.Context(), r); err != nil; err = c.Write(t.Context(), r) {
				counts := errors.Is(err, temporary)
				var deferred *courier.Deferred
				if errors.As(err, &deferred) != counts || counts && deferred.Attempts != s.only().Attempts {
					t.Errorf("Verification = %v, want a Deferred with the attempts: %t", err, counts)
				}
				errs++
				if kept := s.only(); kept.Status != courier.Queued || kept.Content == (courier.Content{}) {
					t.Errorf("message that is tried again = %+v, want it queued with its content", kept)
				}
				at = at.Add(tc.waits)
			}
			if m := s.only(); errs != tc.errs || m.Status != tc.status || m.Attempts != tc.attempts || m.Content != (courier.Content{}) {
				t.Errorf("%d errors, then %+v, want %d, then %s after %d attempts", errs, m, tc.errs, tc.status, tc.attempts)
			}
			last := map[courier.Status]string{courier.Sent: courier.ObservedSent, courier.Abandoned: courier.ObservedAbandoned}[tc.status]
			if observed[last] != 1 || observed[courier.ObservedDeferred]+observed[courier.ObservedUnreachable] != errs {
				t.Errorf("observed %v, want %d that failed, then %s", observed, errs, last)
			}
			if len(s.events) != 1 || s.events[0].Type != tc.event && !strings.Contains(string(s.events[0].Data), `"reason":"`+tc.event+`"`) {
				t.Errorf("events = %+v, want one that says %s", s.events, tc.event)
			}
			before := len(out.got)
			if err := c.Write(t.Context(), r); err != nil || len(out.got) != before || len(s.events) != 1 {
				t.Errorf("the event once more = %v, %d sent, want nil and nothing", err, len(out.got)-before)
			}
			for _, m := range out.got {
				if m.ID != out.got[0].ID || m.Content != out.got[0].Content {
					t.Error("attempts are of different messages")
				}
			}
		})
	}
}

// Operators read why a mail has not gone, and no more of it than they know already.
func TestFailedAttemptLeavesItsReason(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	failure := errors.New("RCPT: <ada@example.com>\r\nis unknown " + strings.Repeat("x", 1000))
	c := newService(t, s, &sender{send: func(*courier.Message) error { return &courier.Refused{Err: failure} }})
	if err := c.Write(t.Context(), r); err == nil {
		t.Fatal("Verification = nil, want the failure")
	}
	why := s.only().LastError
	if !strings.HasPrefix(why, "not taken: RCPT: <[recipient]> is unknown xxx") || len(why) > 200 {
		t.Errorf("last error = %q, want one short line without the recipient", why)
	}
}

func TestTakenMailIsNotSentAgainWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	s.settleFails = 3
	out := &sender{}
	c := newService(t, s, out)
	for n := range 3 {
		if err := c.Write(t.Context(), r); !errors.Is(err, errBroken) {
			t.Fatalf("Verification, time %d = %v, want the store's error", n+1, err)
		}
	}
	if err := c.Write(t.Context(), r); err != nil {
		t.Fatalf("Verification = %v, want nil", err)
	}
	if m := s.only(); len(out.got) != 1 || m.Status != courier.Sent || m.Attempts != 1 {
		t.Errorf("sent %d times, message = %+v, want once", len(out.got), m)
	}
	checkEvent(t, s, "mail.sent", `{"message_id":"`+out.got[0].ID.String()+`","template":"verification_code_valid","attempts":1}`)
}

func TestEndingCourierStoresWhatWasTaken(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &sender{send: func(*courier.Message) error { cancel(); return nil }}
	if err := newService(t, s, out).Write(ctx, r); err != nil {
		t.Errorf("Verification = %v, want nil", err)
	}
	if m := s.only(); m.Status != courier.Sent {
		t.Errorf("message = %+v, want it sent", m)
	}
}

// A code that waits in the queue while a newer one goes out must not arrive
// behind it.
func TestMailOfASupersededCodeIsNotSent(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	out := &sender{send: func(*courier.Message) error { return &courier.Refused{Err: errBroken} }}
	c := newService(t, s, out)
	if err := c.Write(t.Context(), r); err == nil {
		t.Fatal("Verification = nil, want it to be tried again")
	}
	s.looks = errBroken
	if err := c.Write(t.Context(), r); !errors.Is(err, errBroken) || s.only().Status != courier.Queued {
		t.Errorf("Verification = %v, message %+v, want the store's error and it queued", err, s.only())
	}
	s.superseded, s.looks = true, nil
	if err := c.Write(t.Context(), r); err != nil {
		t.Errorf("Verification = %v, want nil", err)
	}
	if m := s.only(); len(out.got) != 1 || m.Status != courier.Abandoned || m.Content != (courier.Content{}) {
		t.Errorf("%d attempts, message %+v, want one and it abandoned", len(out.got), m)
	}
	checkEvent(t, s, "mail.abandoned", `{"message_id":"`+s.only().ID.String()+`","template":"verification_code_valid","attempts":1,"reason":"superseded"}`)
}

func TestPersonWhoIsDeletedMeanwhileIsNoError(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	out := &sender{send: func(*courier.Message) error { clear(s.messages); s.recipient = nil; return nil }}
	c := newService(t, s, out)
	for range 2 {
		if err := c.Write(t.Context(), r); err != nil {
			t.Errorf("Verification = %v, want nil", err)
		}
	}
	if len(out.got) != 1 {
		t.Errorf("%d messages sent, want 1", len(out.got))
	}
}

func TestCodesAreAnySixDigits(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	c := newService(t, s, &sender{})
	seen, first := map[string]bool{}, map[byte]bool{}
	for range 1000 {
		r.EventID = uuid.New()
		if err := c.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		text := s.codes[len(s.codes)-1].Text.Reveal()
		if !regexp.MustCompile(`^[0-9]{6}$`).MatchString(text) {
			t.Fatalf("code = %q, want six digits", text)
		}
		seen[text], first[text[0]] = true, true
	}
	if len(seen) < 980 || len(first) != 10 {
		t.Errorf("of 1000 codes %d differ, with %d first digits; want nearly all, 10", len(seen), len(first))
	}
}

func TestBrokenTemplateWaitsToBeMended(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	out := &sender{}
	c := newService(t, s, out)
	for _, subject := range []string{
		"{{ .Identity.traits.name.first }}, {{ .Identity.traits.title }}",
		`{{ if ne .Identity.traits.email "sample" }}{{ range .Identity.traits.email }}{{ end }}{{ end }}x`,
	} {
		c.Templates = newTemplates(t, given(courier.Texts{Subject: subject}))
		err := c.Write(t.Context(), r)
		if err == nil || len(s.messages) != 0 || !strings.Contains(err.Error(), "email.subject:1:") || strings.Contains(err.Error(), "ada@") {
			t.Errorf("Verification = %v, %d messages, want an error that names the place and no trait", err, len(s.messages))
		}
	}
	c.Templates = newTemplates(t, courier.TemplateOptions{})
	if err := c.Write(t.Context(), r); err != nil || len(out.got) != 1 {
		t.Errorf("Verification = %v, %d sent, want nil, 1", err, len(out.got))
	}
}
