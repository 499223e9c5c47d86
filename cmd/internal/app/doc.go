// Package app builds the parts of Usher from its configuration, starts them,
// follows changes of the configuration, and drains them in order:
//
//	store → bus → session workers, hooks → relay → HTTP listeners … and back
//
// Parts meet on the bus whether they share a process or not; what this package
// decides is only which of them run here.
package app

//go:generate go test -count=1 -run ^TestMetricsPage$ . -update
