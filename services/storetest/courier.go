package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/store"
)

// message is one to a person's n-th address; its content holds "canary".
func (s *suite) message(r registration.Record, n int) courier.Message {
	return courier.Message{
		ID: uuid.New(), EventID: uuid.New(), IdentityID: r.Identity.ID, Status: courier.Queued, Template: courier.VerificationCode,
		Recipient: r.Identity.Addresses[n].Value,
		Content:   courier.Content{Subject: courier.NewSecret("canary"), Plain: courier.NewSecret("canary " + rightCode), Data: courier.NewSecret(`{"canary":1}`)},
		ExpiresAt: s.clock().Add(time.Hour), CreatedAt: s.clock(), UpdatedAt: s.clock(),
	}
}

// diffMessage compares what is secret too.
func diffMessage(want, got *courier.Message) string {
	reveal := cmp.Transformer("Reveal", courier.Secret.Reveal)
	return cmp.Diff(want, got, reveal, cmpopts.IgnoreFields(courier.Message{}, "N"))
}

func testQueue(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	m := s.message(r, 0)
	code := s.codeFor(uuid.New(), r, 0)
	got, err := st.Queue(s.ctx(), m, code)
	s.must(err)
	if diff := diffMessage(&m, got); diff != "" {
		t.Errorf("Queue: want(-) got(+):\n%s", diff)
	}
	if i, err := st.Identity(s.ctx(), r.Identity.ID); err != nil || i.Addresses[0].Status != identity.AddressSent {
		t.Errorf("status = %s, %v, want %s", i.Addresses[0].Status, err, identity.AddressSent)
	}
	s.noneHolds(`SELECT recipient FROM messages`, 1, "ann@")
	s.noneHolds(`SELECT content FROM messages`, 1, "canary", rightCode)

	again := s.message(r, 0)
	again.EventID = m.EventID
	other := s.codeFor(code.FlowID, r, 0)
	other.Text = courier.NewSecret("777777")
	for _, found := range []func() (*courier.Message, error){
		func() (*courier.Message, error) { return st.Queue(s.ctx(), again, other) },
		func() (*courier.Message, error) { return st.Message(s.ctx(), m.EventID) },
		func() (*courier.Message, error) { return st.MessageByID(s.ctx(), m.ID) },
	} {
		got, err := found()
		if diff := diffMessage(&m, got); err != nil || diff != "" {
			t.Errorf("%v, want(-) got(+):\n%s", err, diff)
		}
	}
	if v, err := st.Verify(s.ctx(), s.proof(code.FlowID, rightCode)); err != nil || v.Again {
		t.Errorf("Verify with the code of the stored message = %+v, %v, want it verified", v, err)
	}
	_, err = st.Queue(s.ctx(), s.message(r, 0), s.codeFor(uuid.New(), r, 0))
	s.must(err)
	if i, err := st.Identity(s.ctx(), r.Identity.ID); err != nil || i.Addresses[0].Status != identity.AddressCompleted {
		t.Errorf("status after another mail = %s, %v, want %s", i.Addresses[0].Status, err, identity.AddressCompleted)
	}
	testSettle(t, s, m)
}

