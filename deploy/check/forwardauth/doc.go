// Package forwardauth runs deploy/nginx/forward-auth.conf: a real nginx, a real
// Usher, and an application that shows what it gets.
package forwardauth
