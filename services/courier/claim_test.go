package courier_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/services/courier"
)

// The event comes again, to another process, while the mail server takes its time.
func TestTwoWithTheSameEventSendOneMail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemory(t)
		s.now = time.Now
		slow := &sender{send: func(*courier.Message) error { time.Sleep(time.Minute); return nil }}
		ended := make(chan error, 1)
		go func() { ended <- newService(t, s, slow).Write(t.Context(), r) }()
		synctest.Wait()

		out := &sender{}
		other := newService(t, s, out)
		for range 5 {
			if err := other.Write(t.Context(), r); !errors.Is(err, courier.ErrClaimed) {
				t.Errorf("Verification while another sends = %v, want %v", err, courier.ErrClaimed)
			}
			if m := s.only(); m.Status != courier.Processing {
				t.Errorf("message = %+v, want it %s", m, courier.Processing)
			}
			time.Sleep(11 * time.Second) // far beyond one lease in the end
		}
		if err := <-ended; err != nil {
			t.Errorf("Verification of the slow one = %v, want nil", err)
		}
		if err := other.Write(t.Context(), r); err != nil || len(slow.got) != 1 || len(out.got) != 0 {
			t.Errorf("Verification afterwards = %v; %d and %d mails, want 1 and none", err, len(slow.got), len(out.got))
		}
	})
}

func TestMailOfAProcessThatDiedIsSentByAnother(t *testing.T) {
	t.Parallel()
	s, r := newMemory(t)
	at := now
	s.now = func() time.Time { return at }
	c := newService(t, s, &sender{send: func(*courier.Message) error { panic("killed") }})
	func() {
		defer func() { _ = recover() }()
		_ = c.Write(t.Context(), r)
	}()
	out := &sender{}
	other := newService(t, s, out)
	at = now.Add(19 * time.Second)
	if err := other.Write(t.Context(), r); !errors.Is(err, courier.ErrClaimed) {
		t.Errorf("Verification within the lease = %v, want %v", err, courier.ErrClaimed)
	}
	at = now.Add(20 * time.Second)
	if err := other.Write(t.Context(), r); err != nil || len(out.got) != 1 || s.only().Status != courier.Sent {
		t.Errorf("Verification after the lease = %v, %d mails, want one", err, len(out.got))
	}
}