func testSettle(t *testing.T, s *suite, m courier.Message) {
	st := s.store(nil)
	before := s.types(st)
	s.advance(time.Minute)
	s.must(st.Settle(s.ctx(), m.ID, courier.Processing, 1, true, nil))
	s.must(st.MessageFailed(s.ctx(), m.ID, "connect: refused"))
	s.must(st.MessageFailed(s.ctx(), uuid.New(), "of a message that is gone"))
	m.Status, m.Attempts, m.UpdatedAt, m.LastError = courier.Processing, 1, s.clock(), "connect: refused"
	if got, err := st.Message(s.ctx(), m.EventID); err != nil || diffMessage(&m, got) != "" {
		t.Errorf("Message after Settle: %v, want(-) got(+):\n%s", err, diffMessage(&m, got))
	}
	sent := events.New(events.MailSent{MessageID: m.ID.String(), Template: m.Template, Attempts: 2}, s.clock(), events.About{Source: "/usher/courier", Actor: "system:courier"})
	s.must(st.Settle(s.ctx(), m.ID, courier.Sent, 2, false, &sent))
	m.Status, m.Attempts, m.Content = courier.Sent, 2, courier.Content{}
	if got, err := st.Message(s.ctx(), m.EventID); err != nil || diffMessage(&m, got) != "" {
		t.Errorf("Message after Settle: %v, want(-) got(+):\n%s", err, diffMessage(&m, got))
	}
	if got, want := s.types(st), append(before, "mail.sent "); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	for what, id := range map[string]uuid.UUID{"an unknown message": uuid.New(), "a message that was sent": m.ID} {
		again := events.New(events.MailSent{MessageID: id.String(), Template: m.Template, Attempts: 3}, s.clock(), events.About{Source: "/usher/courier", Actor: "system:courier"})
		if err := st.Settle(s.ctx(), id, courier.Sent, 3, false, &again); !errors.Is(err, courier.ErrNotFound) {
			t.Errorf("Settle of %s: %v, want %v", what, err, courier.ErrNotFound)
		}
	}
	if got, want := s.types(st), append(before, "mail.sent "); !slices.Equal(got, want) {
		t.Errorf("outbox after what Settle refused = %q, want %q", got, want)
	}
	s.exec(`UPDATE messages SET recipient = content WHERE content IS NOT NULL`)
	if _, err := st.Messages(s.ctx(), courier.Query{}); err == nil {
		t.Error("Messages opened a recipient that was sealed as content")
	}
}

// Of many processes one sends a message, until it has died for a lease.
func testClaim(t *testing.T, s *suite) {
	stores := []*store.Store{s.store(nil), s.store(nil)}
	m := s.message(s.registered(stores[0], "ann@example.org"), 0)
	_, err := stores[0].Queue(s.ctx(), m, nil)
	s.must(err)
	const lease = time.Minute
	claim := func(held time.Time) (time.Time, error) { return stores[1].Claim(s.ctx(), m.ID, held, lease) }
	claimed := 0
	for _, err := range atOnce(8, func(n int) error {
		_, err := stores[n%2].Claim(s.ctx(), m.ID, time.Time{}, lease)
		return err
	}) {
		if err == nil {
			claimed++
		} else if !errors.Is(err, courier.ErrClaimed) {
			t.Errorf("Claim = %v, want %v", err, courier.ErrClaimed)
		}
	}
	held := s.clock()
	if got, err := stores[0].Message(s.ctx(), m.EventID); err != nil || claimed != 1 || got.Status != courier.Processing || !got.UpdatedAt.Equal(held) {
		t.Errorf("%d claimed, message = %+v, %v, want one and it %s", claimed, got, err, courier.Processing)
	}
	s.advance(lease - time.Second)
	if held, err = claim(held); err != nil || !held.Equal(s.clock()) {
		t.Errorf("Claim of who holds it = %v, %v, want %v", held, err, s.clock())
	}
	s.advance(lease - time.Second)
	if _, err = claim(held.Add(-time.Second)); !errors.Is(err, courier.ErrClaimed) {
		t.Errorf("Claim within the lease = %v, want %v", err, courier.ErrClaimed)
	}
	s.advance(time.Second)
	if _, err = claim(time.Time{}); err != nil {
		t.Errorf("Claim when the lease is over = %v, want nil", err)
	}
	s.must(stores[0].Settle(s.ctx(), m.ID, courier.Queued, 1, true, nil))
	if _, err = claim(time.Time{}); err != nil {
		t.Errorf("Claim of what was given back = %v, want nil", err)
	}
	s.must(stores[0].Settle(s.ctx(), m.ID, courier.Sent, 1, false, nil))
	s.advance(lease)
	for what, id := range map[string]uuid.UUID{"was sent": m.ID, "is unknown": uuid.New()} {
		if _, err := stores[1].Claim(s.ctx(), id, time.Time{}, lease); !errors.Is(err, courier.ErrNotFound) {
			t.Errorf("Claim of what %s = %v, want %v", what, err, courier.ErrNotFound)
		}
	}
}

