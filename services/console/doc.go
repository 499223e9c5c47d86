// Package console is the operator's pages, below /console of the admin listener.
//
// It is a client of the admin API: what a page shows or does, an operator could ask
// of that API too, under their own name. Only who the operators are and where they
// are signed in is the console's own matter.
//
//	GET page → session cookie → role → admin API, as admin:<name> → page
//
// Pages work without JavaScript; what moves by itself needs it.
package console
