// Package check is the module whose tests say that what deploy/ holds is right:
//
//	go -C deploy/check test ./...     # or "make check-deploy"
//
// Each folder checks one kind of thing: the files that are there must pass, and
// broken copies of them must be refused, so that a check that sees nothing any
// more is found. It is a module of its own because what it checks with (Compose,
// BuildKit, Helm, Prometheus) takes minutes to build, and none of it belongs to
// Usher.
package check
