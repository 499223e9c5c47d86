package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// The files of others, each as its project releases it: htmx and its server-sent
// events (Zero-Clause BSD), uPlot (MIT).
//
//go:embed assets
var files embed.FS

// assets are what the pages load, by names that change with the content: so a
// browser may keep them for ever.
type assets struct {
	named map[string]string // by name in the folder
	files map[string]file
}

type file struct {
	mediaType string
	body      []byte
}

func loadAssets() assets {
	a := assets{named: map[string]string{}, files: map[string]file{}}
	entries, err := files.ReadDir("assets")
	if err != nil {
		panic(err) // they are in this program
	}
	for _, e := range entries {
		body, err := files.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(body)
		extension := path.Ext(e.Name())
		named := strings.TrimSuffix(e.Name(), extension) + "-" + hex.EncodeToString(sum[:8]) + extension
		a.named[e.Name()] = base + "/assets/" + named
		a.files[named] = file{mediaType(extension), body}
	}
	return a
}

// mediaType does not ask the machine, where it may be another.
func mediaType(extension string) string {
	switch extension {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "text/plain; charset=utf-8"
}

func (c *console) asset(w http.ResponseWriter, r *http.Request) {
	f, ok := c.assets.files[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Type", f.mediaType)
	h.Set("Content-Length", strconv.Itoa(len(f.body)))
	_, _ = w.Write(f.body) // whoever asked may be gone
}
