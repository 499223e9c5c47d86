// Package storetest holds what a store must do, as one suite for both
// databases, and a real PostgreSQL for whoever tests with one.
package storetest
