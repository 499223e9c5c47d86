package console

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/operator"
)

const (
	pathSessions = base + "/sessions"
	apiSessions  = "/admin/sessions"
)

func sessionsRoutes() []route {
	return []route{
		{"GET " + pathSessions, operator.RoleOperator, (*visit).sessions},
		{"POST " + pathSessions + "/{session}/revoke", operator.RoleOperator, func(v *visit) error { return v.endSession("session", pathSessions) }},
	}
}

// signedIn is a session of somebody, as the admin API shows it.
type signedIn struct {
	ID              uuid.UUID `json:"id"`
	Active          bool      `json:"active"`
	IssuedAt        time.Time `json:"issued_at"`
	ExpiresAt       time.Time `json:"expires_at"`
	AuthenticatedAt time.Time `json:"authenticated_at"`
	AAL             string    `json:"authenticator_assurance_level"`
	Methods         []struct {
		Method   string `json:"method"`
		Provider string `json:"provider"`
	} `json:"authentication_methods"`
	Devices []struct {
		Address   string `json:"ip_address"`
		UserAgent string `json:"user_agent"`
	} `json:"devices"`
	Identity *person `json:"identity"`
}

// by are the methods that somebody has signed in by.
func (s signedIn) by() string {
	var all []string
	for _, m := range s.Methods {
		name := m.Method
		if m.Provider != "" {
			name += " (" + m.Provider + ")"
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

// device is where it was begun, and network from which address.
func (s signedIn) device() string {
	if len(s.Devices) == 0 || s.Devices[0].UserAgent == "" {
		return "unknown device"
	}
	return s.Devices[0].UserAgent
}

func (s signedIn) network() string {
	if len(s.Devices) == 0 {
		return ""
	}
	if host, _, err := net.SplitHostPort(s.Devices[0].Address); err == nil {
		return host // the port says nothing
	}
	return s.Devices[0].Address
}

// sessionList is a page of all sessions.
type sessionList struct {
	sessions []signedIn
	which    string // "active", "ended" or "all"
	next     string
	first    bool
	now      time.Time
}

// sessions lists all, by id.
func (v *visit) sessions() error {
	q := v.r.URL.Query()
	list := sessionList{which: q.Get("which"), first: q.Get("after") == "", now: v.Now()}
	query := url.Values{"expand": {"identity", "devices"}}
	switch list.which {
	case "ended":
		query.Set("active", "false")
	case "all":
	default:
		list.which = "active"
		query.Set("active", "true")
	}
	var err error
	list.next, err = v.list(apiSessions, query, q.Get("after"), &list.sessions)
	v.show(http.StatusOK, "Sessions", pathIdentities, sessionsPage(list, err))
	return nil
}

// endSession revokes the session of the path and goes to a page.
func (v *visit) endSession(name, to string) error {
	id, err := uuid.Parse(v.r.PathValue(name))
	if err != nil {
		return &refusal{Status: http.StatusNotFound, Reason: "There is no session with this id."}
	}
	if err := v.ask(http.MethodDelete, apiSessions+"/"+id.String(), nil, nil, nil); err != nil {
		return err
	}
	return v.done(to, "The session has ended.")
}
