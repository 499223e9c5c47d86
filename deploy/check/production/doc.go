// Package production checks deploy/config.production.yaml with the program itself.
package production
