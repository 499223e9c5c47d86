package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
)

// grant is what a registration has granted, as the admin API shows it.
type grant struct {
	ID        uuid.UUID  `json:"id"`
	FlowType  string     `json:"flow_type"`
	Method    string     `json:"method"`
	Provider  string     `json:"provider"`
	Bypass    bool       `json:"bypass"`
	SessionID *uuid.UUID `json:"session_id"`
	CreatedAt time.Time  `json:"created_at"`
}

// how is by what way somebody has registered.
func (g grant) how() string {
	how := "by " + g.Method
	if g.Provider != "" {
		how += " (" + g.Provider + ")"
	}
	return how + ", " + g.FlowType + " flow"
}

// dossier is all that is shown of one identity.
type dossier struct {
	id       string
	person   part[person]
	grants   part[[]grant]
	sessions part[[]signedIn]
	events   part[eventList]
	now      time.Time
}

// gone tells whether there is no such identity, or no more.
func (d dossier) gone() bool {
	refused, ok := asRefusal(d.person.err)
	return ok && refused.Status == http.StatusNotFound
}

// name is the title of the page.
func (d dossier) name() string {
	if label := d.person.value.label(); label != "" {
		return label
	}
	return "Identity " + d.id[:8]
}

// person shows one identity. What was deleted still has its events.
func (v *visit) person() error {
	id, err := v.pathID("id")
	if err != nil {
		return err
	}
	of := apiIdentities + "/" + id
	d := dossier{id: id, now: v.Now(), person: load[person](v, of, nil)}
	d.events = load[eventList](v, apiEvents, url.Values{"order": {"newest"}, "subject": {id}, "limit": {strconv.Itoa(listPage)}})
	status := http.StatusOK
	if d.gone() {
		status = http.StatusNotFound
	} else {
		d.grants = load[[]grant](v, of+"/grants", nil)
		d.sessions = load[[]signedIn](v, of+"/sessions", url.Values{"page": {"1"}, "per_page": {strconv.Itoa(2 * listPage)}})
	}
	v.show(status, "Identity "+id[:8], pathIdentities, personPage(d))
	return nil
}

var errNoIdentity = &refusal{Status: http.StatusNotFound, Reason: "There is no identity with this id."}

// pathID is an id in the path of the console's page.
func (v *visit) pathID(name string) (string, error) {
	id, err := uuid.Parse(v.r.PathValue(name))
	if err != nil {
		return "", errNoIdentity
	}
	return id.String(), nil
}

// act asks the admin API to change something about an identity, and goes back.
func (v *visit) act(method, path string, body any, notice string) error {
	id, err := v.pathID("id")
	if err != nil {
		return err
	}
	if err := v.ask(method, apiIdentities+"/"+id+path, nil, body, nil); err != nil {
		return err
	}
	return v.done(pathIdentities+"/"+id, notice)
}

func (v *visit) setState(state, notice string) error {
	return v.act(http.MethodPatch, "", []map[string]string{{"op": "replace", "path": "/state", "value": state}}, notice)
}

func (v *visit) revokeAllOf() error {
	return v.act(http.MethodDelete, "/sessions", nil, "All sessions of this identity have ended.")
}

// revokeOneOf ends a session and goes back to whose it is.
func (v *visit) revokeOneOf() error {
	id, err := v.pathID("id")
	if err != nil {
		return err
	}
	return v.endSession("session", pathIdentities+"/"+id)
}

// handedOut is a recovery that was begun for somebody, as the admin API shows it.
type handedOut struct {
	Link      string    `json:"recovery_link"`
	Code      string    `json:"recovery_code"`
	ExpiresAt time.Time `json:"expires_at"`
}

// apiRecovery begins recoveries, by code or link.
const apiRecovery = "/admin/recovery/"

// recoverPerson makes a code or link that signs somebody in. It is nowhere but in this
// answer.
func (v *visit) recoverPerson() error {
	id, err := v.pathID("id")
	if err != nil {
		return err
	}
	form, err := v.form()
	if err != nil {
		return err
	}
	by := form.Get("by")
	if by != "code" && by != "link" {
		return &refusal{Status: http.StatusBadRequest, Reason: "Say whether to make a code or a link."}
	}
	var r handedOut
	if err := v.ask(http.MethodPost, apiRecovery+by, nil, map[string]string{"identity_id": id, "expires_in": form.Get("expires_in")}, &r); err != nil {
		return err
	}
	v.show(http.StatusOK, "Recovery", pathIdentities, recoveryPage(id, r, v.Now()))
	return nil
}

// confirmDeletion asks once more.
func (v *visit) confirmDeletion() error {
	id, err := v.pathID("id")
	if err != nil {
		return err
	}
	var p person
	if err := v.get(apiIdentities+"/"+id, nil, &p); err != nil {
		return err
	}
	v.show(http.StatusOK, "Delete identity "+id[:8], pathIdentities, deletionPage(p))
	return nil
}

func (v *visit) deleteIdentity() error {
	id, err := v.pathID("id")
	if err != nil {
		return err
	}
	if err := v.ask(http.MethodDelete, apiIdentities+"/"+id, nil, nil, nil); err != nil {
		return err
	}
	return v.done(pathIdentities, "The identity "+id+" is deleted.")
}

// pretty is JSON as people read it; what is none stays as it is. What would turn
// the direction of the text around it stands there as an escape.
func pretty(raw json.RawMessage) string {
	var indented bytes.Buffer
	if json.Indent(&indented, raw, "", "  ") != nil {
		indented.Reset()
		indented.Write(raw)
	}
	var b strings.Builder
	for _, r := range indented.String() {
		if unicode.Is(unicode.Bidi_Control, r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// given tells whether a JSON value says anything.
func given(raw json.RawMessage) bool {
	text := string(bytes.TrimSpace(raw))
	return text != "" && text != "null" && text != "{}"
}
