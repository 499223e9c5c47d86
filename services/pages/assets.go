package pages

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed assets/style.css
var styleCSS []byte

//go:embed assets/icon.svg
var iconSVG []byte

// assets are what the pages load, by names that change with the content: so a
// browser may keep them for ever.
type assets struct {
	style, icon string // names
	files       map[string]file
}

type file struct {
	mediaType string
	body      []byte
}

func loadAssets() assets {
	a := assets{files: map[string]file{}}
	a.style = a.add("style.css", "text/css; charset=utf-8", styleCSS)
	a.icon = a.add("icon.svg", "image/svg+xml", iconSVG)
	return a
}

func (a *assets) add(name, mediaType string, body []byte) string {
	sum := sha256.Sum256(body)
	extension := path.Ext(name)
	named := strings.TrimSuffix(name, extension) + "-" + hex.EncodeToString(sum[:8]) + extension
	a.files[named] = file{mediaType, body}
	return named
}

func (p *pages) asset(w http.ResponseWriter, r *http.Request) {
	f, ok := p.assets.files[r.PathValue("name")]
	if !ok {
		p.unknown(w, r)
		return
	}
	h := w.Header()
	h.Del("Set-Cookie") // it would be kept with the file and handed to others
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Type", f.mediaType)
	h.Set("Content-Length", strconv.Itoa(len(f.body)))
	_, _ = w.Write(f.body) // whoever asked may be gone
}
