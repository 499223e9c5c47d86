package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/operator"
)

const (
	pathIdentities = base + "/identities"
	apiIdentities  = "/admin/identities"
	apiExternal    = apiIdentities + "/by/external/"

	// maxSearch is longer than any address or user name.
	maxSearch = 320
	// minPart and maxPart bound in bytes what the API looks for within identifiers.
	minPart, maxPart = 3, 254

	// importedElsewhere stands at the list by time: an import tells of many people in
	// one event, and ids have no order of time.
	importedElsewhere = "People who were imported without --events created are under “All, by id”."
)

func identitiesRoutes() []route {
	one := pathIdentities + "/{id}"
	return []route{
		{"GET " + pathIdentities, operator.RoleOperator, (*visit).identities},
		{"POST " + pathIdentities + "/search", operator.RoleOperator, (*visit).searchIdentities},
		{"GET " + one, operator.RoleOperator, (*visit).person},
		{"POST " + one + "/disable", operator.RoleOperator, func(v *visit) error {
			return v.setState("inactive", "The identity is disabled, and its sessions have ended.")
		}},
		{"POST " + one + "/enable", operator.RoleOperator, func(v *visit) error { return v.setState("active", "The identity is enabled: it can sign in again.") }},
		{"POST " + one + "/sessions/revoke", operator.RoleOperator, (*visit).revokeAllOf},
		{"POST " + one + "/sessions/{session}/revoke", operator.RoleOperator, (*visit).revokeOneOf},
		{"POST " + one + "/recover", operator.RoleOperator, (*visit).recoverPerson},
		{"GET " + one + "/delete", operator.RoleOperator, (*visit).confirmDeletion},
		{"POST " + one + "/delete", operator.RoleOperator, (*visit).deleteIdentity},
	}
}

// orderQuery is the query of an order of the list.
func orderQuery(order string) string {
	if order == "" {
		return ""
	}
	return "?" + url.Values{"order": {order}}.Encode()
}

// person is an identity as the admin API shows it.
type person struct {
	ID             uuid.UUID             `json:"id"`
	ExternalID     string                `json:"external_id"`
	SchemaID       string                `json:"schema_id"`
	State          string                `json:"state"`
	StateChangedAt time.Time             `json:"state_changed_at"`
	Traits         json.RawMessage       `json:"traits"`
	Addresses      []address             `json:"verifiable_addresses"`
	Recovery       []address             `json:"recovery_addresses"`
	MetadataPublic json.RawMessage       `json:"metadata_public"`
	MetadataAdmin  json.RawMessage       `json:"metadata_admin"`
	Credentials    map[string]credential `json:"credentials"`
	CreatedAt      time.Time             `json:"created_at"`
	UpdatedAt      time.Time             `json:"updated_at"`
}

type address struct {
	Value      string    `json:"value"`
	Via        string    `json:"via"`
	Verified   bool      `json:"verified"`
	Status     string    `json:"status"`
	VerifiedAt time.Time `json:"verified_at"`
}

