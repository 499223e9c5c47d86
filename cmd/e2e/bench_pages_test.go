package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// uiPages measures what a built-in page takes beyond the call of the API that it
// makes: the two are asked for in turn, over one connection, one at a time.
func (b *bench) uiPages() {
	s := newSystem(b.t, "sqlite", recovering())
	defer s.stop()
	for _, kind := range []string{"registration", "login", "recovery", "settings"} {
		c := newBrowser(b.t, s.apis[0])
		if kind == "settings" { // of somebody who is signed in
			c.form(c.browserFlow(), newAddress())
		}
		var f flowView
		c.must("GET", "/self-service/"+kind+"/browser", asJSON, nil).json(b.t, &f)
		took := map[string][]time.Duration{}
		ask := func(what, path string, header map[string]string) {
			at := time.Now()
			a := c.must("GET", path, header, nil)
			took[what] = append(took[what], time.Since(at))
			if a.status != http.StatusOK {
				b.t.Fatalf("%s: %d %s", path, a.status, a.body)
			}
		}
		german := map[string]string{"Accept": "text/html", "Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}
		for range 500 {
			ask("api", "/self-service/"+kind+"/flows?id="+f.ID, asJSON)
			ask("page", "/ui/"+kind+"?flow="+f.ID, german)
		}
		for what := range took {
			slices.Sort(took[what])
		}
		api, page, late := took["api"][250], took["page"][250], took["page"][495]-took["api"][495]
		b.row("the page of "+kind+" in German, to its last byte", fmt.Sprintf("%s, at the 99th percentile %s", ms(page), ms(took["page"][495])),
			fmt.Sprintf("API call %s", ms(api)), fmt.Sprintf("%s more, %s at the 99th", ms(page-api), ms(late)), "≤ 10 ms more")
	}
}
