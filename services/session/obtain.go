package session

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/tracing"
)

// patience is how long after its deadline an issuer is waited for that does not
// keep it; an answer may have been under way.
const patience = 100 * time.Millisecond

// Obtain asks i for the session that r describes, with a new token of the kind
// that the prefix says, and gives both. The issuer sees the token's digest only;
// where the session is not there, neither is the token.
//
// Id, deadline and times of r are set here: i has the timeout from now on, and
// what does not answer then is given up a moment later.
func Obtain(ctx context.Context, i Issuer, prefix string, timeout time.Duration, now time.Time, r Request) (*Session, Token, error) {
	token := NewToken(prefix)
	r.Digest = token.Digest()
	s, err := Ask(ctx, i, timeout, now, r)
	if err != nil {
		return nil, Token{}, err
	}
	return s, token, nil
}

// Ask is [Obtain] for a token that there is already: r has its digest.
func Ask(ctx context.Context, i Issuer, timeout time.Duration, now time.Time, r Request) (*Session, error) {
	r.ID, r.Deadline, r.RequestedAt = uuid.NewString(), now.Add(timeout), now
	ctx, cancel := context.WithTimeout(ctx, timeout+patience)
	defer cancel()
	ctx, span := tracing.StartCall(ctx, "session.issue")
	s, err := i.Issue(ctx, r)
	tracing.End(span, err)
	return s, err
}
