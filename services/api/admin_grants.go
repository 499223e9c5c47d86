package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
)

// Grants reads what registrations have granted.
type Grants interface {
	// Grants gives those of an identity.
	Grants(ctx context.Context, identityID uuid.UUID) ([]registration.Grant, error)
}

// grantView shows whether a person was let in although unverified, and by which
// session.
type grantView struct {
	ID                 uuid.UUID  `json:"id"`
	FlowID             uuid.UUID  `json:"flow_id"`
	FlowType           flow.Type  `json:"flow_type"`
	Method             string     `json:"method"`
	Provider           string     `json:"provider,omitempty"`
	Bypass             bool       `json:"bypass"`
	SessionID          *uuid.UUID `json:"session_id"`
	VerificationFlowID *uuid.UUID `json:"verification_flow_id"`
	Steps              stepsView  `json:"steps"`
	CreatedAt          stamp      `json:"created_at"`
}

type stepsView struct {
	ReceivedAt  *stamp `json:"received_at"`
	CheckedAt   *stamp `json:"checked_at"`
	HashedAt    *stamp `json:"hashed_at"`
	RequestedAt *stamp `json:"requested_at"`
	IssuedAt    *stamp `json:"issued_at"`
}

// listGrants gives the grants of an identity: one, where it has registered itself.
func (s *Server) listGrants(x *exchange) error {
	id, err := x.pathID(identity.ErrNotFound)
	if err != nil {
		return err
	}
	if _, err := s.Identities.Identity(x.r.Context(), id); err != nil {
		return fmt.Errorf("grants: %w", err)
	}
	grants, err := s.Grants.Grants(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("grants: %w", err)
	}
	views := make([]grantView, len(grants))
	for n, g := range grants {
		views[n] = grantView{
			ID:                 g.ID,
			FlowID:             g.FlowID,
			FlowType:           g.FlowType,
			Method:             g.Method,
			Provider:           g.Provider,
			Bypass:             g.Bypass,
			SessionID:          unlessZero(g.SessionID),
			VerificationFlowID: unlessZero(g.VerificationFlowID),
			Steps: stepsView{
				ReceivedAt:  happened(g.Steps.ReceivedAt),
				CheckedAt:   happened(g.Steps.CheckedAt),
				HashedAt:    happened(g.Steps.HashedAt),
				RequestedAt: happened(g.Steps.RequestedAt),
				IssuedAt:    happened(g.Steps.IssuedAt),
			},
			CreatedAt: stamp(g.CreatedAt),
		}
	}
	return x.encode(http.StatusOK, views)
}

func unlessZero(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// happened gives nil for what did not happen.
func happened(at time.Time) *stamp {
	if at.IsZero() {
		return nil
	}
	s := stamp(at)
	return &s
}
