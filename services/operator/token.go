package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/usher-auth/usher/services/audit"
)

// TokenPrefix begins every token of the admin listener.
const TokenPrefix = "usher_at_"

// chosenToken is how long the part of a token behind its prefix is at least, when
// somebody else has made it: the hexadecimal digits of 16 random bytes.
const chosenToken = 32

// KeepToken sees to it that a token of the admin listener is the given one, which
// was made elsewhere, and has the scope: one of the same name is replaced, and is good no
// more. Where both are to be good for a while they have two names. It tells whether
// anything had to change. It gives an [*Invalid], [ErrTokenTaken], or
// [ErrExists] as AddToken does.
func (s *Service) KeepToken(ctx context.Context, by audit.Author, name, scope string, token Secret) (changed bool, err error) {
	name = canonical(name)
	if err := checkToken(name, scope); err != nil {
		return false, err
	}
	behind, ok := strings.CutPrefix(token.Reveal(), TokenPrefix)
	if !ok || len(behind) < chosenToken || len(token.Reveal()) > maxSecret || strings.ContainsFunc(behind, notInToken) {
		return false, &Invalid{fmt.Sprintf("a token is %s and %d letters and digits or more, at most %d in all, such as %s$(openssl rand -hex 32)", TokenPrefix, chosenToken, maxSecret, TokenPrefix)}
	}
	d := digestOf(token)
	holder, scoped, taken, err := s.Tokens.AdminToken(ctx, d)
	switch {
	case err != nil:
		return false, err
	case taken && holder != name:
		return false, ErrTokenTaken
	case taken && scoped == scope:
		return false, nil
	}
	replaced, err := s.Tokens.ReplaceAdminToken(ctx, name, scope, d, s.event(by, actTokenRemove, name), s.event(by, actTokenCreate, name))
	if err != nil || replaced {
		return replaced, err
	}
	return true, s.Tokens.AddAdminToken(ctx, name, scope, d, s.event(by, actTokenCreate, name))
}

func checkToken(name, scope string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if !slices.Contains(Scopes(), scope) {
		return &Invalid{fmt.Sprintf("a scope is one of %q", Scopes())}
	}
	return nil
}

func notInToken(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}
