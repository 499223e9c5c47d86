package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
)

// Operators knows who may use the console, see [operator.Service], and who else has
// access: a token that could make tokens would outlive its removal, so neither is
// a matter of the admin API.
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
	// ChangePassword sets another password of whom t is, and gives what SignIn gives or
	// an [*operator.Invalid].
	ChangePassword(ctx context.Context, t operator.Try, chosen password.Plain) (operator.Secret, operator.Session, error)

	List(ctx context.Context) ([]operator.Operator, error)
	// Add, Reset and AddToken give what is shown once.
	Add(ctx context.Context, by audit.Author, name string, r operator.Role) (operator.Secret, error)
	Reset(ctx context.Context, by audit.Author, name string) (operator.Secret, error)
	// ChangeRole and Remove give [operator.ErrNotFound] or [operator.ErrLastOwner].
	ChangeRole(ctx context.Context, by audit.Author, name string, r operator.Role) error
	Remove(ctx context.Context, by audit.Author, name string) error
	ListTokens(ctx context.Context) ([]operator.Token, error)
	AddToken(ctx context.Context, by audit.Author, name, scope string) (operator.Secret, error)
	RemoveToken(ctx context.Context, by audit.Author, name string) error
}

const pathTokens = base + "/tokens"

func operatorsRoutes() []route {
	return []route{
		{"GET " + pathOperators, operator.RoleOwner, (*visit).listOperators},
		{"POST " + pathOperators, operator.RoleOwner, (*visit).addOperator},
		{"GET " + pathOperators + "/{name}", operator.RoleOwner, (*visit).showOperator},
		{"POST " + pathOperators + "/{name}/role", operator.RoleOwner, (*visit).changeRole},
		{"POST " + pathOperators + "/{name}/reset", operator.RoleOwner, (*visit).resetOperator},
		{"POST " + pathOperators + "/{name}/remove", operator.RoleOwner, (*visit).removeOperator},
		{"POST " + pathTokens, operator.RoleOwner, (*visit).addToken},
		{"POST " + pathTokens + "/remove", operator.RoleOwner, (*visit).removeToken},
	}
}

// access is what the page shows: who has access, and the forms as they were sent.
type access struct {
	operators       part[[]operator.Operator]
	tokens          part[[]operator.Token]
	name, role      string
	token, scope    string
	problem         string // with the operator's form
	problemOfTokens string
	self            string
	now             time.Time
}

// pathOf is where one operator is managed.
func pathOf(name string) string { return pathOperators + "/" + url.PathEscape(name) }

func (v *visit) listOperators() error {
	v.showAccess(http.StatusOK, access{role: string(operator.RoleOperator), scope: operator.Scopes()[0]})
	return nil
}

func (v *visit) showAccess(status int, a access) {
	a.self, a.now = v.who.Name, v.Now()
	a.operators.value, a.operators.err = v.Operators.List(v.r.Context())
	a.tokens.value, a.tokens.err = v.Operators.ListTokens(v.r.Context())
	a.operators.err, a.tokens.err = v.because(a.operators.err), v.because(a.tokens.err)
	v.show(status, "Operators and tokens", pathOperators, operatorsPage(a))
}

func (v *visit) addOperator() error {
	a := access{name: v.r.PostFormValue("name"), role: v.r.PostFormValue("role"), scope: operator.Scopes()[0]}
	link, err := v.Operators.Add(v.r.Context(), v.author(), a.name, operator.Role(a.role))
	if status, why := refused(err); status != 0 {
		a.problem = why
		v.showAccess(status, a)
		return nil
	}
	if err != nil {
		return err
	}
	v.showLink(a.name, link)
	return nil
}

// showLink shows a set-up link. It is nowhere but in this answer.
func (v *visit) showLink(name string, link operator.Secret) {
	v.show(http.StatusOK, "Set-up link", pathOperators, linkPage(name, SetUpURL(v.AdminURL(), link), v.Now().Add(operator.LinkLife), v.Now()))
}

func (v *visit) showOperator() error {
	all, err := v.Operators.List(v.r.Context())
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Name == v.r.PathValue("name") {
			v.show(http.StatusOK, o.Name, pathOperators, operatorPage(o, v.who.Name, v.Now()))
			return nil
		}
	}
	return &refusal{Status: http.StatusNotFound, Reason: operator.ErrNotFound.Error()}
}

func (v *visit) changeRole() error {
	name, role := v.r.PathValue("name"), operator.Role(v.r.PostFormValue("role"))
	err := v.Operators.ChangeRole(v.r.Context(), v.author(), name, role)
	if status, why := refused(err); status != 0 {
		return &refusal{Status: status, Reason: why}
	}
	if err != nil {
		return err
	}
	return v.done(pathOperators, name+" has the role "+string(role)+" from the next sign-in on.")
}

func (v *visit) resetOperator() error {
	name := v.r.PathValue("name")
	link, err := v.Operators.Reset(v.r.Context(), v.author(), name)
	if status, why := refused(err); status != 0 {
		return &refusal{Status: status, Reason: why}
	}
	if err != nil {
		return err
	}
	v.showLink(name, link)
	return nil
}

func (v *visit) removeOperator() error {
	name := v.r.PathValue("name")
	err := v.Operators.Remove(v.r.Context(), v.author(), name)
	if status, why := refused(err); status != 0 {
		return &refusal{Status: status, Reason: why}
	}
	if err != nil {
		return err
	}
	return v.done(pathOperators, name+" is removed and signed out.")
}

func (v *visit) addToken() error {
	a := access{role: string(operator.RoleOperator), token: v.r.PostFormValue("name"), scope: v.r.PostFormValue("scope")}
	token, err := v.Operators.AddToken(v.r.Context(), v.author(), a.token, a.scope)
	if status, why := refused(err); status != 0 {
		a.problemOfTokens = why
		v.showAccess(status, a)
		return nil
	}
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "Token", pathOperators, tokenPage(a.token, a.scope, token.Reveal()))
	return nil
}

func (v *visit) removeToken() error {
	name := v.r.PostFormValue("name")
	err := v.Operators.RemoveToken(v.r.Context(), v.author(), name)
	if status, why := refused(err); status != 0 {
		return &refusal{Status: status, Reason: why}
	}
	if err != nil {
		return err
	}
	return v.done(pathOperators, "The token "+name+" is removed: it does not work any more.")
}

// refused gives the status of what is the asker's to change, and what to say; 0 for
// any other error.
func refused(err error) (status int, why string) {
	var invalid *operator.Invalid
	switch {
	case errors.As(err, &invalid):
		return http.StatusBadRequest, sentence(invalid.Reason)
	case errors.Is(err, operator.ErrExists), errors.Is(err, operator.ErrTokenExists):
		return http.StatusConflict, sentence(err.Error()) + " Operators and tokens share their names, so that the audit trail tells them apart."
	case errors.Is(err, operator.ErrLastOwner):
		return http.StatusConflict, sentence(err.Error())
	case errors.Is(err, operator.ErrNotFound), errors.Is(err, operator.ErrNoToken):
		return http.StatusNotFound, sentence(err.Error())
	}
	return 0, ""
}

// author is who asked, as events name them.
func (v *visit) author() audit.Author {
	by := audit.Author{RequestID: v.w.Header().Get("X-Request-Id")}
	if v.who.Name != "" {
		by.Actor = v.who.Actor()
	}
	return by
}
