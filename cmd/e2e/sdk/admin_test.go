package sdk_test

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ory/client-go"
)

func TestAdminIdentities(t *testing.T) {
	t.Parallel()
	api := admin().IdentityAPI
	address, made := newVerified(t)
	equal(t, "state", made.GetState(), "active")
	equal(t, "verified", made.VerifiableAddresses[0].Verified, true)

	got := call(api.GetIdentity(t.Context(), made.Id).IncludeCredential([]string{"password"}).Execute()).ok(t, http.StatusOK)
	credentials := (*got.Credentials)["password"]
	equal(t, "identifiers", strings.Join(credentials.Identifiers, " "), address)
	if hash, ok := credentials.Config["hashed_password"].(string); !ok || hash == "" {
		t.Errorf("config = %v, want the hash", credentials.Config)
	}
	found := call(api.ListIdentities(t.Context()).CredentialsIdentifier(address).Execute()).ok(t, http.StatusOK)
	if len(found) != 1 || found[0].Id != made.Id {
		t.Errorf("list by identifier = %v, want the one person", found)
	}
	similar := call(api.ListIdentities(t.Context()).PreviewCredentialsIdentifierSimilar(address[1:len(address)-1]).Execute()).ok(t, http.StatusOK)
	if len(similar) != 1 || similar[0].Id != made.Id {
		t.Errorf("list by part of an identifier = %v, want the one person", similar)
	}
	if none := call(api.ListIdentities(t.Context()).OrganizationId(made.Id).Execute()).ok(t, http.StatusOK); len(none) > 0 {
		t.Errorf("list of an organization = %v, want nobody", none)
	}

	patched := call(api.PatchIdentity(t.Context(), made.Id).JsonPatch([]client.JsonPatch{
		{Op: "add", Path: "/traits/name", Value: map[string]any{"first": "Ann"}},
		{Op: "replace", Path: "/metadata_public", Value: map[string]any{"plan": "free"}},
	}).Execute()).ok(t, http.StatusOK)
	equal(t, "metadata", patched.MetadataPublic["plan"], any("free"))
	refusedAs(t, call(api.PatchIdentity(t.Context(), made.Id).
		JsonPatch([]client.JsonPatch{{Op: "replace", Path: "/id", Value: nowhere}}).Execute()), http.StatusBadRequest, "")

	body := client.NewUpdateIdentityBody("default", "inactive", map[string]any{"email": address})
	body.MetadataAdmin = map[string]any{"note": "left"}
	put := call(api.UpdateIdentity(t.Context(), made.Id).UpdateIdentityBody(*body).Execute()).ok(t, http.StatusOK)
	equal(t, "state", put.GetState(), "inactive")
	equal(t, "metadata for admins", put.MetadataAdmin["note"], any("left"))

	done(api.DeleteIdentity(t.Context(), made.Id).Execute()).ok(t, http.StatusNoContent)
	refusedAs(t, call(api.GetIdentity(t.Context(), made.Id).Execute()), http.StatusNotFound, "")
	refusedAs(t, done(api.DeleteIdentity(t.Context(), made.Id).Execute()), http.StatusNotFound, "")
}

// TestAdminExternalID finds somebody by what another system calls them.
func TestAdminExternalID(t *testing.T) {
	t.Parallel()
	api := admin().IdentityAPI
	address := newAddress()
	external := "crm/" + address
	body := client.NewCreateIdentityBody("default", map[string]any{"email": address})
	body.ExternalId = &external
	made := call(api.CreateIdentity(t.Context()).CreateIdentityBody(*body).Execute()).ok(t, http.StatusCreated)
	equal(t, "external id", made.GetExternalId(), external)
	found := call(api.GetIdentityByExternalID(t.Context(), external).Execute()).ok(t, http.StatusOK)
	equal(t, "found", found.Id, made.Id)
	equal(t, "external id", found.GetExternalId(), external)
	refusedAs(t, call(api.GetIdentityByExternalID(t.Context(), external+"x").Execute()), http.StatusNotFound, "")

	body = client.NewCreateIdentityBody("default", map[string]any{"email": newAddress()})
	body.ExternalId = &external
	refusedAs(t, call(api.CreateIdentity(t.Context()).CreateIdentityBody(*body).Execute()), http.StatusConflict, "")
	patched := call(api.PatchIdentity(t.Context(), made.Id).JsonPatch([]client.JsonPatch{{Op: "replace", Path: "/external_id", Value: external + "/2"}}).Execute()).ok(t, http.StatusOK)
	equal(t, "external id", patched.GetExternalId(), external+"/2")
	put := client.NewUpdateIdentityBody("default", "active", map[string]any{"email": address})
	put.ExternalId = &external
	equal(t, "external id", call(api.UpdateIdentity(t.Context(), made.Id).UpdateIdentityBody(*put).Execute()).ok(t, http.StatusOK).GetExternalId(), external)
}

