package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/usher-auth/usher/services/delivery"
)

// hookAccess is a hook's credential or secret, which is shown once.
type hookAccess struct {
	name       string
	webhook    bool
	Credential string `json:"credential"`
	BusURL     string `json:"nats_url"`
	Secret     string `json:"secret"`
	// Ready is false where the bus does not have a webhook yet.
	Ready *bool `json:"ready"`
}

// newHook is the form that declares a hook.
type newHook struct {
	Name, Kind, URL, Traits string
	Events                  []string
	Reuse                   bool
	refused                 string
	used                    bool // the name is, by credentials that are still good
}

// askNewWorker shows the form that declares a worker or a webhook.
func (v *visit) askNewWorker() error {
	v.show(http.StatusOK, "New worker", pathWorkers, newWorkerPage(newHook{Kind: string(delivery.Worker), Events: []string{"identity.created"}}))
	return nil
}

// newWorker declares a worker or a webhook and shows what it connects with.
func (v *visit) newWorker() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	n := newHook{
		Name: strings.TrimSpace(form.Get("name")), Kind: form.Get("kind"), URL: strings.TrimSpace(form.Get("url")),
		Traits: form.Get("traits"), Events: form["event"], Reuse: form.Get("reuse_name") == "true",
	}
	path, body := n.order()
	a := hookAccess{name: n.Name, webhook: n.Kind == string(delivery.Webhook)}
	if err := v.ask(http.MethodPost, path, nil, body, &a); err != nil {
		refused, ok := asRefusal(err)
		if !ok || refused.Status >= http.StatusInternalServerError {
			return err
		}
		n.refused, n.used = refused.Reason, strings.Contains(refused.Reason, "reuse_name")
		v.show(refused.Status, "New worker", pathWorkers, newWorkerPage(n))
		return nil
	}
	v.show(http.StatusCreated, n.Name, pathWorkers, accessPage(a, "is declared"))
	return nil
}

// order is what the API is asked to declare.
func (n newHook) order() (path string, body map[string]any) {
	body = map[string]any{"name": n.Name, "events": slices.Concat([]string{}, n.Events)}
	if n.Reuse {
		body["reuse_name"] = true
	}
	if n.Kind == string(delivery.Webhook) {
		body["url"] = n.URL
		return "/admin/webhooks", body
	}
	body["kind"], body["traits"] = n.Kind, strings.FieldsFunc(n.Traits, func(r rune) bool { return r == ',' || r == ' ' })
	if n.Kind == string(delivery.Answer) {
		body["events"] = []string{} // it gets none
	}
	return "/admin/hooks", body
}

// rotateWorker makes another credential or secret and shows it, this once.
func (v *visit) rotateWorker() error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	a := hookAccess{name: name, webhook: v.r.PostFormValue("kind") == string(delivery.Webhook)}
	path, body := "/admin/hooks/", any(map[string]string{})
	if a.webhook {
		path, body = "/admin/webhooks/", nil
	}
	if err := v.ask(http.MethodPost, path+name+"/rotate", nil, body, &a); err != nil {
		return err
	}
	v.show(http.StatusOK, name, pathWorkers, accessPage(a, "has a new one"))
	return nil
}

func (v *visit) finishRotation() error {
	return v.actOnHook("/admin/webhooks/", nil, "Messages are signed with the new secret alone.")
}

// downloadCredential gives back what the page before has shown, as a file: so it
// is in no address and nothing has to keep it.
func (v *visit) downloadCredential() error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	text := v.r.PostFormValue("credential")
	if text == "" {
		return errForm
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="`+name+`.creds"`)
	_, _ = v.w.Write([]byte(text)) // whoever asked may be gone
	return nil
}

// askRemoveWorker says what is gone with a hook; nothing is done.
func (v *visit) askRemoveWorker() error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	var h shownHook
	if err := v.get("/admin/hooks/"+name, nil, &h); err != nil {
		return err
	}
	v.show(http.StatusOK, "Remove "+name, pathWorkers, removePage(h))
	return nil
}

func (v *visit) removeWorker() error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	path := "/admin/hooks/"
	if v.r.PostFormValue("kind") == string(delivery.Webhook) {
		path = "/admin/webhooks/"
	}
	if err := v.ask(http.MethodDelete, path+name, nil, nil, nil); err != nil {
		return err
	}
	return v.done(pathWorkers, name+" is removed.")
}
