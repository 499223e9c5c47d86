package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
)

// account is one that a provider has proven.
func account(provider, subject string) identity.Account {
	return identity.Account{Provider: provider, Subject: subject, Issuer: "https://" + provider + ".example.org"}
}

// proven is the registration of a person whom the provider "corp" knows.
func (s *suite) proven(address, subject string) registration.Record {
	r := s.record(address)
	c := &r.Identity.Credentials[0]
	c.Type, c.Identifiers, c.Config = identity.MethodOIDC, []string{"corp:" + subject}, []byte(`{ "b":1, "a":"ü\u0041"}`)
	a := &r.Identity.Addresses[0]
	a.Verified, a.VerifiedAt, a.Status = true, s.clock(), identity.AddressCompleted
	r.Grant.Method, r.Grant.Provider = identity.MethodOIDC, "corp"
	return r
}

func testRegisterProven(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.proven("ann@example.org", "Seven")
	s.must(st.Register(s.ctx(), r))
	grant, i, err := st.Grant(s.ctx(), r.Grant.FlowID)
	s.must(err)
	if diff := cmp.Diff(r.Grant, grant); diff != "" {
		t.Errorf("Grant: want(-) got(+):\n%s", diff)
	}
	if diff := cmp.Diff(r.Identity, i, anySequence); diff != "" {
		t.Errorf("Grant, the identity: want(-) got(+):\n%s", diff)
	}
	i, err = st.IdentityByIdentifier(s.ctx(), identity.Handle(identity.MethodOIDC, "corp:Seven"))
	if diff := cmp.Diff(r.Identity, i, anySequence); err != nil || diff != "" {
		t.Errorf("IdentityByIdentifier of the handle: %v, want(-) got(+):\n%s", err, diff)
	}
	for _, other := range []string{"corp:Seven", "corp:seven", identity.Handle(identity.MethodOIDC, "corp:seven")} {
		if got, err := st.IdentityByIdentifier(s.ctx(), other); !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("IdentityByIdentifier(%q) = %+v, %v, want %v", other, got, err, identity.ErrNotFound)
		}
	}

	q := s.issueFor(r).Request
	q.Method, q.Provider = identity.MethodOIDC, "corp"
	issue := s.issue(q)
	issue.Session.Methods[0].Provider = q.Provider
	_, err = st.IssueSession(s.ctx(), issue)
	s.must(err)
	found, _, err := st.SessionByDigest(s.ctx(), q.Digest)
	want := []session.Method{{Method: "oidc", AAL: session.AAL1, Provider: "corp", CompletedAt: s.clock()}}
	if err != nil || !slices.Equal(found.Methods, want) {
		t.Errorf("SessionByDigest = %+v, %v, want the methods %+v", found, err, want)
	}
}

// A subject is one identity's, and so is an address however it was registered;
// what somebody enters takes nobody's subject.
func testProvenTaken(t *testing.T, s *suite) {
	st := s.store(nil)
	entered := s.record("eve@example.org")
	entered.Identity.Credentials[0].Identifiers = []string{"eve@example.org", "corp:seven"}
	s.must(st.Register(s.ctx(), entered))
	s.must(st.Register(s.ctx(), s.proven("ann@example.org", "seven")))
	s.must(st.Register(s.ctx(), s.proven("bob@example.org", "Seven")))
	again := s.proven("cid@example.org", "seven")
	for name, r := range map[string]registration.Record{
		"subject":                           again,
		"address":                           s.proven("ann@example.org", "8"),
		"address, by a password":            s.record("ann@example.org"),
		"address of somebody with password": s.proven("eve@example.org", "9"),
	} {
		if err := st.Register(s.ctx(), r); !errors.Is(err, identity.ErrExists) {
			t.Errorf("Register with the %s taken: %v, want %v", name, err, identity.ErrExists)
		}
	}
	all, err := st.Identities(s.ctx(), uuid.Nil, 10)
	if err != nil || len(all) != 3 {
		t.Errorf("Identities = %d, %v, want 3", len(all), err)
	}
}

func testRegisterOneSubjectAtOnce(_ *testing.T, s *suite) {
	st := s.store(nil)
	errs := atOnce(50, func(int) error { return st.Register(s.ctx(), s.proven(uuid.NewString()+"@example.org", "7")) })
	s.onlyOne(st, errs, identity.ErrExists)
}