// TestAdminAccounts: who is made with an account at a provider signs in there.
func TestAdminAccounts(t *testing.T) {
	t.Parallel()
	user := newAddress()
	create := func() called[*client.Identity] {
		body := client.NewCreateIdentityBody("default", map[string]any{"email": newAddress()})
		body.Credentials = &client.IdentityWithCredentials{Oidc: &client.IdentityWithCredentialsOidc{Config: &client.IdentityWithCredentialsOidcConfig{
			Providers: []client.IdentityWithCredentialsOidcConfigProvider{*client.NewIdentityWithCredentialsOidcConfigProvider(provider, hex.EncodeToString([]byte(user)))},
		}}}
		return call(admin().IdentityAPI.CreateIdentity(t.Context()).CreateIdentityBody(*body).Execute())
	}
	made := create().ok(t, http.StatusCreated)
	refusedAs(t, create(), http.StatusConflict, "")

	app := newApp()
	begun := call(app.CreateNativeLoginFlow(t.Context()).ReturnSessionTokenExchangeCode(true).Execute()).ok(t, http.StatusOK)
	to := comesBack(t, nil, atProvider(t, moved(t, call(app.UpdateLoginFlow(t.Context()).Flow(begun.Id).UpdateLoginFlowBody(signInAt(provider, nil)).Execute())), user))
	in := call(app.ExchangeSessionToken(t.Context()).InitCode(*begun.SessionTokenExchangeCode).ReturnToCode(to.Query().Get("code")).Execute()).ok(t, http.StatusOK)
	equal(t, "identity", in.Session.Identity.Id, made.Id)
	found := call(admin().IdentityAPI.ListIdentities(t.Context()).CredentialsIdentifier(provider+":"+hex.EncodeToString([]byte(user))).Execute()).ok(t, http.StatusOK)
	equal(t, "found", len(found), 1)
	equal(t, "identity", found[0].Id, made.Id)
}

// TestAdminBatch makes many at once; what is wrong with one is its own.
func TestAdminBatch(t *testing.T) {
	t.Parallel()
	api := admin().IdentityAPI
	create := func(address string) client.IdentityPatch {
		id := address
		return client.IdentityPatch{Create: client.NewCreateIdentityBody("default", map[string]any{"email": address}), PatchId: &id}
	}
	var body client.PatchIdentitiesBody
	for range 3 {
		body.Identities = append(body.Identities, create(newAddress()))
	}
	body.Identities = append(body.Identities, body.Identities[0], create("nonsense"))
	answer := call(api.BatchPatchIdentities(t.Context()).PatchIdentitiesBody(body).Execute()).ok(t, http.StatusOK)
	for n, e := range answer.Identities {
		want := []string{"create", "create", "create", "error", "error"}[n]
		equal(t, "action", e.GetAction(), want)
		equal(t, "patch id", e.GetPatchId(), body.Identities[n].GetPatchId())
		if e.HasIdentity() != (want == "create") || (e.Error == nil) != (want == "create") {
			t.Errorf("entry %d = %+v, want %s", n, e, want)
		}
	}
	made := call(api.GetIdentity(t.Context(), answer.Identities[1].GetIdentity()).Execute()).ok(t, http.StatusOK)
	equal(t, "address", made.VerifiableAddresses[0].Value, body.Identities[1].GetPatchId())

	fresh := newAddress()
	together := client.PatchIdentitiesBody{Identities: []client.IdentityPatch{create(fresh), body.Identities[0]}}
	together.SetWithPartialInserts(false)
	refusedAs(t, call(api.BatchPatchIdentities(t.Context()).PatchIdentitiesBody(together).Execute()), http.StatusConflict, "")
	none := call(api.ListIdentities(t.Context()).CredentialsIdentifier(fresh).Execute()).ok(t, http.StatusOK)
	equal(t, "found", len(none), 0)
}