func testUseful(t *testing.T, s *suite) {
	st := s.store(nil)
	type waiting struct {
		r registration.Record
		f *flow.Flow
		m courier.Message
		c *courier.Code
	}
	queue := func(w *waiting) {
		w.m, w.c = s.message(w.r, 0), s.codeFor(w.f.ID, w.r, 0)
		_, err := st.Queue(s.ctx(), w.m, w.c)
		s.must(err)
	}
	n := 0
	mailed := func() *waiting {
		n++
		w := &waiting{r: s.registered(st, fmt.Sprintf("a%d@example.org", n)), f: s.newFlow()}
		w.f.Kind, w.f.State = flow.Verification, flow.SentEmail
		s.must(st.CreateFlow(s.ctx(), w.f))
		queue(w)
		return w
	}
	nobody := func(w *waiting) {
		w.m.ID, w.m.EventID, w.m.Template = uuid.New(), uuid.New(), courier.VerificationCodeUnknown
		_, err := st.Queue(s.ctx(), w.m, nil)
		s.must(err)
	}
	pass := func(w *waiting) {
		w.f.State = flow.PassedChallenge
		s.must(st.SaveFlow(s.ctx(), w.f))
	}
	verify := func(w *waiting) {
		_, err := st.Verify(s.ctx(), s.proof(w.f.ID, rightCode))
		s.must(err)
	}
	again := func(w *waiting) { verify(w); s.advance(time.Second); queue(w) }
	of := func(w *waiting) string { return w.r.Identity.Addresses[0].ID.String() }
	for name, c := range map[string]struct {
		then func(w *waiting)
		want bool
	}{
		"nothing has happened":         {func(*waiting) {}, true},
		"a newer code":                 {func(w *waiting) { former := w.m; s.advance(time.Second); queue(w); w.m = former }, false},
		"it is the newer code":         {func(w *waiting) { s.advance(time.Second); queue(w) }, true},
		"the code was used":            {func(w *waiting) { verify(w) }, false},
		"the flow has passed":          {pass, false},
		"the flow is over":             {func(*waiting) { s.advance(time.Hour) }, false},
		"the flow is gone":             {func(w *waiting) { w.f = s.newFlow() }, false},
		"the person is deactivated":    {func(w *waiting) { s.exec(`UPDATE identities SET state = 'inactive' WHERE id = $1`, w.r.Identity.ID) }, false},
		"the address is gone":          {func(w *waiting) { s.exec(`DELETE FROM addresses WHERE id = $1`, of(w)) }, false},
		"the address is another":       {func(w *waiting) { s.exec(`UPDATE addresses SET address_key = $1 WHERE id = $2`, []byte{1}, of(w)) }, false},
		"another flow has verified it": {func(w *waiting) { former := *w; w.f = s.newFlow(); queue(w); verify(w); *w = former }, false},
		"it was verified before":       {again, true},
		"before, and again":            {func(w *waiting) { again(w); verify(w) }, false},
		"it is to nobody":              {nobody, true},
		"to nobody, and passed":        {func(w *waiting) { nobody(w); pass(w) }, false},
	} {
		w := mailed()
		c.then(w)
		if got, err := st.Useful(s.ctx(), &w.m, w.f.ID); got != c.want || err != nil {
			t.Errorf("%s: Useful = %t, %v, want %t", name, got, err, c.want)
		}
	}
}