type credential struct {
	Type        string    `json:"type"`
	Identifiers []string  `json:"identifiers"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// label is what a person is known by in a list: an address, or another text of theirs.
func (p person) label() string {
	for _, all := range [][]address{p.Addresses, p.Recovery} {
		if len(all) > 0 {
			return all[0].Value
		}
	}
	for _, kind := range p.kinds() {
		if kind.Type != methodOIDC && len(kind.Identifiers) > 0 {
			return kind.Identifiers[0]
		}
	}
	return ""
}

const methodOIDC = "oidc"

// kinds are the credentials, by type.
func (p person) kinds() []credential {
	all := make([]credential, 0, len(p.Credentials))
	for _, c := range p.Credentials {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b credential) int { return strings.Compare(a.Type, b.Type) })
	return all
}

// account is one at a provider, as the identifier of its credential names it.
type account struct{ provider, subject string }

// accounts are those that are linked.
func (p person) accounts() []account {
	var all []account
	for _, identifier := range p.Credentials[methodOIDC].Identifiers {
		provider, subject, _ := strings.Cut(identifier, ":")
		all = append(all, account{provider, subject})
	}
	return all
}

// identityRow is an identity in a list; nil is one that is not there any more.
type identityRow struct {
	id     string
	since  time.Time
	person *person
}

// identityList is a page of identities.
type identityList struct {
	rows   []identityRow
	byID   bool   // not newest first
	next   string // of the next page, empty for none
	first  bool
	search string // what was looked for
	part   bool   // also within identifiers
	now    time.Time
}

// identities lists them: the newest first by the events that tell of them, or all
// by id, which no page needs to be counted for.
func (v *visit) identities() error {
	q := v.r.URL.Query()
	list := identityList{byID: q.Get("order") == "id", first: q.Get("after") == "", now: v.Now()}
	read := v.newestIdentities
	if list.byID {
		read = v.identitiesByID
	}
	err := read(&list, q.Get("after"))
	v.show(http.StatusOK, "Identities", pathIdentities, identitiesPage(list, err))
	return nil
}

// newestIdentities finds them by the event log: ids have no order of time.
func (v *visit) newestIdentities(list *identityList, after string) error {
	var page eventList
	query := url.Values{"order": {"newest"}, "type": {"identity.created"}, "limit": {strconv.Itoa(listPage)}}
	if after != "" {
		query.Set("after", after)
	}
	if err := v.get(apiEvents, query, &page); err != nil {
		return err
	}
	list.next = page.Next
	ids := url.Values{}
	for _, e := range page.Events {
		if e.Subject != "" {
			list.rows = append(list.rows, identityRow{id: e.Subject, since: e.Time})
			ids.Add("ids", e.Subject)
		}
	}
	if len(list.rows) == 0 {
		return nil
	}
	var found []person
	if err := v.get(apiIdentities, ids, &found); err != nil {
		return err
	}
	for n := range found {
		at := slices.IndexFunc(list.rows, func(r identityRow) bool { return r.id == found[n].ID.String() })
		if at >= 0 {
			list.rows[at].person = &found[n]
		}
	}
	return nil
}

func (v *visit) identitiesByID(list *identityList, after string) error {
	var found []person
	next, err := v.list(apiIdentities, url.Values{}, after, &found)
	list.next = next
	list.add(found)
	return err
}

func (l *identityList) add(found []person) {
	for n := range found {
		l.rows = append(l.rows, identityRow{id: found[n].ID.String(), since: found[n].CreatedAt, person: &found[n]})
	}
}

// nobody says that nobody was found.
func (l identityList) nobody() string {
	if l.part {
		return "Nobody has this identifier, or one that holds it. An address that is not verified yet may belong to nobody."
	}
	return "Nobody has exactly this identifier. Three letters of an address or user name are enough; an external id must be whole."
}

// byExternalID begins what is an external id, as on the command line.
const byExternalID = "external:"

// find gives whom an identifier means, or an external id behind [byExternalID].
func (v *visit) find(text string) (found []person, err error) {
	external, ok := strings.CutPrefix(text, byExternalID)
	if !ok {
		err = v.get(apiIdentities, url.Values{"credentials_identifier": {text}}, &found)
		return found, err
	}
	var p person
	err = v.get(apiExternal+external, nil, &p)
	if refused, ok := asRefusal(err); ok && refused.Status == http.StatusNotFound {
		return nil, nil
	}
	return []person{p}, err
}

// searchIdentities leads to whom an id, an address or another identifier means, or
// shows those whose identifiers hold it. It is a post: what was looked for stands in no URL.
func (v *visit) searchIdentities() error {
	text := strings.TrimSpace(v.r.PostFormValue("q"))
	list := identityList{search: text, byID: true, first: true, now: v.Now()}
	if id, err := uuid.Parse(text); err == nil {
		v.redirect(pathIdentities + "/" + id.String())
		return nil
	}
	if text == "" || len(text) > maxSearch {
		v.show(http.StatusBadRequest, "Identities", pathIdentities, identitiesPage(list, nil))
		return nil
	}
	found, err := v.find(text)
	if err == nil && len(found) == 1 {
		v.redirect(pathIdentities + "/" + found[0].ID.String())
		return nil
	}
	if err == nil && len(found) == 0 && len(text) >= minPart && len(text) <= maxPart && !strings.HasPrefix(text, byExternalID) {
		list.part = true
		list.next, err = v.list(apiIdentities, url.Values{"preview_credentials_identifier_similar": {text}}, "", &found)
	}
	list.add(found)
	v.show(http.StatusOK, "Identities", pathIdentities, identitiesPage(list, err))
	return nil
}
