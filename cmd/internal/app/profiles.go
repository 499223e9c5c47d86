package app

import (
	"net/http"
	"net/http/pprof"
	runtimepprof "runtime/pprof"
)

// profile gives what takes a profile of this process, by the name that it has in
// net/http/pprof; nil where there is none. One that takes long moves the listener's time
// limit on by what was asked for.
func profile(name string) http.Handler {
	switch name {
	case "profile":
		return http.HandlerFunc(pprof.Profile)
	case "symbol":
		return http.HandlerFunc(pprof.Symbol)
	case "trace":
		return http.HandlerFunc(pprof.Trace)
	}
	if runtimepprof.Lookup(name) == nil {
		return nil
	}
	return pprof.Handler(name)
}