func testRecipient(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	off := s.registered(st, "off@example.org")
	s.exec(`UPDATE identities SET state = 'inactive' WHERE id = $1`, off.Identity.ID)
	begun := func(state, email string) *flow.Flow {
		f := s.newFlow()
		f.Kind, f.State, f.Form = flow.Verification, state, flow.Form{Values: map[string]any{"email": email}}
		s.must(st.CreateFlow(s.ctx(), f))
		return f
	}
	open, passed := begun(flow.SentEmail, ""), begun(flow.PassedChallenge, "ann@example.org")
	login := s.newFlow()
	login.Kind = flow.Login
	s.must(st.CreateFlow(s.ctx(), login))
	id, address := r.Identity.ID, r.Identity.Addresses[0].ID
	lost := s.registered(st, "lost@example.org")
	s.exec(`UPDATE addresses SET recovery = $1 WHERE identity_id = $2`, true, lost.Identity.ID)
	s.exec(`UPDATE addresses SET recovery = $1 WHERE identity_id = $2`, false, id)
	recovers := func(email, method string) *flow.Flow {
		f := s.newFlow()
		f.Kind, f.State, f.Active, f.Form = flow.Recovery, flow.SentEmail, method, flow.Form{Values: map[string]any{"email": email}}
		s.must(st.CreateFlow(s.ctx(), f))
		return f
	}
	byLink := begun(flow.SentEmail, "ann@example.org")
	byLink.Active = flow.MethodLink
	s.must(st.SaveFlow(s.ctx(), byLink))
	ann := courier.Recipient{Address: "ann@example.org", IdentityID: id, AddressID: address, Traits: r.Identity.Traits, Purpose: flow.VerifyByCode}
	linked, recovered := ann, courier.Recipient{
		Address: "lost@example.org", IdentityID: lost.Identity.ID, AddressID: lost.Identity.Addresses[0].ID, Traits: lost.Identity.Traits, Purpose: flow.RecoverByCode,
	}
	linked.Purpose = flow.VerifyByLink
	recoveredByLink := recovered
	recoveredByLink.Purpose = flow.RecoverByLink
	for name, c := range map[string]struct {
		of   *flow.Flow
		r    courier.Request
		want *courier.Recipient
	}{
		"by ids":               {open, courier.Request{IdentityID: id, AddressID: address}, &ann},
		"by what was entered":  {begun(flow.SentEmail, " Ann@EXAMPLE.org "), courier.Request{}, &ann},
		"nobody's":             {begun(flow.SentEmail, " Bob@EXAMPLE.org "), courier.Request{}, &courier.Recipient{Address: "bob@example.org", Purpose: flow.VerifyByCode}},
		"by link":              {byLink, courier.Request{}, &linked},
		"recovery":             {recovers("lost@example.org", flow.MethodCode), courier.Request{}, &recovered},
		"recovery by link":     {recovers("Lost@example.org", flow.MethodLink), courier.Request{}, &recoveredByLink},
		"recovery, no address": {recovers("ann@example.org", flow.MethodCode), courier.Request{}, &courier.Recipient{Address: "ann@example.org", Purpose: flow.RecoverByCode}},
		"recovery, by ids":     {recovers("", flow.MethodCode), courier.Request{IdentityID: id, AddressID: address}, nil},
		"deactivated, by ids":  {open, courier.Request{IdentityID: off.Identity.ID, AddressID: off.Identity.Addresses[0].ID}, nil},
		"deactivated":          {begun(flow.SentEmail, "off@example.org"), courier.Request{}, nil},
		"no address":           {begun(flow.SentEmail, "bob"), courier.Request{}, nil},
		"nothing was entered":  {open, courier.Request{}, nil},
		"passed":               {passed, courier.Request{}, nil},
		"passed, by ids":       {passed, courier.Request{IdentityID: id, AddressID: address}, nil},
		"another kind of flow": {login, courier.Request{IdentityID: id, AddressID: address}, nil},
		"no such flow":         {s.newFlow(), courier.Request{IdentityID: id, AddressID: address}, nil},
		"no such address":      {open, courier.Request{IdentityID: id, AddressID: uuid.New()}, nil},
		"another's address":    {open, courier.Request{IdentityID: uuid.New(), AddressID: address}, nil},
	} {
		c.r.FlowID = c.of.ID
		got, err := st.Recipient(s.ctx(), c.r)
		if c.want == nil {
			if !errors.Is(err, courier.ErrNotFound) {
				t.Errorf("%s: Recipient = %+v, %v, want %v", name, got, err, courier.ErrNotFound)
			}
			continue
		}
		want := *c.want
		want.FlowID, want.FlowExpiresAt, want.Languages = c.of.ID, c.of.ExpiresAt, c.of.Languages
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: Recipient: %v, want(-) got(+):\n%s", name, err, diff)
		}
	}
	s.advance(time.Hour)
	if _, err := st.Recipient(s.ctx(), courier.Request{FlowID: open.ID, IdentityID: id, AddressID: address}); !errors.Is(err, courier.ErrNotFound) {
		t.Errorf("Recipient of a flow that is over: %v, want %v", err, courier.ErrNotFound)
	}
}

