package admin_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
)

// handOuts is an [admin.Recoveries] that keeps what it is given last.
type handOuts struct {
	fakes *fakes
	flow  *flow.Flow
	code  courier.Code
	err   error
}

func (h *handOuts) CreateFlow(_ context.Context, f *flow.Flow) error {
	h.flow = f
	return nil
}

func (h *handOuts) HandOut(_ context.Context, c courier.Code, told admin.Made) error {
	h.code = c
	if h.err == nil {
		h.fakes.append(told(7))
	}
	return h.err
}

func TestRecover(t *testing.T) {
	t.Parallel()
	hour := time.Hour
	for method, c := range map[string]struct {
		purpose  flow.Purpose
		text     *regexp.Regexp
		lifespan time.Duration // the usual one
	}{
		flow.MethodCode: {flow.RecoverByCode, regexp.MustCompile(`^[0-9]{6}$`), 15 * time.Minute},
		flow.MethodLink: {flow.RecoverByLink, regexp.MustCompile(`^[A-Z2-7]{26,}$`), 20 * time.Minute},
	} {
		for _, lifespan := range []*time.Duration{nil, &hour} {
			f := newFakes(t)
			h := &handOuts{fakes: f}
			s := f.service()
			s.Recoveries, s.CodeLifespan, s.LinkLifespan, s.LinkURL = h, 15*time.Minute, 20*time.Minute, "https://id.example.org/"
			in := admin.Recovery{
				IdentityID: uuid.New(), Method: method, Type: flow.Browser, RequestURL: "https://id.example.org/begun", ReturnTo: "https://app.example.org/", Lifespan: lifespan, Author: by,
			}
			got, err := s.Recover(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			want := c.lifespan
			if lifespan != nil {
				want = *lifespan
			}
			is := got.Flow
			if is != h.flow || is.Kind != flow.Recovery || is.Type != in.Type || is.State != flow.SentEmail || is.Active != method || is.CSRF != nil ||
				is.RequestURL != in.RequestURL || is.ReturnTo != in.ReturnTo || !is.IssuedAt.Equal(start) || !is.ExpiresAt.Equal(start.Add(want)) || !is.Form.Empty() {
				t.Errorf("%s: flow = %+v, want one of nobody that waits for a code, for %s", method, is, want)
			}
			if h.code.Purpose != c.purpose || h.code.FlowID != is.ID || h.code.IdentityID != in.IdentityID || h.code.AddressID != uuid.Nil || !h.code.ExpiresAt.Equal(is.ExpiresAt) {
				t.Errorf("%s: code = %+v, want one of the flow for the identity, without an address", method, h.code)
			}
			text := h.code.Text.Reveal()
			if !c.text.MatchString(text) {
				t.Errorf("%s: the text is %q, want %s", method, text, c.text)
			}
			code, link := text, ""
			if method == flow.MethodLink {
				code, link = "", "https://id.example.org/self-service/recovery?flow="+is.ID.String()+"&token="+text
			}
			if got.Code.Reveal() != code || got.Link.Reveal() != link {
				t.Errorf("%s: handed out %q and %q, want %q and %q", method, got.Code.Reveal(), got.Link.Reveal(), code, link)
			}
			e := f.events[0]
			if data := fmt.Sprintf(`{"action":"recovery.%s","target":"%s"}`, method, in.IdentityID); !slices.Equal(f.said(), []string{"admin.acted 7"}) ||
				string(e.Data) != data || e.Actor != by.Actor || e.Subject != in.IdentityID.String() {
				t.Errorf("%s: events = %+v, want admin.acted by %s about the identity", method, f.events, by.Actor)
			}
			if printed := fmt.Sprintf("%+v %v", got, f.events); strings.Contains(printed, text) {
				t.Errorf("%s: what is printed holds the secret: %s", method, printed)
			}
		}
	}
}

func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration) admin.Recovery {
		return admin.Recovery{IdentityID: uuid.New(), Method: flow.MethodCode, Type: flow.Browser, Lifespan: &d, Author: by}
	}
	for d, good := range map[time.Duration]bool{-time.Hour: false, 0: false, time.Second: true, admin.MaxRecovery: true, admin.MaxRecovery + 1: false} {
		f := newFakes(t)
		h := &handOuts{fakes: f}
		s := f.service()
		s.Recoveries = h
		_, err := s.Recover(t.Context(), in(d))
		if good == errors.Is(err, admin.ErrLifespan) || good != (err == nil) || good != (h.flow != nil) {
			t.Errorf("for %s: %v, want it good: %t", d, err, good)
		}
	}
	f := newFakes(t)
	s := f.service()
	s.Recoveries = &handOuts{fakes: f, err: admin.ErrInactive}
	if got, err := s.Recover(t.Context(), in(time.Hour)); !errors.Is(err, admin.ErrInactive) || got != nil {
		t.Errorf("of who is deactivated = %v, %v, want %v", got, err, admin.ErrInactive)
	}
}