// TestAdminCredentials: with a way to sign in go the sessions, and the last way stays.
func TestAdminCredentials(t *testing.T) {
	t.Parallel()
	api := admin().IdentityAPI
	_, address, linked := withAccount(t)
	id := linked.Identity.Id
	person := call(api.GetIdentity(t.Context(), id).Execute()).ok(t, http.StatusOK)
	account := (*person.Credentials)["oidc"].Identifiers[0]
	remove := func(kind, identifier string) called[struct{}] {
		return done(api.DeleteIdentityCredentials(t.Context(), id, kind).Identifier(identifier).Execute())
	}
	refusedAs(t, done(api.DeleteIdentityCredentials(t.Context(), id, "oidc").Execute()), http.StatusBadRequest, "")
	refusedAs(t, remove("oidc", account+"0"), http.StatusNotFound, "")
	refusedAs(t, remove("totp", ""), http.StatusNotFound, "")
	token := signIn(t, address).GetSessionToken()
	remove("oidc", account).ok(t, http.StatusNoContent)
	refusedAs(t, call(newApp().ToSession(t.Context()).XSessionToken(token).Execute()), http.StatusUnauthorized, "")
	refusedAs(t, remove("oidc", account), http.StatusNotFound, "")
	refusedAs(t, done(api.DeleteIdentityCredentials(t.Context(), id, "password").Execute()), http.StatusBadRequest, "")
	signIn(t, address)
}