func testMessages(t *testing.T, s *suite) {
	st := s.store(nil)
	people := []registration.Record{s.registered(st, "ann@example.org"), s.registered(st, "bob@example.org")}
	all := make([]courier.Message, 8)
	for n := range all {
		all[n] = s.message(people[n%2], 0)
		if n == 7 { // to nobody
			all[n].IdentityID, all[n].Recipient, all[n].Template = uuid.Nil, "cid@example.org", courier.VerificationCodeUnknown
		}
		_, err := st.Queue(s.ctx(), all[n], nil)
		s.must(err)
	}
	for _, n := range []int{0, 1, 4} {
		s.must(st.Settle(s.ctx(), all[n].ID, courier.Sent, 1, false, nil))
	}
	s.must(st.Settle(s.ctx(), all[5].ID, courier.Abandoned, 5, false, nil))
	for name, c := range map[string]struct {
		q    courier.Query
		want []int
	}{
		"all":             {courier.Query{}, []int{7, 6, 5, 4, 3, 2, 1, 0}},
		"sent":            {courier.Query{Status: courier.Sent}, []int{4, 1, 0}},
		"queued":          {courier.Query{Status: courier.Queued}, []int{7, 6, 3, 2}},
		"abandoned":       {courier.Query{Status: courier.Abandoned}, []int{5}},
		"no such status":  {courier.Query{Status: "lost"}, nil},
		"of a person":     {courier.Query{Recipient: "bob@example.org"}, []int{5, 3, 1}},
		"of nobody":       {courier.Query{Recipient: "dan@example.org"}, nil},
		"sent to whom":    {courier.Query{Status: courier.Sent, Recipient: "ann@example.org"}, []int{4, 0}},
		"queued for whom": {courier.Query{Status: courier.Queued, Recipient: "cid@example.org"}, []int{7}},
	} {
		var got []int
		c.q.Limit = 3
		for {
			page, err := st.Messages(s.ctx(), c.q)
			s.must(err)
			for _, m := range page {
				got = append(got, slices.IndexFunc(all, func(a courier.Message) bool { return a.ID == m.ID && a.Recipient == m.Recipient }))
			}
			if len(page) < 3 {
				break
			}
			c.q.Before = page[len(page)-1].N
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: Messages by pages = %d, want %d", name, got, c.want)
		}
	}
	since := s.clock()
	for address, want := range map[string]int{"bob@example.org": 3, "dan@example.org": 0} {
		if n, err := st.Mailed(s.ctx(), address, since.Add(-1)); n != want || err != nil {
			t.Errorf("Mailed(%q) = %d, %v, want %d", address, n, err, want)
		}
		if n, err := st.Mailed(s.ctx(), address, since.Add(time.Minute)); n != 0 || err != nil {
			t.Errorf("Mailed(%q) of a later time = %d, %v, want none", address, n, err)
		}
	}
	for _, unknown := range []func() (*courier.Message, error){
		func() (*courier.Message, error) { return st.Message(s.ctx(), uuid.New()) },
		func() (*courier.Message, error) { return st.MessageByID(s.ctx(), uuid.New()) },
	} {
		if _, err := unknown(); !errors.Is(err, courier.ErrNotFound) {
			t.Errorf("an unknown message: %v, want %v", err, courier.ErrNotFound)
		}
	}
}

func testDeleteMessages(t *testing.T, s *suite) {
	st := s.store(nil)
	for n, status := range []courier.Status{courier.Sent, courier.Queued, courier.Abandoned, courier.Processing, courier.Sent} {
		m := s.message(s.registered(st, fmt.Sprintf("a%d@example.org", n)), 0)
		_, err := st.Queue(s.ctx(), m, nil)
		s.must(err)
		s.must(st.Settle(s.ctx(), m.ID, status, 1, false, nil))
		s.advance(time.Second)
	}
	last := s.clock().Add(-time.Second)
	for _, c := range []struct {
		before time.Time
		want   int
	}{{start, 0}, {last, 1}, {last, 1}, {last, 0}, {last.Add(1000), 1}} {
		if n, err := st.DeleteMessages(s.ctx(), c.before, 1); n != c.want || err != nil {
			t.Errorf("DeleteMessages(%v, 1) = %d, %v, want %d", c.before, n, err, c.want)
		}
	}
	if left, err := st.Messages(s.ctx(), courier.Query{}); err != nil || len(left) != 2 {
		t.Errorf("%d messages are left, %v, want those that are on their way", len(left), err)
	}
}
