package console

import (
	"errors"
	"net/http"

	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
)

const pathPassword = base + "/password"

func passwordRoutes() []route {
	return []route{
		{"GET " + pathPassword, operator.RoleOperator, (*visit).passwordPage},
		{"POST " + pathPassword, operator.RoleOperator, (*visit).changePassword},
	}
}

// passwordPage is where operators change their own password.
func (v *visit) passwordPage() error {
	v.show(http.StatusOK, "Your password", pathPassword, passwordPage(v.who.Name, ""))
	return nil
}

func (v *visit) changePassword() error {
	chosen := v.r.PostFormValue("password")
	if chosen != v.r.PostFormValue("again") {
		v.show(http.StatusBadRequest, "Your password", pathPassword, passwordPage(v.who.Name, "The two new passwords are not the same."))
		return nil
	}
	token, session, err := v.Operators.ChangePassword(v.r.Context(), operator.Try{
		Name: v.who.Name, Password: password.New(v.r.PostFormValue("current")), Client: v.Client(v.r), By: v.author(),
	}, password.New(chosen))
	if err != nil {
		status, problem := v.whyNot(err)
		if errors.Is(err, operator.ErrWrong) {
			status, problem = http.StatusBadRequest, "The present password is wrong."
		}
		v.show(status, "Your password", pathPassword, passwordPage(v.who.Name, problem))
		return nil
	}
	v.setCookie(sessionCookie, token.Reveal(), session.ExpiresAt.Sub(v.Now()))
	return v.done(pathPassword, "Your password is changed. All your other sessions have ended.")
}
