package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/flow"
)

// wantedRecovery is the body that begins a recovery for somebody.
type wantedRecovery struct {
	IdentityID string    `json:"identity_id"`
	ExpiresIn  string    `json:"expires_in"`
	FlowType   flow.Type `json:"flow_type"`
}

// begunRecovery is what an administrator hands out. It holds a secret, and is shown once.
type begunRecovery struct {
	Link      string `json:"recovery_link"`
	Code      string `json:"recovery_code,omitempty"`
	ExpiresAt stamp  `json:"expires_at"`
}

// recoverByCode begins a recovery for an identity, and gives its code and where that is
// entered.
func (s *Server) recoverByCode(x *exchange) error {
	begun, err := s.beginRecovery(x, flow.MethodCode)
	if err != nil {
		return err
	}
	return x.encode(http.StatusCreated, begunRecovery{x.settings.page(begun.Flow), begun.Code.Reveal(), stamp(begun.Flow.ExpiresAt)})
}

// recoverByLink begins a recovery for an identity, and gives the link that signs it in.
func (s *Server) recoverByLink(x *exchange) error {
	begun, err := s.beginRecovery(x, flow.MethodLink)
	if err != nil {
		return err
	}
	return x.encode(http.StatusOK, begunRecovery{Link: begun.Link.Reveal(), ExpiresAt: stamp(begun.Flow.ExpiresAt)})
}

func (s *Server) beginRecovery(x *exchange, method string) (*admin.Begun, error) {
	if !x.settings.Recovery.Enabled {
		off := *classify(errDisabled)
		off.reason = "Recovery is switched off: set selfservice.flows.recovery.enabled to true."
		return nil, &off
	}
	var in wantedRecovery
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	r := admin.Recovery{Method: method, Type: flow.Browser, Author: x.author()}
	var err error
	if r.IdentityID, err = parseID(in.IdentityID); err != nil {
		return nil, refuse("identity_id must be the id of an identity")
	}
	switch {
	case in.FlowType == flow.API && method == flow.MethodCode:
		r.Type = flow.API
	case in.FlowType != "" && in.FlowType != flow.Browser:
		return nil, refuse("flow_type must be %s or, for a code, %s", flow.Browser, flow.API)
	}
	if in.ExpiresIn != "" {
		lifespan, err := time.ParseDuration(in.ExpiresIn)
		if err != nil {
			return nil, refuse("expires_in must be a duration such as 12h or 30m")
		}
		r.Lifespan = &lifespan
	}
	if r.ReturnTo, err = x.returnTo("return_to"); err != nil {
		return nil, err
	}
	r.RequestURL = x.settings.begins(&flow.Flow{Kind: flow.Recovery, Type: r.Type})
	begun, err := x.Administrator.Recover(x.r.Context(), r)
	if err != nil {
		return nil, fmt.Errorf("begin recovery: %w", err)
	}
	return begun, nil
}
