package app

import (
	"net/http"
	"net/http/pprof"
)

// profiles are those of this process, at /debug/pprof/NAME. One that takes long moves the
// listener's time limit on by what was asked for.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