// TestOtherListener: the SDK that is set up with one listener's URL for all is led to
// the other one.
func TestOtherListener(t *testing.T) {
	t.Parallel()
	app, address := newSDK(adminURL+"/admin", nil).FrontendAPI, newAddress()
	flow := call(app.CreateNativeRegistrationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	made := call(app.UpdateRegistrationFlow(t.Context()).Flow(flow.Id).UpdateRegistrationFlowBody(registration(nil, address, password)).Execute()).ok(t, http.StatusOK)
	done(app.PerformNativeLogout(t.Context()).PerformNativeLogoutBody(*client.NewPerformNativeLogoutBody(made.GetSessionToken())).Execute()).ok(t, http.StatusNoContent)

	api := newSDK(publicURL, nil).IdentityAPI
	equal(t, "identity", call(api.GetIdentity(t.Context(), made.Identity.Id).Execute()).ok(t, http.StatusOK).Id, made.Identity.Id)
	done(api.DeleteIdentity(t.Context(), made.Identity.Id).Execute()).ok(t, http.StatusNoContent)
	refusedAs(t, call(api.GetIdentity(t.Context(), made.Identity.Id).Execute()), http.StatusNotFound, "")
}

func TestAdminIdentityRefused(t *testing.T) {
	t.Parallel()
	api := admin().IdentityAPI
	address, _ := newVerified(t)
	create := func(schema string, traits map[string]any) called[*client.Identity] {
		return call(api.CreateIdentity(t.Context()).CreateIdentityBody(*client.NewCreateIdentityBody(schema, traits)).Execute())
	}
	refusedAs(t, create("default", map[string]any{"email": address}), http.StatusConflict, "")
	refusedAs(t, create("default", map[string]any{"email": "no address"}), http.StatusBadRequest, "")
	refusedAs(t, create("no-such-schema", map[string]any{"email": newAddress()}), http.StatusBadRequest, "")
}

// TestAdminIdentityPages reads the list page by page, by the link to the next one.
func TestAdminIdentityPages(t *testing.T) {
	t.Parallel()
	api := admin().IdentityAPI
	var made, listed []string
	for range 3 {
		_, person := newVerified(t)
		made = append(made, person.Id)
	}
	for token := ""; ; {
		ask := api.ListIdentities(t.Context()).PageSize(2)
		if token != "" {
			ask = ask.PageToken(token)
		}
		asked := call(ask.Execute())
		page := asked.ok(t, http.StatusOK)
		if len(page) > 2 {
			t.Fatalf("a page of 2 has %d identities", len(page))
		}
		for _, i := range page {
			listed = append(listed, i.Id)
		}
		if token = nextPage(t, asked.response); token == "" {
			break
		}
	}
	for _, id := range made {
		if !slices.Contains(listed, id) {
			t.Errorf("no page has %s", id)
		}
	}
	if slices.Sort(listed); len(slices.Compact(slices.Clone(listed))) != len(listed) {
		t.Error("somebody is on two pages")
	}
}

// nextPage is the token of the next page, "" on the last one.
func nextPage(t *testing.T, r *http.Response) string {
	t.Helper()
	for link := range strings.SplitSeq(strings.Join(r.Header.Values("Link"), ","), ",") {
		target, rel, _ := strings.Cut(link, ";")
		if strings.TrimSpace(rel) != `rel="next"` {
			continue
		}
		u, err := url.Parse(strings.Trim(strings.TrimSpace(target), "<>"))
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("page_token")
	}
	return ""
}

func TestAdminSessions(t *testing.T) {
	t.Parallel()
	api := admin().IdentityAPI
	address, person := newVerified(t)
	in := signIn(t, address)

	bare := call(api.GetSession(t.Context(), in.Session.Id).Execute()).ok(t, http.StatusOK)
	if bare.Identity != nil {
		t.Error("the identity is there, unasked")
	}
	whole := call(api.GetSession(t.Context(), in.Session.Id).Expand([]string{"identity", "devices"}).Execute()).ok(t, http.StatusOK)
	equal(t, "identity", whole.Identity.Id, person.Id)
	equal(t, "number of devices", len(whole.Devices), 1)
	refusedAs(t, call(api.GetSession(t.Context(), nowhere).Execute()), http.StatusNotFound, "")

	listed := call(api.ListSessions(t.Context()).Active(true).PageSize(500).Expand([]string{"identity"}).Execute()).ok(t, http.StatusOK)
	if !slices.ContainsFunc(listed, func(s client.Session) bool { return s.Id == in.Session.Id && s.Identity.Id == person.Id }) {
		t.Error("the list does not have the session")
	}

	extended := call(api.ExtendSession(t.Context(), in.Session.Id).Execute()).ok(t, http.StatusOK)
	if !extended.GetExpiresAt().After(in.Session.GetExpiresAt()) {
		t.Errorf("expires at %v, want after %v", extended.GetExpiresAt(), in.Session.GetExpiresAt())
	}

	done(api.DisableSession(t.Context(), in.Session.Id).Execute()).ok(t, http.StatusNoContent)
	refusedAs(t, call(newApp().ToSession(t.Context()).XSessionToken(in.GetSessionToken()).Execute()), http.StatusUnauthorized, "")
	ended := call(api.GetSession(t.Context(), in.Session.Id).Execute()).ok(t, http.StatusOK)
	equal(t, "active", ended.GetActive(), false)
}

func TestAdminIdentitySessions(t *testing.T) {
	t.Parallel()
	api := admin().IdentityAPI
	address, person := newVerified(t)
	in := signIn(t, address)
	signIn(t, address)
	listed := call(api.ListIdentitySessions(t.Context(), person.Id).Active(true).Execute()).ok(t, http.StatusOK)
	equal(t, "number of sessions", len(listed), 2)
	done(api.DeleteIdentitySessions(t.Context(), person.Id).Execute()).ok(t, http.StatusNoContent)
	refusedAs(t, call(newApp().ToSession(t.Context()).XSessionToken(in.GetSessionToken()).Execute()), http.StatusUnauthorized, "")
	refusedAs(t, done(api.DeleteIdentitySessions(t.Context(), person.Id).Execute()), http.StatusNotFound, "")
}

func TestAdminCourier(t *testing.T) {
	t.Parallel()
	api := admin().CourierAPI
	address := newAddress()
	made := register(t, address)
	mailedCode(t, address, made.ContinueWith[0].ContinueWithVerificationUi.Flow.Id)
	listed := call(api.ListCourierMessages(t.Context()).Recipient(address).PageSize(10).Execute()).ok(t, http.StatusOK)
	equal(t, "number of mails", len(listed), 1)
	mail := call(api.GetCourierMessage(t.Context(), listed[0].Id).Execute()).ok(t, http.StatusOK)
	equal(t, "recipient", mail.Recipient, address)
	equal(t, "type", mail.Type, client.COURIERMESSAGETYPE_EMAIL)
	equal(t, "template", mail.TemplateType, "verification_code_valid")
	refusedAs(t, call(api.GetCourierMessage(t.Context(), nowhere).Execute()), http.StatusNotFound, "")
	for _, m := range call(api.ListCourierMessages(t.Context()).Status(client.COURIERMESSAGESTATUS_SENT).Execute()).ok(t, http.StatusOK) {
		equal(t, "status", m.Status, client.COURIERMESSAGESTATUS_SENT)
	}
}

// TestAdminRecovery hands out codes and a link to whom an app, a script and a page
// recover: none of them has begun the flow.
func TestAdminRecovery(t *testing.T) {
	t.Parallel()
	api := admin().IdentityAPI
	_, person := newVerified(t)
	code := func(flowType string) (*client.RecoveryCodeForIdentity, string) {
		body := client.NewCreateRecoveryCodeForIdentityBody(person.Id)
		body.FlowType, body.ExpiresIn = &flowType, new("30m")
		made := call(api.CreateRecoveryCodeForIdentity(t.Context()).CreateRecoveryCodeForIdentityBody(*body).Execute()).ok(t, http.StatusCreated)
		u, err := url.Parse(made.RecoveryLink)
		if err != nil || !made.GetExpiresAt().After(time.Now()) {
			t.Fatalf("recovery = %+v, %v, want a link that is not over", made, err)
		}
		return made, u.Query().Get("flow")
	}
	for flowType, front := range map[string]client.FrontendAPI{"api": newApp(), "browser": newScript(t)} {
		made, id := code(flowType)
		shown := call(front.GetRecoveryFlow(t.Context()).Id(id).Execute()).ok(t, http.StatusOK)
		equal(t, "type", shown.Type, flowType)
		hasMessage(t, shown.Ui, 1060003)
		submit := func(code string) *client.RecoveryFlow {
			return call(front.UpdateRecoveryFlow(t.Context()).Flow(id).UpdateRecoveryFlowBody(recoveryCode(nil, code)).Execute()).ok(t, http.StatusOK)
		}
		hasMessage(t, submit(wrong(made.RecoveryCode)).Ui, 4060006)
		equal(t, flowType+": state", submit(made.RecoveryCode).State, client.RECOVERYFLOWSTATE_PASSED_CHALLENGE)
	}

	made, id := code("browser")
	browser := newPage(t)
	browser.flow("settings", browser.post("/self-service/recovery?flow="+id, url.Values{"method": {"code"}, "code": {made.RecoveryCode}}))
	equal(t, "method", *browser.whoami().ok(t, http.StatusOK).AuthenticationMethods[0].Method, "code_recovery")

	link := call(api.CreateRecoveryLinkForIdentity(t.Context()).
		CreateRecoveryLinkForIdentityBody(*client.NewCreateRecoveryLinkForIdentityBody(person.Id)).Execute()).ok(t, http.StatusOK)
	opens := newPage(t)
	opens.flow("settings", opens.get(link.RecoveryLink))
	equal(t, "method", *opens.whoami().ok(t, http.StatusOK).AuthenticationMethods[0].Method, "link_recovery")
	refusedAs(t, browser.whoami(), http.StatusUnauthorized, "") // a recovery ends all sessions

	refusedAs(t, call(api.CreateRecoveryCodeForIdentity(t.Context()).
		CreateRecoveryCodeForIdentityBody(*client.NewCreateRecoveryCodeForIdentityBody(nowhere)).Execute()), http.StatusNotFound, "")
}
