package console

import (
	"context"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
)

// Operators knows who may use the console, see [operator.Service].
type Operators interface {
	// Recognize gives the session of a token, or [operator.ErrSignedOut].
	Recognize(ctx context.Context, token string) (operator.Session, error)
	// SignIn gives the token of a new session, [operator.ErrWrong] or an [*operator.Busy].
	SignIn(ctx context.Context, t operator.Try) (operator.Secret, operator.Session, error)
	// SignOut ends the session of a token, if there is one.
	SignOut(ctx context.Context, by audit.Author, token string) error
	// Linked gives whose set-up link this is, or [operator.ErrLink].
	Linked(ctx context.Context, link string) (operator.Operator, error)
	// SetUp sets their password and signs them in, or gives [operator.ErrLink], an
	// [*operator.Invalid] or an [*operator.Busy].
	SetUp(ctx context.Context, by audit.Author, link string, p password.Plain) (operator.Secret, operator.Session, error)
}

// author is who asked, as events name them.
func (v *visit) author() audit.Author {
	by := audit.Author{RequestID: v.w.Header().Get("X-Request-Id")}
	if v.who.Name != "" {
		by.Actor = v.who.Actor()
	}
	return by
}
