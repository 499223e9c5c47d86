package pages

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/a-h/templ"
)

//go:generate go tool -modfile=../../.ci/tools.mod templ generate

// Options are what the pages are made of. All fields are needed but those that say
// otherwise.
type Options struct {
	// Public answers the requests of the contract's public listener. It is asked
	// for nothing below /ui/.
	Public http.Handler
	// ProductName is the name that people know the product by.
	ProductName string
	// Settings tells whether there is anything that people could change in settings,
	// so that they are led there; nil is never.
	Settings func() bool
	// Recovery tells whether accounts can be recovered, so that who cannot sign in is
	// led there; nil is never.
	Recovery func() bool
	// Verification tells whether an address that is changed gets a mail that verifies
	// it, so that people are told of it; nil is never.
	Verification func() bool
	Log          *slog.Logger
}

// New gives the handler of everything below /ui/. It answers GET and HEAD, and
// POST from its own forms.
func New(o Options) http.Handler {
	p := &pages{Options: o, assets: loadAssets(), texts: loadTexts()}
	mux := http.NewServeMux()
	mux.HandleFunc("/ui", p.start)
	mux.HandleFunc("/ui/{$}", p.start)
	for _, k := range []flowKind{registration, login, verification, recovery, settings} {
		mux.HandleFunc("/ui/"+string(k), p.flow(k))
	}
	mux.HandleFunc("/ui/welcome", p.welcome)
	mux.HandleFunc(routeSessions, p.sessions)
	mux.HandleFunc("POST "+routeSessions, p.endSessions)
	mux.HandleFunc("/ui/error", p.savedError)
	mux.HandleFunc("/ui/assets/{name}", p.asset)
	mux.HandleFunc("/", p.unknown)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		allowed := []string{http.MethodGet, http.MethodHead}
		if r.URL.Path == routeSessions {
			allowed = append(allowed, http.MethodPost)
		}
		if !slices.Contains(allowed, r.Method) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			p.fail(w, r, http.StatusMethodNotAllowed, p.texts.of(r).Words.NotWithPage)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// routeSessions is the only page that forms are posted to.
const routeSessions = "/ui/sessions"

type pages struct {
	Options
	assets assets
	texts  texts
	// own knows the posts of other sites' pages by what the browser says of them.
	own http.CrossOriginProtection
}

// secure sets the headers of every answer (S62). There is no form-action: it
// would stop the redirect that ends a flow on another origin.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// document is what all pages have in common.
type document struct {
	*catalogue
	say     *words
	title   string
	product string
	root    string // relative URL of what is above /ui
	style   string
	icon    string
}

// titled gives d with a title.
func (d document) titled(title string) document {
	d.title = title
	return d
}

// link gives the relative URL of a page or asset.
func (d document) link(name string) templ.SafeURL { return templ.SafeURL(d.root + "ui/" + name) }

// begin gives the relative URL of a page that begins a flow as the query asks.
func (d document) begin(k flowKind, query url.Values) templ.SafeURL {
	return d.link(string(k) + encoded(query))
}

// way gives the URL that w leads to.
func (d document) way(w way, onward url.Values) templ.SafeURL {
	if w.url != "" {
		return templ.URL(w.url)
	}
	return d.begin(w.to, onward)
}

func (p *pages) document(r *http.Request) document {
	c := p.texts.of(r)
	return document{
		catalogue: c,
		say:       &c.Words,
		product:   p.ProductName,
		root:      root(r),
		style:     "assets/" + p.assets.style,
		icon:      "assets/" + p.assets.icon,
	}
}

// root is the relative URL of what is above /ui, "../" for /ui/welcome.
func root(r *http.Request) string {
	return strings.Repeat("../", strings.Count(r.URL.Path, "/")-1)
}

// draw answers with a page, as a whole or not at all.
func (p *pages) draw(w http.ResponseWriter, r *http.Request, status int, page templ.Component) {
	var b bytes.Buffer
	if err := page.Render(r.Context(), &b); err != nil {
		if r.Context().Err() != nil {
			return // whoever asked is gone
		}
		p.Log.ErrorContext(r.Context(), "draw page", "route", r.Pattern, "error", err)
		http.Error(w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", p.texts.of(r).lang)
	w.Header().Add("Vary", "Accept-Language")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // whoever asked may be gone
}

// redirect sends the browser elsewhere, also to a relative URL: unlike
// [http.Redirect] it leaves that relative.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}
